// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// What SETATTR is asked for here.
var (
	sizeZero = fuse.SetAttrInCommon{Valid: fuse.FATTR_SIZE}
	modeZero = fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE}
)

// outlaws are names that are none.
var outlaws = []string{"", ".", "..", "/", "a/b", "../outside", "sub/../..", "/etc/passwd", "outside/", "./x", "nul\x00byte", "\x00", "..\x00x"}

// Every operation that takes a name, with each outlaw in each place: refused, and nothing in or
// around the share has changed.
func TestOutlawNames(t *testing.T) {
	base := t.TempDir()
	share := filepath.Join(base, "share")
	for _, dir := range []string{"share/sub", "outside"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(share, "good"), "good")
	write(t, filepath.Join(base, "outside", "secret"), "secret")
	g := newGuestOn(t, share, frontend.Options{})
	node, sub := g.lookup(root, "good"), g.lookup(root, "sub")
	before := inventory(t, base)
	for _, parent := range []uint64{root, sub} {
		for _, bad := range outlaws {
			for op, errno := range outlawOps(g, parent, node, bad) {
				if op == "LOOKUP" && (bad == "." || bad == "..") {
					continue // FUSE_EXPORT_SUPPORT, see TestExport
				}
				if errno == 0 || errno == syscall.ENOSYS {
					t.Errorf("%s of %q in node %d: %v, want it refused", op, bad, parent, errno)
				}
			}
			if after := inventory(t, base); after != before {
				t.Fatalf("%q changed something:\n%s\nbefore:\n%s", bad, after, before)
			}
		}
	}
	g.alive()
}

func outlawOps(g *guest, parent, node uint64, bad string) map[string]syscall.Errno {
	return map[string]syscall.Errno{
		"LOOKUP":           second(g.Lookup(parent, bad)),
		"MKDIR":            second(g.Mkdir(parent, bad, 0o755, 0)),
		"MKNOD":            second(g.Mknod(parent, bad, unix.S_IFREG|0o644, 0, 0)),
		"MKNOD of a fifo":  second(g.Mknod(parent, bad, unix.S_IFIFO|0o644, 0, 0)),
		"SYMLINK":          second(g.Symlink(parent, bad, "target")),
		"LINK":             second(g.Link(node, parent, bad)),
		"UNLINK":           g.Unlink(parent, bad),
		"RMDIR":            g.Rmdir(parent, bad),
		"CREATE":           second(g.Create(parent, bad, unix.O_RDWR|unix.O_CREAT, 0o644, 0)),
		"CREATE|EXCL":      second(g.Create(parent, bad, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o644, 0)),
		"CREATE|TRUNC":     second(g.Create(parent, bad, unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC, 0o644, 0)),
		"RENAME from":      g.Rename(parent, bad, root, "new"),
		"RENAME to":        g.Rename(root, "good", parent, bad),
		"RENAME2 from":     g.Rename2(parent, bad, root, "new", unix.RENAME_NOREPLACE),
		"RENAME2 to":       g.Rename2(root, "good", parent, bad, unix.RENAME_NOREPLACE),
		"RENAME2 exchange": g.Rename2(root, "good", parent, bad, unix.RENAME_EXCHANGE),
	}
}

// inventory is everything under a directory: names, kinds, modes, sizes, contents of files.
func inventory(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		content := ""
		if info.Mode().IsRegular() {
			content = read(t, path)
		}
		fmt.Fprintf(&b, "%s %v %d links %q\n", strings.TrimPrefix(path, dir), info.Mode(), st.Nlink, content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Links that lead out of the share are the guest's to follow, never the daemon's: whatever is
// done with a link's node is done to the link.
func TestLinksAreNotFollowed(t *testing.T) {
	base := t.TempDir()
	share := filepath.Join(base, "share")
	if err := os.MkdirAll(filepath.Join(base, "outside"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(share, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(base, "outside", "secret"), "secret")
	for name, target := range map[string]string{"file": "../outside/secret", "dir": "../outside", "abs": filepath.Join(base, "outside", "secret"), "up": "..", "self": "self"} {
		if err := os.Symlink(target, filepath.Join(share, name)); err != nil {
			t.Fatal(err)
		}
	}
	g := newGuestOn(t, share, frontend.Options{})
	before := inventory(t, filepath.Join(base, "outside"))
	for _, name := range []string{"file", "dir", "abs", "up", "self"} {
		e, errno := g.Lookup(root, name)
		ok(t, "LOOKUP "+name, errno)
		if e.Mode&unix.S_IFMT != unix.S_IFLNK {
			t.Fatalf("LOOKUP of the link %s followed it: mode %o", name, e.Mode)
		}
		for what, errno := range map[string]syscall.Errno{
			"OPEN":     second(g.Open(e.NodeId, unix.O_RDWR)),
			"OPENDIR":  second(g.OpenDir(e.NodeId)),
			"LOOKUP":   second(g.Lookup(e.NodeId, "secret")),
			"MKDIR":    second(g.Mkdir(e.NodeId, "new", 0o755, 0)),
			"CREATE":   second(g.Create(e.NodeId, "new", unix.O_RDWR, 0o644, 0)),
			"UNLINK":   g.Unlink(e.NodeId, "secret"),
			"TRUNCATE": second(g.SetAttr(e.NodeId, sizeZero)),
		} {
			if errno == 0 {
				t.Errorf("%s through the link %s was carried out", what, name)
			}
		}
		// CREATE over a link without O_EXCL must not open what it leads to.
		if out, errno := g.Create(root, name, unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC, 0o644, 0); errno == 0 {
			t.Errorf("CREATE over the link %s opened node %d", name, out.NodeId)
		}
		g.SetAttr(e.NodeId, modeZero)
		g.SetXAttr(e.NodeId, "user.x", []byte("x"), 0)
	}
	if after := inventory(t, filepath.Join(base, "outside")); after != before {
		t.Errorf("outside the share something changed:\n%s\nbefore:\n%s", after, before)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(base, "outside", "secret"), &st); err != nil || st.Mode&0o777 != 0o644 {
		t.Errorf("mode of the file outside: %o, %v", st.Mode, err)
	}
}

// The host moves a directory that the guest stands in out of the share: the guest keeps what it
// has, but ".." does not lead it anywhere.
func TestDirectoryMovedOut(t *testing.T) {
	base := t.TempDir()
	share := filepath.Join(base, "share")
	if err := os.MkdirAll(filepath.Join(share, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	g := newGuestOn(t, share, frontend.Options{})
	d := g.lookup(root, "d")
	if err := os.Rename(filepath.Join(share, "d"), filepath.Join(base, "d")); err != nil {
		t.Fatal(err)
	}
	if errno := second(g.Lookup(d, "..")); errno == 0 {
		t.Error("LOOKUP of .. led out of the share")
	}
	g.alive()
}
