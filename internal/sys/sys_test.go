// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func openDir(t testing.TB, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Close(fd) })
	return fd
}

func tempFile(t testing.TB, data []byte) int {
	t.Helper()
	fd, err := unix.Open(t.TempDir(), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Close(fd) })
	if _, err := unix.Write(fd, data); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestNames(t *testing.T) {
	dir := openDir(t, t.TempDir())
	var st unix.Statx_t
	calls := map[string]func(name string) error{
		"open":   func(n string) error { _, err := OpenIn(dir, n, unix.O_PATH, 0); return err },
		"stat":   func(n string) error { return StatxIn(dir, n, unix.STATX_TYPE, &st) },
		"unlink": func(n string) error { return Unlink(dir, n, 0) },
		"mkdir":  func(n string) error { return Mkdir(dir, n, 0o755) },
		"mknod":  func(n string) error { return Mknod(dir, n, unix.S_IFREG, 0) },
		"from":   func(n string) error { return Rename(dir, n, dir, "x", 0) },
		"to":     func(n string) error { return Rename(dir, "x", dir, n, 0) },
		"link":   func(n string) error { return Link(dir, dir, dir, n) },
	}
	for what, call := range calls {
		if err := call(strings.Repeat("x", NameMax+1)); err != unix.ENAMETOOLONG {
			t.Errorf("%s: long name: %v", what, err)
		}
		if err := call("a\x00b"); err != unix.EINVAL {
			t.Errorf("%s: NUL in a name: %v", what, err)
		}
	}
	if err := Mkdir(dir, strings.Repeat("x", NameMax), 0o755); err != nil {
		t.Errorf("longest name: %v", err)
	}
}

func TestFDNames(t *testing.T) {
	for _, n := range []int{0, 7, 10, 12345, 1<<31 - 1} {
		var c cname
		c.setInt(n)
		if got, _, _ := strings.Cut(string(c[:]), "\x00"); got != strconv.Itoa(n) {
			t.Errorf("%d is written as %q", n, got)
		}
		var p procPath
		for proc, dir := range map[int]string{3: "/proc/self/fd/", unix.AT_FDCWD: ""} {
			p = procPath{}
			p.set(proc, n)
			if got, _, _ := strings.Cut(string(p[:]), "\x00"); got != dir+strconv.Itoa(n) {
				t.Errorf("path of %d with %d is %q", n, proc, got)
			}
		}
	}
}

// TestOpenIn: with openat2 and without it.
func TestOpenIn(t *testing.T) {
	path := t.TempDir()
	dir := openDir(t, path)
	if err := os.WriteFile(filepath.Join(path, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("f", filepath.Join(path, "link")); err != nil {
		t.Fatal(err)
	}
	try := func(t *testing.T) {
		for _, name := range []string{"f", "link"} {
			fd, err := OpenIn(dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var st unix.Statx_t
			if err := Statx(fd, 0, unix.STATX_BASIC_STATS, &st); err != nil {
				t.Fatal(err)
			}
			if link := st.Mode&unix.S_IFMT == unix.S_IFLNK; link != (name == "link") {
				t.Errorf("%s has mode %o", name, st.Mode)
			}
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("not close-on-exec: %v", err)
			}
			_ = Close(fd)
		}
		if _, err := OpenIn(dir, "link", unix.O_RDONLY|unix.O_NOFOLLOW, 0); err != unix.ELOOP {
			t.Errorf("opened through a link: %v", err)
		}
		if _, err := OpenIn(dir, "none", unix.O_PATH, 0); err != unix.ENOENT {
			t.Errorf("no such file: %v", err)
		}
	}
	t.Run("openat2", func(t *testing.T) {
		try(t)
		if noOpenat2.Load() {
			t.Log("this kernel or a filter has no openat2")
			return
		}
		if _, err := OpenIn(dir, "..", unix.O_PATH, 0); err != unix.EXDEV {
			t.Errorf("left upwards: %v", err)
		}
	})
	t.Run("openat", func(t *testing.T) {
		was := noOpenat2.Swap(true)
		defer noOpenat2.Store(was)
		try(t)
	})
}

func TestXattr(t *testing.T) {
	proc := openDir(t, "/proc/self/fd")
	try := func(t *testing.T) {
		fd := tempFile(t, nil)
		path, err := Reopen(proc, fd, unix.O_PATH)
		if err != nil {
			t.Fatal(err)
		}
		defer Close(path)
		if err := Setxattr(proc, path, "user.a", []byte("value"), unix.XATTR_CREATE); err != nil {
			t.Fatal(err)
		}
		if err := Setxattr(proc, path, "user.a", nil, unix.XATTR_CREATE); err != unix.EEXIST {
			t.Errorf("created again: %v", err)
		}
		buf := make([]byte, 100)
		if n, err := Getxattr(proc, path, "user.a", buf); err != nil || string(buf[:n]) != "value" {
			t.Errorf("%d %v", n, err)
		}
		if n, err := Getxattr(proc, path, "user.a", nil); err != nil || n != 5 {
			t.Errorf("size %d %v", n, err)
		}
		if n, err := Listxattr(proc, path, buf); err != nil || string(buf[:n]) != "user.a\x00" {
			t.Errorf("list %q %v", buf[:max(n, 0)], err)
		}
		if err := Removexattr(proc, path, "user.a"); err != nil {
			t.Error(err)
		}
		if _, err := Getxattr(proc, path, "user.a", nil); err != unix.ENODATA {
			t.Errorf("removed: %v", err)
		}
		if err := Setxattr(proc, path, strings.Repeat("x", 256), nil, 0); err != unix.ERANGE {
			t.Errorf("long name: %v", err)
		}
		if err := Removexattr(proc, path, strings.Repeat("x", 256)); err != unix.ERANGE {
			t.Errorf("remove a long name: %v", err)
		}
	}
	t.Run("by fd", func(t *testing.T) {
		try(t)
		t.Logf("the kernel has the calls: %v", !noXattrat.Load())
	})
	t.Run("by path", func(t *testing.T) {
		was := noXattrat.Swap(true)
		defer noXattrat.Store(was)
		try(t)
	})
}

// TestVectors: any cut of the data into pieces, from any offset, is the same data.
func TestVectors(t *testing.T) {
	fd := tempFile(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "data")
		off := int64(rapid.IntRange(0, 10000).Draw(t, "offset"))
		if err := unix.Ftruncate(fd, 0); err != nil {
			t.Fatal(err)
		}
		most := rapid.SampledFrom([]int{1, 3, 100, 5000}).Draw(t, "piece")
		pieces := cut(t, data, most)
		n, err := Writev(fd, pieces, off, 0)
		if err != nil || n != length(pieces) {
			t.Fatalf("wrote %d of %d: %v", n, len(data), err)
		}
		got := make([]byte, len(data)+10)
		pieces = cut(t, got, most)
		want := data[:min(n, length(pieces))]
		n, err = Readv(fd, pieces, off, 0)
		if err != nil || !bytes.Equal(got[:n], want) {
			t.Fatalf("read %d of %d: %v", n, len(want), err)
		}
	})
}

// cut makes pieces of b, some of them empty.
func cut(t *rapid.T, b []byte, most int) (pieces [][]byte) {
	for len(b) > 0 {
		n := min(rapid.IntRange(0, most).Draw(t, "n"), len(b))
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return pieces
}

// length is the number of bytes in as many pieces as the kernel takes.
func length(pieces [][]byte) (n int) {
	left := iovMax
	for _, p := range pieces {
		if len(p) > 0 && left > 0 {
			n += len(p)
			left--
		}
	}
	return n
}

func TestVectorErrors(t *testing.T) {
	fd := tempFile(t, []byte("data"))
	one := [][]byte{make([]byte, 1)}
	if _, err := Readv(fd, one, -1, 0); err != unix.EINVAL {
		t.Errorf("negative offset: %v", err)
	}
	if _, err := Readv(-1, one, 0, 0); err != unix.EBADF {
		t.Errorf("bad fd: %v", err)
	}
	if n, err := Readv(fd, nil, 0, 0); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
	if n, err := Readv(fd, one, 100, 0); n != 0 || err != nil {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	if n, err := Writev(fd, [][]byte{[]byte("+")}, 0, unix.RWF_APPEND); n != 1 || err != nil {
		t.Errorf("append: %d, %v", n, err)
	}
	buf := make([]byte, 10)
	if n, err := Readv(fd, [][]byte{buf}, 0, 0); err != nil || string(buf[:n]) != "data+" {
		t.Errorf("appended %q, %v", buf[:n], err)
	}
}

func TestHandles(t *testing.T) {
	fd := tempFile(t, nil)
	var h Handle
	if err := NameToHandle(fd, &h); err != nil {
		if err != unix.EOPNOTSUPP {
			t.Fatal(err)
		}
		t.Log("no handles on this file system")
		return
	}
	c, err := Capget()
	if err != nil {
		t.Fatal(err)
	}
	got, err := OpenByHandle(fd, &h, unix.O_PATH)
	if c.Effective&(1<<unix.CAP_DAC_READ_SEARCH) == 0 {
		if err != unix.EPERM {
			t.Errorf("without the capability: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer Close(got)
	var a, b unix.Stat_t
	if unix.Fstat(fd, &a) != nil || unix.Fstat(got, &b) != nil || a.Ino != b.Ino {
		t.Errorf("handle of inode %d opened %d", a.Ino, b.Ino)
	}
	h.Type ^= 0x55
	if fd, err := OpenByHandle(fd, &h, unix.O_PATH); err == nil {
		t.Errorf("a handle of a type that there is none of gave fd %d", fd)
	}
}

func TestNoAllocations(t *testing.T) {
	dir := openDir(t, t.TempDir())
	proc := openDir(t, "/proc/self/fd")
	fd := tempFile(t, make([]byte, 4096))
	bufs := [][]byte{make([]byte, 2048), make([]byte, 2048)}
	var st unix.Statx_t
	for what, f := range map[string]func(){
		"open":   func() { fd, _ := OpenIn(dir, "none", unix.O_PATH, 0); _ = Close(fd) },
		"statx":  func() { _ = Statx(dir, 0, unix.STATX_BASIC_STATS, &st) },
		"readv":  func() { _, _ = Readv(fd, bufs, 0, 0) },
		"nowait": func() { _, _ = ReadvNowait(fd, bufs, 0) },
		"reopen": func() { fd, _ := Reopen(proc, dir, unix.O_PATH); _ = Close(fd) },
		"mkdir":  func() { _ = Mkdir(dir, "x", 0o700) },
		"unlink": func() { _ = Unlink(dir, "none", 0) },
	} {
		f()
		if n := testing.AllocsPerRun(50, f); n >= 1 { // the pool may be emptied by a collection
			t.Errorf("%s allocates %v times", what, n)
		}
	}
}
