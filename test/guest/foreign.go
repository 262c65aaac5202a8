// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"os"
	"path/filepath"
)

// foreignProgram returns how to run a program of another Debian release, unpacked in tree, by
// its path below /usr: in a mount namespace of its own, where /usr is the tree's. So it finds its
// loader, libraries, data and modules where it was built to look for them, and the machine's own
// stay as they are. It is the first process of a process namespace too, so all that it starts
// ends with it: user-mode Linux leaves helpers behind otherwise.
func foreignProgram(tree, path string) []string {
	args := []string{"unshare", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child=SIGKILL"}
	if os.Geteuid() != 0 {
		args = append(args, "--map-root-user")
	}
	const enter = `mount --bind "$1" /usr && shift && exec "$@"`
	return append(args, "sh", "-c", enter, "sh", filepath.Join(tree, "usr"), "/usr/"+path)
}
