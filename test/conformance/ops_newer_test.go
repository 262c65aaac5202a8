// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// hostErrno is what the host says to the same call.
func hostErrno(err error) syscall.Errno {
	errno, _ := err.(syscall.Errno)
	return errno
}

// FALLOCATE does what the host does, in all modes.
func TestFallocate(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	const page = frontend.PageSize
	for name, c := range map[string]struct {
		mode        uint32
		off, length uint64
	}{
		"allocate":       {0, page, 8 * page},
		"keep size":      {unix.FALLOC_FL_KEEP_SIZE, 4 * page, 8 * page},
		"punch":          {unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, page, page},
		"zero":           {unix.FALLOC_FL_ZERO_RANGE, page + 10, 100},
		"zero keep size": {unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE, 3 * page, 4 * page},
		"collapse":       {unix.FALLOC_FL_COLLAPSE_RANGE, page, page},
		"insert":         {unix.FALLOC_FL_INSERT_RANGE, page, page},
		"unshare":        {unix.FALLOC_FL_UNSHARE_RANGE, 0, page},
		"nothing":        {0, 0, 0},
		"punch alone":    {unix.FALLOC_FL_PUNCH_HOLE, 0, page},
		"unknown":        {1 << 30, 0, page},
		"overflow":       {0, 1<<63 - 10, 100},
		"negative":       {0, 1 << 63, 100},
	} {
		t.Run(name, func(t *testing.T) {
			data := pattern(4*page, 3)
			write(t, g.path("guest"), string(data))
			write(t, g.path("host"), string(data))
			node := g.lookup(root, "guest")
			f, errno := g.Open(node, unix.O_RDWR)
			ok(t, "OPEN", errno)
			got := g.Fallocate(node, f.Fh, c.off, c.length, c.mode)
			host, err := os.OpenFile(g.path("host"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer host.Close()
			want(t, "FALLOCATE", got, hostErrno(unix.Fallocate(int(host.Fd()), c.mode, int64(c.off), int64(c.length))))
			if read(t, g.path("guest")) != read(t, g.path("host")) {
				t.Error("the files differ")
			}
			ok(t, "RELEASE", g.Release(node, f.Fh, 0))
		})
	}
}

func TestLseek(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	host, err := os.Create(g.path("sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	host.WriteAt(pattern(4096, 1), 1<<20)
	host.Truncate(3 << 20)
	node := g.lookup(root, "sparse")
	f, errno := g.Open(node, unix.O_RDONLY)
	ok(t, "OPEN", errno)
	for _, whence := range []int{unix.SEEK_DATA, unix.SEEK_HOLE} {
		for _, off := range []int64{0, 100, 1 << 20, 1<<20 + 5000, 3 << 20, 4 << 20, -1} {
			got, errno := g.Lseek(node, f.Fh, uint64(off), uint32(whence))
			wanted, err := unix.Seek(int(host.Fd()), off, whence)
			if errno != hostErrno(err) || err == nil && got != uint64(wanted) {
				t.Errorf("LSEEK %d whence %d: %d, %v; the host says %d, %v", off, whence, got, errno, wanted, err)
			}
		}
	}
	want(t, "LSEEK of unknown whence", second(g.Lseek(node, f.Fh, 0, 99)), syscall.EINVAL)
}

func TestCopyFileRange(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	data := pattern(100_000, 9)
	write(t, g.path("from"), string(data))
	from := g.lookup(root, "from")
	src, errno := g.Open(from, unix.O_RDONLY)
	ok(t, "OPEN", errno)
	to, dst := g.create("to")
	r := frontend.CopyRange{Node: from, Fh: src.Fh, Off: 1000, NodeOut: to, FhOut: dst, OffOut: 50, Len: 70_000}
	n, errno := g.CopyFileRange(r)
	ok(t, "COPY_FILE_RANGE", errno)
	r.Off, r.OffOut, r.Len = r.Off+uint64(n), r.OffOut+uint64(n), r.Len-uint64(n)
	for r.Len > 0 {
		m, errno := g.CopyFileRange64(r)
		ok(t, "COPY_FILE_RANGE_64", errno)
		if m == 0 || m > r.Len {
			t.Fatalf("COPY_FILE_RANGE_64 of %d bytes copied %d", r.Len, m)
		}
		r.Off, r.OffOut, r.Len = r.Off+m, r.OffOut+m, r.Len-m
	}
	// One that starts in the middle, with a length that 32 bits do not hold.
	r = frontend.CopyRange{Node: from, Fh: src.Fh, Off: 71_000, NodeOut: to, FhOut: dst, OffOut: 70_050, Len: 1 << 33}
	m, errno := g.CopyFileRange64(r)
	ok(t, "COPY_FILE_RANGE_64 beyond the end", errno)
	if m != 29_000 {
		t.Errorf("COPY_FILE_RANGE_64 up to the end copied %d, want 29000", m)
	}
	if got := read(t, g.path("to")); !bytes.Equal([]byte(got), append(make([]byte, 50), data[1000:]...)) {
		t.Error("the copy differs")
	}
	r.Fh = 1 << 40
	want(t, "COPY_FILE_RANGE_64 from no handle", second(g.CopyFileRange64(r)), syscall.EBADF)
	r.Fh, r.FhOut = src.Fh, 1<<40
	want(t, "COPY_FILE_RANGE to no handle", second(g.CopyFileRange(r)), syscall.EBADF)
}

func TestTmpfile(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	if fd, err := unix.Open(g.dir, unix.O_TMPFILE|unix.O_RDWR, 0o600); err != nil {
		out, errno := g.Tmpfile(root, unix.O_TMPFILE|unix.O_RDWR, 0o600, 0)
		want(t, "TMPFILE", errno, hostErrno(err))
		_ = out
		return
	} else {
		unix.Close(fd)
	}
	out, errno := g.Tmpfile(root, unix.O_TMPFILE|unix.O_RDWR, 0o640, 0)
	ok(t, "TMPFILE", errno)
	if out.Attr.Nlink != 0 || out.Attr.Mode != unix.S_IFREG|0o640 {
		t.Errorf("TMPFILE: %+v", out.Attr)
	}
	_, errno = g.Write(out.NodeId, out.Fh, 0, []byte("unnamed"))
	ok(t, "WRITE", errno)
	_, errno = g.Link(out.NodeId, root, "named")
	ok(t, "LINK of a TMPFILE", errno)
	if got := read(t, g.path("named")); got != "unnamed" {
		t.Errorf("linked file holds %q", got)
	}
	want(t, "TMPFILE by the guest's overlayfs", second(g.Tmpfile(root, unix.O_WRONLY, 0o600, 0)), syscall.EOPNOTSUPP)
	want(t, "TMPFILE in a file", second(g.Tmpfile(out.NodeId, unix.O_TMPFILE|unix.O_RDWR, 0o600, 0)), syscall.ENOTDIR)
}

func TestSyncFs(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	write(t, g.path("dirty"), "data")
	ok(t, "SYNCFS", g.SyncFs(root))
	want(t, "SYNCFS of no node", g.SyncFs(1<<40), syscall.ESTALE)
}

func TestXAttr(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	node, _ := g.create("f")
	big := pattern(1000, 5)
	for name, v := range map[string][]byte{"user.small": []byte("v"), "user.empty": {}, "user.big": big} {
		ok(t, "SETXATTR "+name, g.SetXAttr(node, name, v, 0))
		n, errno := g.XAttrSize(node, name)
		ok(t, "GETXATTR size", errno)
		got, errno := g.GetXAttr(node, name, max(n, 1))
		ok(t, "GETXATTR", errno)
		if !bytes.Equal(got, v) {
			t.Errorf("%s: %d bytes that differ, want %d", name, len(got), len(v))
		}
	}
	want(t, "GETXATTR into too little", second(g.GetXAttr(node, "user.big", 10)), syscall.ERANGE)
	want(t, "GETXATTR of none", second(g.GetXAttr(node, "user.none", 10)), syscall.ENODATA)
	want(t, "SETXATTR CREATE", g.SetXAttr(node, "user.small", nil, unix.XATTR_CREATE), syscall.EEXIST)
	want(t, "SETXATTR REPLACE", g.SetXAttr(node, "user.none", nil, unix.XATTR_REPLACE), syscall.ENODATA)
	n, errno := g.ListXAttrSize(node)
	ok(t, "LISTXATTR size", errno)
	names, errno := g.ListXAttr(node, n)
	ok(t, "LISTXATTR", errno)
	slices.Sort(names)
	if !slices.Equal(names, []string{"user.big", "user.empty", "user.small"}) {
		t.Errorf("LISTXATTR: %q", names)
	}
	want(t, "LISTXATTR into too little", second(g.ListXAttr(node, 5)), syscall.ERANGE)
	ok(t, "REMOVEXATTR", g.RemoveXAttr(node, "user.small"))
	want(t, "REMOVEXATTR again", g.RemoveXAttr(node, "user.small"), syscall.ENODATA)
}

// What this file system does not do is answered ENOSYS, so that the guest does it itself or
// never asks again.
func TestNotImplemented(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	node, fh := g.create("f")
	l := frontend.Lock{Fh: fh, Owner: 1, Lock: fuse.FileLock{End: 10, Typ: unix.F_WRLCK}}
	want(t, "GETLK", second(g.GetLk(node, l)), syscall.ENOSYS)
	want(t, "SETLK", g.SetLk(node, l), syscall.ENOSYS)
	want(t, "SETLKW", g.SetLkw(node, l), syscall.ENOSYS)
	for _, op := range []frontend.Opcode{0, 7, 19, frontend.OpBmap, frontend.OpPoll, frontend.OpSetupmapping, frontend.OpRemovemapping, 54, 4096, 1 << 31, 1<<32 - 1} {
		_, errno := g.Raw(op, node, make([]byte, 64), 64)
		want(t, op.String(), errno, syscall.ENOSYS)
	}
	g.alive()
}
