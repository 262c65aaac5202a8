// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// TestNamesInEverySandbox: the daemon's process refuses names that are none with the same errno whatever
// else confines it, takes all that are one, and touches nothing outside.
func TestNamesInEverySandbox(t *testing.T) {
	sandboxes := []string{"none", "namespace"}
	if os.Geteuid() == 0 {
		sandboxes = append(sandboxes, "chroot") // only root may
	}
	for _, sandbox := range sandboxes {
		t.Run(sandbox, func(t *testing.T) {
			bin, err := realDaemon()
			if err != nil {
				t.Fatal(err)
			}
			d := startDaemon(t, bin, 1, "--sandbox="+sandbox)
			s := setStage(t, d.shares[0])
			if err := os.Mkdir(s.share+"/good", 0o777); err != nil {
				t.Fatal(err)
			}
			before := s.fingerprint(t)
			vm, g := guestOn(t, d.socks[0], frontend.Options{})
			defer vm.Close()
			sub, errno := g.Lookup(frontend.RootID, "good")
			if errno != 0 {
				t.Fatal(errno)
			}
			for _, dir := range []uint64{frontend.RootID, sub.NodeId} {
				refusedNames(t, g, dir, s.outside)
				takenNames(t, g, dir)
			}
			d.alive()
			if after := s.fingerprint(t); after != before {
				t.Errorf("outside is\n%s\nand was\n%s", after, before)
			}
		})
	}
}

func refusedNames(t *testing.T, g *frontend.Driver, dir uint64, outside string) {
	t.Helper()
	node, errno := g.Lookup(frontend.RootID, "spare")
	if errno != 0 {
		t.Fatal(errno)
	}
	for name, want := range map[string]syscall.Errno{
		"": syscall.EINVAL, ".": syscall.EINVAL, "..": syscall.EINVAL, "/": syscall.EINVAL, "a/b": syscall.EINVAL, "/etc": syscall.EINVAL,
		"../canaries/f": syscall.EINVAL, "l/f": syscall.EINVAL, outside + "/f": syscall.EINVAL, "good/": syscall.EINVAL, "x\x00y": syscall.EINVAL,
		strings.Repeat("n", 256): syscall.ENAMETOOLONG, strings.Repeat("n", 4000): syscall.ENAMETOOLONG,
	} {
		for op, errno := range byName(g, dir, node.NodeId, name) {
			if op == "LOOKUP" && (name == "." || name == "..") {
				continue // FUSE_EXPORT_SUPPORT
			}
			if errno != want {
				t.Errorf("%s of %.40q: %v, want %v", op, name, errno, want)
			}
		}
	}
}

// byName does all operations that take a name.
func byName(g *frontend.Driver, dir, node uint64, name string) map[string]syscall.Errno {
	second := func(_ any, errno syscall.Errno) syscall.Errno { return errno }
	return map[string]syscall.Errno{
		"LOOKUP": second(g.Lookup(dir, name)), "MKDIR": second(g.Mkdir(dir, name, 0o755, 0)), "MKNOD": second(g.Mknod(dir, name, unix.S_IFIFO|0o600, 0, 0)),
		"CREATE": second(g.Create(dir, name, unix.O_RDWR, 0o600, 0)), "SYMLINK": second(g.Symlink(dir, name, "/etc")), "LINK": second(g.Link(node, dir, name)),
		"UNLINK": g.Unlink(dir, name), "RMDIR": g.Rmdir(dir, name), "RENAME from": g.Rename(dir, name, frontend.RootID, "renamed"),
		"RENAME to": g.Rename(frontend.RootID, "spare", dir, name), "RENAME2": g.Rename2(frontend.RootID, "spare", dir, name, unix.RENAME_EXCHANGE),
	}
}

// takenNames are bytes that Linux takes for a name.
func takenNames(t *testing.T, g *frontend.Driver, dir uint64) {
	t.Helper()
	for _, name := range []string{strings.Repeat("n", 255), strings.Repeat("\xff", 255), "\xc3\x28", "...", "..x", " ", "\n", "\\", "-rf", "proc", "self"} {
		out, errno := g.Create(dir, name, unix.O_RDWR|unix.O_EXCL, 0o600, 0)
		if errno != 0 {
			t.Errorf("CREATE of %q: %v", name, errno)
			continue
		}
		g.Release(out.NodeId, out.Fh, 0)
		if errno := g.Unlink(dir, name); errno != 0 {
			t.Errorf("UNLINK of %q: %v", name, errno)
		}
	}
}
