// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"sort"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// drivers are the ways in which a driver may lay its requests out.
var drivers = map[string]frontend.Options{
	"linux":          {},
	"direct chains":  {Direct: true},
	"no features":    {Decline: frontend.FeatureIndirect | frontend.FeatureEventIdx, RingSize: 256},
	"no event index": {Decline: frontend.FeatureEventIdx},
	"small ring":     {RingSize: 16},
}

// Data of every size and alignment comes through unchanged in both directions.
func TestReadWrite(t *testing.T) {
	for name, o := range drivers {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, o)
			node, fh := g.create("f")
			most := (int(o.RingSize) - 4) * frontend.PageSize
			if o.RingSize == 0 {
				most = 124 * frontend.PageSize
			}
			var model []byte
			for i, n := range []int{1, 2, 511, 4095, 4096, 4097, 10000, 40960, most - 1, most} {
				n = min(n, most)
				data := pattern(n, byte(i))
				off := []int{0, len(model), len(model) / 2, len(model) + 100}[i%4]
				got, errno := g.Write(node, fh, uint64(off), data)
				ok(t, "WRITE", errno)
				if got != n {
					t.Fatalf("WRITE of %d bytes wrote %d", n, got)
				}
				model = append(model, make([]byte, max(0, off+n-len(model)))...)
				copy(model[off:], data)
			}
			if host := read(t, g.path("f")); host != string(model) {
				t.Fatalf("the host's file differs: %d bytes, want %d", len(host), len(model))
			}
			for _, n := range []int{1, 100, 4096, 5000, most} {
				for off := 0; off <= len(model)+1; off += 37777 {
					buf := make([]byte, min(n, most))
					got, errno := g.Read(node, fh, uint64(off), buf)
					ok(t, "READ", errno)
					if w := model[min(off, len(model)):min(off+len(buf), len(model))]; !bytes.Equal(buf[:got], w) {
						t.Fatalf("READ of %d at %d: %d bytes that differ, want %d", len(buf), off, got, len(w))
					}
				}
			}
			ok(t, "FLUSH", g.Flush(node, fh, 1))
			ok(t, "FSYNC", g.Fsync(node, fh, false))
			ok(t, "FSYNC of data", g.Fsync(node, fh, true))
			ok(t, "RELEASE", g.Release(node, fh, unix.O_RDWR))
		})
	}
}

// pattern is n bytes in which every position differs from its neighbours and from other seeds.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)*31 ^ byte(i>>16)*17 ^ seed
	}
	return b
}

func TestNames(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	d, errno := g.Mkdir(root, "dir", 0o750, 0o022)
	ok(t, "MKDIR", errno)
	if d.Mode != unix.S_IFDIR|0o750 || d.Ino == 0 || d.NodeId <= root {
		t.Errorf("MKDIR: %+v", d)
	}
	node, fh := g.create("file")
	ok(t, "RELEASE", g.Release(node, fh, 0))
	l, errno := g.Link(node, d.NodeId, "hard")
	ok(t, "LINK", errno)
	if l.NodeId != node || l.Nlink != 2 {
		t.Errorf("LINK: node %d with %d links, want node %d with 2", l.NodeId, l.Nlink, node)
	}
	s, errno := g.Symlink(root, "soft", "../any/where")
	ok(t, "SYMLINK", errno)
	target, errno := g.Readlink(s.NodeId)
	ok(t, "READLINK", errno)
	if target != "../any/where" {
		t.Errorf("READLINK: %q", target)
	}
	if again := g.lookup(d.NodeId, "hard"); again != node {
		t.Errorf("LOOKUP of a hard link: node %d, want %d", again, node)
	}
	want(t, "RMDIR of a full directory", g.Rmdir(root, "dir"), syscall.ENOTEMPTY)
	want(t, "UNLINK of a directory", g.Unlink(root, "dir"), syscall.EISDIR)
	want(t, "RMDIR of a file", g.Rmdir(root, "file"), syscall.ENOTDIR)
	want(t, "MKDIR over a file", second(g.Mkdir(root, "file", 0o755, 0)), syscall.EEXIST)
	want(t, "CREATE over a file", second(g.Create(root, "file", unix.O_EXCL|unix.O_RDWR, 0o644, 0)), syscall.EEXIST)
	ok(t, "RENAME", g.Rename(d.NodeId, "hard", root, "moved"))
	if g.lookup(root, "moved") != node {
		t.Error("RENAME changed the node")
	}
	ok(t, "RMDIR", g.Rmdir(root, "dir"))
	ok(t, "UNLINK", g.Unlink(root, "moved"))
	a, errno := g.GetAttr(node)
	ok(t, "GETATTR", errno)
	if a.Nlink != 1 {
		t.Errorf("%d links after UNLINK, want 1", a.Nlink)
	}
	for _, name := range []string{"file", "soft"} {
		ok(t, "UNLINK "+name, g.Unlink(root, name))
	}
	if left, _ := os.ReadDir(g.dir); len(left) != 0 {
		t.Errorf("left in the share: %v", left)
	}
}

func second[T any](_ T, errno syscall.Errno) syscall.Errno { return errno }

// Names are bytes: what is no UTF-8 and the longest that there are.
func TestNameBytes(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	for _, name := range []string{"\xff\xfe", "a\nb", "...", "..a", "-", string(bytes.Repeat([]byte("n"), 255))} {
		_, errno := g.Mkdir(root, name, 0o755, 0)
		ok(t, fmt.Sprintf("MKDIR %q", name), errno)
		if _, err := os.Stat(g.path(name)); err != nil {
			t.Error(err)
		}
	}
	want(t, "a name of 256 bytes", second(g.Lookup(root, string(bytes.Repeat([]byte("n"), 256)))), syscall.ENAMETOOLONG)
	want(t, "a name of 5000 bytes", second(g.Mkdir(root, string(bytes.Repeat([]byte("n"), 5000)), 0o755, 0)), syscall.ENAMETOOLONG)
}

func TestRename2(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	write(t, g.path("a"), "A")
	write(t, g.path("b"), "B")
	want(t, "NOREPLACE over a file", g.Rename2(root, "a", root, "b", unix.RENAME_NOREPLACE), syscall.EEXIST)
	ok(t, "NOREPLACE", g.Rename2(root, "a", root, "c", unix.RENAME_NOREPLACE))
	ok(t, "EXCHANGE", g.Rename2(root, "b", root, "c", unix.RENAME_EXCHANGE))
	if b, c := read(t, g.path("b")), read(t, g.path("c")); b != "A" || c != "B" {
		t.Errorf("after EXCHANGE b holds %q and c %q", b, c)
	}
	want(t, "EXCHANGE with nothing", g.Rename2(root, "b", root, "none", unix.RENAME_EXCHANGE), syscall.ENOENT)
	want(t, "EXCHANGE and NOREPLACE", g.Rename2(root, "b", root, "c", unix.RENAME_EXCHANGE|unix.RENAME_NOREPLACE), syscall.EINVAL)
	want(t, "unknown flags", g.Rename2(root, "b", root, "c", 1<<20), syscall.EINVAL)
	switch errno := g.Rename2(root, "b", root, "d", unix.RENAME_WHITEOUT); errno {
	case 0:
		var st unix.Stat_t
		if err := unix.Lstat(g.path("b"), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
			t.Errorf("WHITEOUT left mode %o rdev %d, %v", st.Mode, st.Rdev, err)
		}
	default:
		// What the host's file system says to the same.
		write(t, g.path("x"), "")
		if err := unix.Renameat2(unix.AT_FDCWD, g.path("x"), unix.AT_FDCWD, g.path("y"), unix.RENAME_WHITEOUT); err != errno {
			t.Errorf("WHITEOUT: %v, the host says %v", errno, err)
		}
	}
}

func TestSpecialFiles(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	for name, mode := range map[string]uint32{"fifo": unix.S_IFIFO, "sock": unix.S_IFSOCK, "reg": unix.S_IFREG} {
		e, errno := g.Mknod(root, name, mode|0o600, 0, 0)
		ok(t, "MKNOD "+name, errno)
		if e.Mode != mode|0o600 {
			t.Errorf("MKNOD %s: mode %o", name, e.Mode)
		}
		_, errno = g.Open(e.NodeId, unix.O_RDWR)
		if opened := errno == 0; opened != (mode == unix.S_IFREG) {
			t.Errorf("OPEN of a %s: %v", name, errno)
		}
	}
}

func TestAttributes(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	node, fh := g.create("f")
	_, errno := g.Write(node, fh, 0, []byte("0123456789"))
	ok(t, "WRITE", errno)
	set := func(what string, in fuse.SetAttrInCommon) fuse.AttrOut {
		t.Helper()
		out, errno := g.SetAttr(node, in)
		ok(t, "SETATTR "+what, errno)
		return out
	}
	if a := set("size", fuse.SetAttrInCommon{Valid: fuse.FATTR_SIZE, Size: 4}); a.Size != 4 {
		t.Errorf("size %d, want 4", a.Size)
	}
	if a := set("size by handle", fuse.SetAttrInCommon{Valid: fuse.FATTR_SIZE | fuse.FATTR_FH, Fh: fh, Size: 6}); a.Size != 6 {
		t.Errorf("size %d, want 6", a.Size)
	}
	if a := set("mode", fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE, Mode: 0o4711}); a.Mode != unix.S_IFREG|0o4711 {
		t.Errorf("mode %o", a.Mode)
	}
	a := set("times", fuse.SetAttrInCommon{Valid: fuse.FATTR_ATIME | fuse.FATTR_MTIME, Atime: 1000, Atimensec: 1, Mtime: 2000, Mtimensec: 2})
	if a.Atime != 1000 || a.Atimensec != 1 || a.Mtime != 2000 || a.Mtimensec != 2 {
		t.Errorf("times %d.%d %d.%d", a.Atime, a.Atimensec, a.Mtime, a.Mtimensec)
	}
	var st unix.Stat_t
	if err := unix.Stat(g.path("f"), &st); err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string]fuse.AttrOut{"node": first(g.GetAttr(node)), "handle": first(g.GetAttrFh(node, fh))} {
		if b.Ino != st.Ino || b.Size != uint64(st.Size) || b.Mode != st.Mode || b.Nlink != uint32(st.Nlink) || b.Mtime != 2000 || b.Uid != st.Uid {
			t.Errorf("GETATTR by %s: %+v, the host says %+v", what, b.Attr, st)
		}
	}
	x, errno := g.Statx(node, 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME)
	ok(t, "STATX", errno)
	var hx unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, g.path("f"), 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &hx); err != nil {
		t.Fatal(err)
	}
	if x.Ino != hx.Ino || x.Size != hx.Size || x.Statx.Mode != hx.Mode || x.Mask&unix.STATX_BASIC_STATS != unix.STATX_BASIC_STATS {
		t.Errorf("STATX: %+v, the host says %+v", x.Statx, hx)
	}
	if hx.Mask&unix.STATX_BTIME != 0 && (x.Mask&unix.STATX_BTIME == 0 || x.Btime.Sec != uint64(hx.Btime.Sec) || x.Btime.Nsec != hx.Btime.Nsec) {
		t.Errorf("STATX: birth time %+v, the host says %+v", x.Btime, hx.Btime)
	}
	fs, errno := g.StatFs(root)
	ok(t, "STATFS", errno)
	if fs.Bsize == 0 || fs.Blocks == 0 || fs.NameLen != 255 {
		t.Errorf("STATFS: %+v", fs)
	}
	if errno := g.Access(node, unix.R_OK); errno != 0 && errno != syscall.ENOSYS {
		t.Errorf("ACCESS: %v", errno)
	}
}

func first[T any](v T, _ syscall.Errno) T { return v }

func TestDirectories(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("entry %d", i))
		write(t, g.path(names[i]), "")
	}
	sort.Strings(names)
	for name, plus := range map[string]bool{"READDIR": false, "READDIRPLUS": true} {
		d, errno := g.OpenDir(root)
		ok(t, "OPENDIR", errno)
		var got []string
		var offsets []uint64
		for off := uint64(0); ; {
			es, errno := readDir(g.Client, plus, root, d.Fh, off)
			ok(t, name, errno)
			if len(es) == 0 {
				break
			}
			for _, e := range es {
				if plus && e.Name[0] != '.' {
					if e.Entry.NodeId <= root || e.Entry.Ino != e.Ino || e.Entry.Mode&unix.S_IFMT != unix.S_IFREG {
						t.Fatalf("READDIRPLUS: %+v", e)
					}
					g.Forget(e.Entry.NodeId, 1)
				}
				got = append(got, e.Name)
				offsets = append(offsets, e.Off)
			}
			off = es[len(es)-1].Off
		}
		sorted := slices.Sorted(slices.Values(got))
		if !slices.Equal(sorted, append([]string{".", ".."}, names...)) {
			t.Errorf("%s: %d names, want %d", name, len(got), len(names)+2)
		}
		// Each offset leads to what came after it.
		for _, i := range []int{0, 1, 500, 900} {
			es, errno := readDir(g.Client, plus, root, d.Fh, offsets[i])
			ok(t, name, errno)
			if es[0].Name != got[i+1] {
				t.Errorf("%s from the offset of %q gives %q, want %q", name, got[i], es[0].Name, got[i+1])
			}
		}
		ok(t, "FSYNCDIR", g.FsyncDir(root, d.Fh))
		ok(t, "RELEASEDIR", g.ReleaseDir(root, d.Fh))
	}
	want(t, "OPENDIR of a file", second(g.OpenDir(g.lookup(root, names[0]))), syscall.ENOTDIR)
}

func readDir(c *frontend.Client, plus bool, node, fh, off uint64) ([]frontend.DirEntry, syscall.Errno) {
	if plus {
		return c.ReadDirPlus(node, fh, off, frontend.PageSize)
	}
	return c.ReadDir(node, fh, off, frontend.PageSize)
}
