// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"os"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func TestLookupAndForget(t *testing.T) {
	s := newShare(t, Config{})
	s.put("a", "12345")
	e := s.lookupAt(1, "a")
	if e.Size != 5 || e.Mode != unix.S_IFREG|0o644 || e.Nlink != 1 || e.EntryValid != 1 || e.AttrValid != 1 {
		t.Errorf("entry %+v", e)
	}
	if again := s.nodeOf("a"); again != e.NodeId {
		t.Errorf("second lookup gave node %d, first %d", again, e.NodeId)
	}
	s.Forget(e.NodeId, 1)
	if _, st := s.attrOf(e.NodeId); !st.Ok() {
		t.Errorf("one lookup is left, but: %v", st)
	}
	s.Forget(e.NodeId, 1)
	_, st := s.attrOf(e.NodeId)
	want(t, "forgotten node", st, unix.ESTALE)
	if n := s.nodeOf("a"); n == e.NodeId {
		t.Errorf("node id %d came back after it was forgotten", n)
	}
	h := header(1)
	var none fuse.EntryOut
	s.ok("missing name", s.Lookup(nil, &h, "nope", &none))
	if none.NodeId != 0 || none.EntryValid != 1 || none.AttrValid != 0 {
		t.Errorf("a name that is not there: %+v", none)
	}
	h = header(s.nodeOf("a"))
	want(t, "lookup in a file", s.Lookup(nil, &h, "x", &fuse.EntryOut{}), unix.ENOTDIR)
}

func TestUnknownNodes(t *testing.T) {
	s := newShare(t, Config{})
	for _, id := range []uint64{0, 2, 3, 1 << 31, 1<<32 | 1, 1<<32 | 2, ^uint64(0)} {
		_, st := s.attrOf(id)
		want(t, "getattr", st, unix.ESTALE)
		s.Forget(id, ^uint64(0))
	}
	s.Forget(1, ^uint64(0))
	if _, st := s.attrOf(1); !st.Ok() {
		t.Errorf("the root was forgotten: %v", st)
	}
}

func TestBadHandles(t *testing.T) {
	s := newShare(t, Config{})
	s.put("a", "x")
	s.put("b", "x")
	a, b := s.nodeOf("a"), s.nodeOf("b")
	fh, dh := s.openFile(a, unix.O_RDWR), s.openDirectory(1)
	read := func(node, fh uint64) fuse.Status {
		_, st := s.Readv(nil, &fuse.ReadIn{InHeader: header(node), Fh: fh, Size: 1}, [][]byte{make([]byte, 1)})
		return st
	}
	want(t, "good", read(a, fh), 0)
	want(t, "another node's handle", read(b, fh), unix.EBADF)
	want(t, "read of a directory", read(1, dh), unix.EISDIR)
	want(t, "never given", read(a, fh+100), unix.EBADF)
	want(t, "slot out of range", read(a, ^uint64(0)), unix.EBADF)
	s.Release(nil, &fuse.ReleaseIn{InHeader: header(a), Fh: fh})
	s.Release(nil, &fuse.ReleaseIn{InHeader: header(a), Fh: fh})
	want(t, "closed", read(a, fh), unix.EBADF)
	again := s.openFile(a, unix.O_WRONLY)
	if again == fh {
		t.Error("a handle's id was used twice")
	}
	want(t, "read of a write-only handle", read(a, again), unix.EBADF)
	want(t, "fsyncdir of a file", s.FsyncDir(nil, &fuse.FsyncIn{InHeader: header(a), Fh: again}), unix.ENOTDIR)
	want(t, "readdir of a file", s.ReadDir(nil, &fuse.ReadIn{InHeader: header(a), Fh: again}, fuse.NewDirEntryList(nil, 0)), unix.ENOTDIR)
	var at fuse.AttrOut
	want(t, "getattr by a bad handle", s.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(a), Flags_: fuse.FUSE_GETATTR_FH, Fh_: fh}, &at), unix.EBADF)
}

func TestReadWrite(t *testing.T) {
	s := newShare(t, Config{})
	f := s.createFile("f", unix.O_RDWR)
	write := func(off uint64, data ...string) {
		t.Helper()
		var bufs [][]byte
		total := 0
		for _, d := range data {
			bufs = append(bufs, []byte(d))
			total += len(d)
		}
		n, st := s.Writev(nil, &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Offset: off}, bufs)
		s.ok("write", st)
		if int(n) != total {
			t.Fatalf("wrote %d of %d", n, total)
		}
	}
	write(0, "hello ", "", "world")
	write(1<<33, "far")
	got := [][]byte{make([]byte, 3), nil, make([]byte, 100)}
	n, st := s.Readv(nil, &fuse.ReadIn{InHeader: header(f.NodeId), Fh: f.Fh, Offset: 1 << 33, Size: 103}, got)
	if s.ok("read", st); n != 3 || string(got[0]) != "far" {
		t.Errorf("read %d %q", n, got[0])
	}
	n, st = s.ReadvNowait(&fuse.ReadIn{InHeader: header(f.NodeId), Fh: f.Fh, Size: 5}, [][]byte{got[2][:5]})
	if st == fuse.EAGAIN {
		n, st = s.Readv(nil, &fuse.ReadIn{InHeader: header(f.NodeId), Fh: f.Fh, Size: 5}, [][]byte{got[2][:5]})
	}
	if s.ok("read", st); string(got[2][:n]) != "hello" {
		t.Errorf("read %q", got[2][:n])
	}
	_, st = s.Writev(nil, &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Offset: 1 << 63}, [][]byte{{1}})
	want(t, "negative offset", st, unix.EINVAL)
	_, st = s.Writev(nil, &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Offset: 1<<64 - 1}, [][]byte{{1}})
	want(t, "offset -1", st, unix.EINVAL)

	var out fuse.LseekOut
	s.ok("lseek", s.Lseek(nil, &fuse.LseekIn{InHeader: header(f.NodeId), Fh: f.Fh, Offset: 4 << 20, Whence: unix.SEEK_DATA}, &out))
	if out.Offset != 1<<33 {
		t.Errorf("next data at %d", out.Offset)
	}
	want(t, "no data", s.Lseek(nil, &fuse.LseekIn{InHeader: header(f.NodeId), Fh: f.Fh, Offset: 1 << 40, Whence: unix.SEEK_DATA}, &out), unix.ENXIO)
	want(t, "bad whence", s.Lseek(nil, &fuse.LseekIn{InHeader: header(f.NodeId), Fh: f.Fh, Whence: 9}, &out), unix.EINVAL)
	s.ok("flush", s.Flush(nil, &fuse.FlushIn{InHeader: header(f.NodeId), Fh: f.Fh}))
	s.ok("fsync", s.Fsync(nil, &fuse.FsyncIn{InHeader: header(f.NodeId), Fh: f.Fh}))
	s.ok("fdatasync", s.Fsync(nil, &fuse.FsyncIn{InHeader: header(f.NodeId), Fh: f.Fh, FsyncFlags: 1}))
}

// TestManyVectors reads and writes more pieces than one system call takes.
func TestManyVectors(t *testing.T) {
	s := newShare(t, Config{})
	f := s.createFile("f", unix.O_RDWR)
	const pieces = 2500
	var src, dst [][]byte
	for i := range pieces {
		src = append(src, []byte{byte(i), byte(i >> 8)})
		dst = append(dst, make([]byte, 2))
	}
	n, st := s.Writev(nil, &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh}, src)
	if s.ok("write", st); n != 2*pieces {
		t.Fatalf("wrote %d", n)
	}
	got, st := s.Readv(nil, &fuse.ReadIn{InHeader: header(f.NodeId), Fh: f.Fh, Size: 2 * pieces}, dst)
	if s.ok("read", st); got != 2*pieces {
		t.Fatalf("read %d", got)
	}
	for i := range pieces {
		if string(dst[i]) != string(src[i]) {
			t.Fatalf("piece %d: %v, want %v", i, dst[i], src[i])
		}
	}
}

func TestAppend(t *testing.T) {
	s := newShare(t, Config{})
	s.put("log", "one\n")
	n := s.nodeOf("log")
	fh := s.openFile(n, unix.O_WRONLY|unix.O_APPEND)
	s.put("log", "one\ntwo by the host\n")
	w := &fuse.WriteIn{InHeader: header(n), Fh: fh, Offset: 4, Flags: unix.O_WRONLY | unix.O_APPEND}
	_, st := s.Write(nil, w, []byte("three\n"))
	s.ok("append", st)
	w.WriteFlags = fuse.WRITE_CACHE
	w.Offset = 0
	_, st = s.Write(nil, w, []byte("ONE"))
	s.ok("page written back", st)
	if got := s.text("log"); got != "ONE\ntwo by the host\nthree\n" {
		t.Errorf("file is %q", got)
	}
}

func TestOpenTruncates(t *testing.T) {
	s := newShare(t, Config{})
	s.put("a", "data")
	s.openFile(s.nodeOf("a"), unix.O_WRONLY|unix.O_TRUNC)
	if got := s.text("a"); got != "" {
		t.Errorf("file is %q", got)
	}
}

func TestCreate(t *testing.T) {
	s := newShare(t, Config{})
	out := s.createFile("new", unix.O_RDWR|unix.O_EXCL)
	if out.Mode != unix.S_IFREG|0o644 || out.OpenFlags != 0 {
		t.Errorf("created %+v", out)
	}
	in := &fuse.CreateIn{InHeader: header(1), Flags: unix.O_RDWR | unix.O_EXCL, Mode: 0o600}
	want(t, "exclusive create of what is there", s.Create(nil, in, "new", &fuse.CreateOut{}), unix.EEXIST)
	if again := s.createFile("new", unix.O_RDWR); again.NodeId != out.NodeId || again.Fh == out.Fh {
		t.Errorf("create of what is there: node %d fh %d, before %d %d", again.NodeId, again.Fh, out.NodeId, out.Fh)
	}
	s.mkdir(1, "dir")
	in.Flags = unix.O_RDWR
	want(t, "create over a directory", s.Create(nil, in, "dir", &fuse.CreateOut{}), unix.EISDIR)
	if err := os.Symlink("/etc/passwd", s.path("link")); err != nil {
		t.Fatal(err)
	}
	want(t, "create through a link", s.Create(nil, in, "link", &fuse.CreateOut{}), unix.ELOOP)
	if err := unix.Mkfifo(s.path("fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	want(t, "create over a fifo", s.Create(nil, in, "fifo", &fuse.CreateOut{}), unix.EBADF)
	want(t, "open of a fifo", s.Open(nil, &fuse.OpenIn{InHeader: header(s.nodeOf("fifo"))}, &fuse.OpenOut{}), unix.EBADF)
	want(t, "open of a link", s.Open(nil, &fuse.OpenIn{InHeader: header(s.nodeOf("link"))}, &fuse.OpenOut{}), unix.ELOOP)
	want(t, "open of a directory", s.Open(nil, &fuse.OpenIn{InHeader: header(1)}, &fuse.OpenOut{}), unix.EISDIR)
	want(t, "opendir of a file", s.OpenDir(nil, &fuse.OpenIn{InHeader: header(out.NodeId)}, &fuse.OpenOut{}), unix.ENOTDIR)
}

func TestTmpfile(t *testing.T) {
	for _, handles := range []HandleMode{HandlesPrefer, HandlesNever} {
		s := newShare(t, Config{Handles: handles})
		var out fuse.CreateOut
		s.ok("tmpfile", s.Tmpfile(nil, &fuse.CreateIn{InHeader: header(1), Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: 0o640}, &out))
		_, st := s.Write(nil, &fuse.WriteIn{InHeader: header(out.NodeId), Fh: out.Fh}, []byte("text"))
		s.ok("write", st)
		if a, _ := s.attrOf(out.NodeId); a.Nlink != 0 || a.Mode != unix.S_IFREG|0o640 {
			t.Errorf("unnamed file: %+v", a)
		}
		var e fuse.EntryOut
		s.ok("link", s.Link(nil, &fuse.LinkIn{InHeader: header(1), Oldnodeid: out.NodeId}, "named", &e))
		if e.NodeId != out.NodeId || e.Nlink != 1 || s.text("named") != "text" {
			t.Errorf("linked: %+v", e)
		}
		in := &fuse.CreateIn{InHeader: header(out.NodeId), Flags: unix.O_RDWR}
		want(t, "tmpfile in a file", s.Tmpfile(nil, in, &out), unix.ENOTDIR)
	}
}

func TestMknod(t *testing.T) {
	s := newShare(t, Config{})
	mknod := func(name string, mode, dev uint32) (fuse.EntryOut, fuse.Status) {
		var e fuse.EntryOut
		return e, s.Mknod(nil, &fuse.MknodIn{InHeader: header(1), Mode: mode, Rdev: dev}, name, &e)
	}
	for name, mode := range map[string]uint32{"fifo": unix.S_IFIFO, "sock": unix.S_IFSOCK, "reg": unix.S_IFREG} {
		_, st := mknod(name, mode|0o604, 0)
		s.ok(name, st)
		if e := s.lookupAt(1, name); e.Mode != mode|0o604 {
			t.Errorf("%s has mode %o", name, e.Mode)
		}
	}
	// 259:300 in the kernel's encoding: minor 300 needs the upper bits.
	_, st := mknod("dev", unix.S_IFCHR|0o600, encodeDev(259, 300))
	if os.Geteuid() != 0 {
		want(t, "device without privilege", st, unix.EPERM)
		return
	}
	s.ok("device", st)
	if e := s.lookupAt(1, "dev"); e.Mode&unix.S_IFMT != unix.S_IFCHR || e.Rdev != encodeDev(259, 300) {
		t.Errorf("device %+v", e)
	}
	var host unix.Stat_t
	if err := unix.Lstat(s.path("dev"), &host); err != nil || unix.Major(host.Rdev) != 259 || unix.Minor(host.Rdev) != 300 {
		t.Errorf("on the host: %v %d:%d", err, unix.Major(host.Rdev), unix.Minor(host.Rdev))
	}
}

func TestLinks(t *testing.T) {
	s := newShare(t, Config{})
	h := header(1)
	var e fuse.EntryOut
	target := strings.Repeat("../x", 500)
	s.ok("symlink", s.Symlink(nil, &h, target, "sym", &e))
	hl := header(e.NodeId)
	got, st := s.Readlink(nil, &hl)
	if s.ok("readlink", st); string(got) != target || e.Size != uint64(len(target)) {
		t.Errorf("link reads %d bytes, size %d", len(got), e.Size)
	}
	var hard fuse.EntryOut
	s.ok("link of a link", s.Link(nil, &fuse.LinkIn{InHeader: h, Oldnodeid: e.NodeId}, "sym2", &hard))
	if hard.NodeId != e.NodeId || hard.Nlink != 2 {
		t.Errorf("hard link: node %d nlink %d", hard.NodeId, hard.Nlink)
	}
	want(t, "link of a directory", s.Link(nil, &fuse.LinkIn{InHeader: h, Oldnodeid: s.mkdir(1, "d")}, "d2", &hard), unix.EPERM)
	want(t, "existing name", s.Symlink(nil, &h, "x", "sym", &e), unix.EEXIST)
	want(t, "empty text", s.Symlink(nil, &h, "", "none", &e), unix.ENOENT)
	want(t, "text with NUL", s.Symlink(nil, &h, "a\x00b", "none", &e), unix.EINVAL)
	h = header(1)
	_, st = s.Readlink(nil, &h)
	want(t, "readlink of a directory", st, unix.EINVAL)
}

func TestRemove(t *testing.T) {
	for _, handles := range []HandleMode{HandlesPrefer, HandlesNever} {
		s := newShare(t, Config{Handles: handles})
		s.put("f", "kept")
		h := header(1)
		d := s.mkdir(1, "d")
		s.mkdir(d, "sub")
		want(t, "rmdir of a full directory", s.Rmdir(nil, &h, "d"), unix.ENOTEMPTY)
		want(t, "rmdir of a file", s.Rmdir(nil, &h, "f"), unix.ENOTDIR)
		want(t, "unlink of a directory", s.Unlink(nil, &h, "d"), unix.EISDIR)
		want(t, "unlink of nothing", s.Unlink(nil, &h, "x"), unix.ENOENT)

		n := s.nodeOf("f")
		fh := s.openFile(n, unix.O_RDONLY)
		s.ok("unlink", s.Unlink(nil, &h, "f"))
		buf := make([]byte, 10)
		c, st := s.Readv(nil, &fuse.ReadIn{InHeader: header(n), Fh: fh, Size: 10}, [][]byte{buf})
		if s.ok("read of a removed file", st); string(buf[:c]) != "kept" {
			t.Errorf("removed file reads %q", buf[:c])
		}
		if a, st := s.attrOf(n); !st.Ok() || a.Nlink != 0 {
			t.Errorf("attributes of a removed file: %v, nlink %d", st, a.Nlink)
		}
		hd := header(d)
		s.ok("rmdir", s.Rmdir(nil, &hd, "sub"))
		s.ok("rmdir", s.Rmdir(nil, &h, "d"))
	}
}

func TestRename(t *testing.T) {
	for _, handles := range []HandleMode{HandlesPrefer, HandlesNever} {
		s := newShare(t, Config{Handles: handles})
		s.put("a", "A")
		s.put("b", "B")
		rename := func(from, to string, flags uint32) fuse.Status {
			return s.Rename(nil, &fuse.RenameIn{InHeader: header(1), Newdir: 1, Flags: flags}, from, to)
		}
		a, b := s.nodeOf("a"), s.nodeOf("b")
		want(t, "noreplace", rename("a", "b", unix.RENAME_NOREPLACE), unix.EEXIST)
		s.ok("exchange", rename("a", "b", unix.RENAME_EXCHANGE))
		if s.text("a") != "B" || s.text("b") != "A" || s.nodeOf("a") != b || s.nodeOf("b") != a {
			t.Error("exchange did not exchange")
		}
		s.ok("replace", rename("a", "b", 0))
		if s.text("b") != "B" || s.nodeOf("b") != b {
			t.Error("rename did not replace")
		}
		want(t, "missing", rename("a", "c", 0), unix.ENOENT)
		want(t, "bad flags", rename("b", "c", 1<<20), unix.EINVAL)
		sub := s.mkdir(1, "sub")
		want(t, "into itself", s.Rename(nil, &fuse.RenameIn{InHeader: header(1), Newdir: sub}, "sub", "x"), unix.EINVAL)
		if os.Geteuid() == 0 {
			s.ok("whiteout", rename("b", "c", unix.RENAME_WHITEOUT))
			if e := s.lookupAt(1, "b"); e.Mode&unix.S_IFMT != unix.S_IFCHR || e.Rdev != 0 {
				t.Errorf("whiteout is %+v", e)
			}
		}
	}
}

// TestReplacedOnHost: a name that the host gave to another file leads to another node.
func TestReplacedOnHost(t *testing.T) {
	s := newShare(t, Config{})
	s.put("a", "old")
	old := s.nodeOf("a")
	s.put("tmp", "newer")
	if err := os.Rename(s.path("tmp"), s.path("a")); err != nil {
		t.Fatal(err)
	}
	e := s.lookupAt(1, "a")
	if e.NodeId == old || e.Size != 5 {
		t.Errorf("node %d (was %d), size %d", e.NodeId, old, e.Size)
	}
	if a, st := s.attrOf(old); !st.Ok() || a.Size != 3 {
		t.Errorf("the old file: %v size %d", st, a.Size)
	}
}

func TestFallocateAndCopy(t *testing.T) {
	s := newShare(t, Config{})
	f := s.createFile("f", unix.O_RDWR)
	alloc := func(mode uint32, off, n uint64) fuse.Status {
		return s.Fallocate(nil, &fuse.FallocateIn{InHeader: header(f.NodeId), Fh: f.Fh, Mode: mode, Offset: off, Length: n})
	}
	s.ok("allocate", alloc(0, 0, 64<<10))
	if a, _ := s.attrOf(f.NodeId); a.Size != 64<<10 {
		t.Errorf("size %d", a.Size)
	}
	s.ok("keep size", alloc(unix.FALLOC_FL_KEEP_SIZE, 0, 128<<10))
	_, st := s.Write(nil, &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh}, []byte(strings.Repeat("x", 8192)))
	s.ok("write", st)
	s.ok("punch", alloc(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096))
	if got := s.text("f"); got[:4096] != strings.Repeat("\x00", 4096) || got[4096] != 'x' {
		t.Error("no hole was punched")
	}
	want(t, "nothing", alloc(0, 0, 0), unix.EINVAL)
	want(t, "bad mode", alloc(1<<30, 0, 1), unix.EOPNOTSUPP)

	g := s.createFile("g", unix.O_RDWR)
	in := &fuse.CopyFileRangeIn{InHeader: header(f.NodeId), FhIn: f.Fh, OffIn: 4096, NodeIdOut: g.NodeId, FhOut: g.Fh, OffOut: 10, Len: 100}
	n, st := s.CopyFileRange64(nil, in)
	if s.ok("copy", st); n != 100 || s.text("g") != strings.Repeat("\x00", 10)+strings.Repeat("x", 100) {
		t.Errorf("copied %d: %q", n, s.text("g"))
	}
	in.Len = 1 << 62
	short, st := s.CopyFileRange(nil, in)
	if s.ok("copy to the end", st); short != 60<<10 {
		t.Errorf("copied %d", short)
	}
	in.Flags = 1
	_, st = s.CopyFileRange64(nil, in)
	want(t, "flags", st, unix.EINVAL)
	in.Flags, in.OffIn = 0, 1<<63
	_, st = s.CopyFileRange64(nil, in)
	want(t, "negative offset", st, unix.EINVAL)
	in.OffIn, in.FhOut = 0, 999
	_, st = s.CopyFileRange64(nil, in)
	want(t, "bad handle", st, unix.EBADF)
}

func TestSyncAndStatFs(t *testing.T) {
	s := newShare(t, Config{})
	h := header(1)
	s.ok("syncfs", s.SyncFs(nil, &h))
	h = header(s.mkdir(1, "d"))
	s.ok("syncfs", s.SyncFs(nil, &h))
	dh := s.openDirectory(h.NodeId)
	s.ok("fsyncdir", s.FsyncDir(nil, &fuse.FsyncIn{InHeader: h, Fh: dh}))
	s.ok("fdatasync of a directory", s.FsyncDir(nil, &fuse.FsyncIn{InHeader: h, Fh: dh, FsyncFlags: 1}))
	s.ReleaseDir(&fuse.ReleaseIn{InHeader: h, Fh: dh})
	want(t, "closed", s.FsyncDir(nil, &fuse.FsyncIn{InHeader: h, Fh: dh}), unix.EBADF)
	var out fuse.StatfsOut
	s.ok("statfs", s.StatFs(nil, &h, &out))
	var host unix.Statfs_t
	if err := unix.Statfs(s.dir, &host); err != nil {
		t.Fatal(err)
	}
	if out.Blocks != host.Blocks || out.Files != host.Files || int64(out.Bsize) != host.Bsize || out.NameLen != 255 {
		t.Errorf("statfs %+v, host %+v", out, host)
	}
}
