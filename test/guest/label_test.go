// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSecurityLabels has guests with SELinux, without a policy, label what they create. Linux 6.1 puts
// the label behind the names without a length, later ones say how long it is.
func TestSecurityLabels(t *testing.T) {
	kinds := []Kind{UML61}
	if full() {
		kinds = append(kinds, UML72)
	}
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			plain, mapped := labelShare(t, "plain", "--modcaps=+sys_admin"), labelShare(t, "mapped", "--xattrmap=:map:security.selinux:user.virtiofs.:")
			b := boot(t, Spec{Kind: k, Shares: []Share{{plain.d.Socket, "plain", 1}, {mapped.d.Socket, "mapped", 1}},
				Args: []string{"lsm=selinux", "selinux=1", "enforcing=0"}})
			b.mount("plain")
			b.mount("mapped")
			checkLabels(b, mapped, "user.virtiofs.security.selinux", "f", "d")
			if os.Geteuid() == 0 {
				checkLabels(b, plain, "security.selinux", "f", "d", "l", "p")
				return
			}
			// An ordinary user may not keep such attributes: the guest must not have files without.
			out, code := b.run(commandTime, "cd /mnt/plain; touch f 2>&1")
			if left, _ := os.ReadDir(plain.host); code == 0 || !strings.Contains(out, "Operation not permitted") || len(left) != 0 {
				t.Errorf("touch: status %d, %s; left are %v", code, out, left)
			}
		})
	}
}

func labelShare(t *testing.T, tag string, args ...string) share {
	t.Helper()
	dir := t.TempDir()
	return share{dir, "/mnt/" + tag, serve(t, DaemonSpec{Shared: dir, Tag: tag, Args: append(args, "--security-label"), Race: true})}
}

// checkLabels makes a file, a directory, a link and a fifo, and looks for the labels of some on the
// host. A kernel without a policy calls them unlabeled.
func checkLabels(b *box, sh share, attr string, names ...string) {
	b.t.Helper()
	made := map[string]string{"f": "echo hello > f", "d": "mkdir d", "l": "ln -s x l", "p": "mkfifo p"}
	for _, name := range names {
		b.must("cd %s; %s", sh.guest, made[name])
		buf := make([]byte, 64)
		n, err := unix.Lgetxattr(filepath.Join(sh.host, name), attr, buf)
		if err != nil || strings.TrimRight(string(buf[:n]), "\x00") != "unlabeled" {
			b.t.Errorf("%s of %s is %q, %v", attr, name, buf[:max(n, 0)], err)
		}
	}
	wantFile(b.t, filepath.Join(sh.host, "f"), "hello\n")
}
