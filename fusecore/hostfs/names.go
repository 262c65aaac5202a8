// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"strings"

	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// checkName lets through what is one component of a path below its directory and nothing else.
// Every operation that takes a name calls it first, whoever may have checked before.
func checkName(name string) error {
	switch {
	case name == "", name == ".", name == "..":
		return unix.EINVAL
	case len(name) > sys.NameMax:
		return unix.ENAMETOOLONG
	case strings.IndexByte(name, '/') >= 0, strings.IndexByte(name, 0) >= 0:
		return unix.EINVAL
	}
	return nil
}
