// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ioctl sends an ioctl of a file or directory that is open, as user uid, and returns the answer.
func (s *share) ioctl(node, fh uint64, cmd, uid uint32, arg []byte, size int) ([]byte, fuse.Status) {
	h := header(node)
	h.Uid = uid
	result := make([]byte, size)
	st := s.Ioctl(nil, &fuse.IoctlIn{InHeader: h, Fh: fh, Cmd: cmd, InSize: uint32(len(arg)), OutSize: uint32(size)},
		arg, &fuse.IoctlOut{}, result)
	return result, st
}

// flagsOf are the flags of a host file.
func flagsOf(t *testing.T, path string) uint32 {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Flags of Linux linux/fs.h: FS_NODUMP_FL, FS_IMMUTABLE_FL, FS_PROJINHERIT_FL, and those of struct
// fsxattr.
const (
	noDump    = 0x40
	immutable = 0x10
	inherit   = 0x20000000
	xNoDump   = 0x80
	xInherit  = 0x200
)

func word(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// TestFlagIoctls: what chattr(1) and lsattr(1) do in the guest happens on the host.
func TestFlagIoctls(t *testing.T) {
	s := newShare(t, Config{})
	s.put("f", "x")
	node := s.nodeOf("f")
	sub := s.mkdir(1, "d")
	for _, c := range []struct {
		path     string
		node, fh uint64
	}{{"f", node, s.openFile(node, unix.O_RDONLY)}, {"d", sub, s.openDirectory(sub)}} {
		old := flagsOf(t, s.path(c.path))
		got, st := s.ioctl(c.node, c.fh, iocGetFlags, 0, nil, 8)
		if s.ok("get", st); binary.NativeEndian.Uint32(got) != old {
			t.Errorf("%s: flags %x, want %#x", c.path, got, old)
		}
		_, st = s.ioctl(c.node, c.fh, iocSetFlags, 0, word(old|noDump), 0)
		if s.ok("set", st); flagsOf(t, s.path(c.path)) != old|noDump {
			t.Errorf("%s: flags %#x on the host, want %#x", c.path, flagsOf(t, s.path(c.path)), old|noDump)
		}
		x, st := s.ioctl(c.node, c.fh, iocGetXAttr, 0, nil, 28)
		if s.ok("get fsxattr", st); binary.NativeEndian.Uint32(x)&xNoDump == 0 {
			t.Errorf("%s: fsxattr %x", c.path, x)
		}
		binary.NativeEndian.PutUint32(x, binary.NativeEndian.Uint32(x)&^xNoDump)
		_, st = s.ioctl(c.node, c.fh, iocSetXAttr, 0, x, 0)
		if s.ok("set fsxattr", st); flagsOf(t, s.path(c.path)) != old {
			t.Errorf("%s: flags %#x on the host, want %#x", c.path, flagsOf(t, s.path(c.path)), old)
		}
	}
}

// TestIoctlsRefused: what is not for the guest, or not for this user of it, changes nothing.
func TestIoctlsRefused(t *testing.T) {
	const owner = 1000
	s := newShare(t, Config{})
	s.put("f", "x")
	if os.Geteuid() == 0 {
		if err := os.Chown(s.path("f"), owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	node := s.nodeOf("f")
	fh := s.openFile(node, unix.O_RDONLY)
	old := flagsOf(t, s.path("f"))
	x, st := s.ioctl(node, fh, iocGetXAttr, 0, nil, 28)
	s.ok("get fsxattr", st)
	project, inheriting := append([]byte(nil), x...), append([]byte(nil), x...)
	project[12]++
	binary.NativeEndian.PutUint32(inheriting, binary.NativeEndian.Uint32(x)^xInherit)

	for name, c := range map[string]struct {
		cmd, uid uint32
		arg      []byte
		size     int
		want     unix.Errno
	}{
		"terminal":                  {unix.TCGETS, 0, nil, 60, unix.ENOTTY},
		"trim":                      {0xc0185879, 0, make([]byte, 24), 24, unix.ENOTTY}, // FITRIM
		"clone":                     {unix.FICLONE, 0, word(uint32(fh)), 0, unix.ENOTTY},
		"get into too little":       {iocGetFlags, 0, nil, 3, unix.EINVAL},
		"get x into too little":     {iocGetXAttr, 0, nil, 27, unix.EINVAL},
		"set from too little":       {iocSetFlags, 0, []byte{1, 2, 3}, 0, unix.EINVAL},
		"set x from too little":     {iocSetXAttr, 0, x[:27], 0, unix.EINVAL},
		"set nothing":               {iocSetFlags, 0, nil, 0, unix.EINVAL},
		"another user":              {iocSetFlags, owner + 1, word(old | noDump), 0, unix.EPERM},
		"immutable by the owner":    {iocSetFlags, owner, word(old | immutable), 0, unix.EPERM},
		"project inheritance":       {iocSetFlags, 0, word(old ^ inherit), 0, unix.EPERM},
		"project inheritance, as x": {iocSetXAttr, 0, inheriting, 0, unix.EPERM},
		"project":                   {iocSetXAttr, 0, project, 0, unix.EPERM},
	} {
		_, st := s.ioctl(node, fh, c.cmd, c.uid, c.arg, c.size)
		want(t, name, st, c.want)
		if now := flagsOf(t, s.path("f")); now != old {
			t.Fatalf("%s: flags are %#x now", name, now)
		}
	}
	_, st = s.ioctl(node, fh+1, iocGetFlags, 0, nil, 8)
	want(t, "a handle that is not open", st, unix.EBADF)
	if os.Geteuid() == 0 {
		_, st = s.ioctl(node, fh, iocSetFlags, owner, word(old|noDump), 0)
		s.ok("the owner", st)
		_, st = s.ioctl(node, fh, iocSetFlags, noCaller, word(old), 0)
		s.ok("a caller whom the guest's kernel has checked", st)
	}
	ro := newShare(t, Config{Root: s.dir, ReadOnly: true})
	node = ro.nodeOf("f")
	fh = ro.openFile(node, unix.O_RDONLY)
	_, st = ro.ioctl(node, fh, iocSetFlags, 0, word(old|noDump), 0)
	want(t, "set on a read-only share", st, unix.EROFS)
	_, st = ro.ioctl(node, fh, iocGetFlags, 0, nil, 8)
	ro.ok("get on a read-only share", st)
}
