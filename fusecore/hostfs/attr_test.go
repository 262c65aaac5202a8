// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func setAttr(s *share, node uint64, valid uint32, set func(in *fuse.SetAttrIn)) (fuse.Attr, fuse.Status) {
	var in fuse.SetAttrIn
	in.InHeader, in.Valid = header(node), valid
	set(&in)
	var out fuse.AttrOut
	st := s.SetAttr(nil, &in, &out)
	return out.Attr, st
}

func TestSetAttr(t *testing.T) {
	s := newShare(t, Config{})
	s.put("f", "0123456789")
	if err := os.Symlink("f", s.path("link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(s.path("fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, link, fifo := s.nodeOf("f"), s.nodeOf("link"), s.nodeOf("fifo")

	mode := func(in *fuse.SetAttrIn) { in.Mode = 0o4751 }
	a, st := setAttr(s, f, fuse.FATTR_MODE, mode)
	if s.ok("chmod", st); a.Mode != unix.S_IFREG|0o4751 {
		t.Errorf("mode %o", a.Mode)
	}
	_, st = setAttr(s, fifo, fuse.FATTR_MODE, mode)
	s.ok("chmod of a fifo", st)
	_, st = setAttr(s, link, fuse.FATTR_MODE, mode)
	want(t, "chmod of a link", st, unix.EOPNOTSUPP)

	size := func(n uint64) func(in *fuse.SetAttrIn) { return func(in *fuse.SetAttrIn) { in.Size = n } }
	a, st = setAttr(s, f, fuse.FATTR_SIZE, size(4))
	if s.ok("truncate", st); a.Size != 4 || s.text("f") != "0123" {
		t.Errorf("size %d, %q", a.Size, s.text("f"))
	}
	a, st = setAttr(s, f, fuse.FATTR_SIZE, size(1<<32+1))
	if s.ok("extend", st); a.Size != 1<<32+1 {
		t.Errorf("size %d", a.Size)
	}
	for node, errno := range map[uint64]unix.Errno{1: unix.EISDIR, fifo: unix.EINVAL, link: unix.EINVAL} {
		_, st = setAttr(s, node, fuse.FATTR_SIZE, size(1))
		want(t, fmt.Sprint("truncate of ", node), st, errno)
	}
	_, st = setAttr(s, f, fuse.FATTR_SIZE, size(math.MaxUint64))
	want(t, "negative size", st, unix.EINVAL)
}

func TestSetAttrByHandle(t *testing.T) {
	s := newShare(t, Config{})
	f := s.createFile("f", unix.O_RDWR)
	h := header(1)
	s.ok("unlink", s.Unlink(nil, &h, "f"))
	s.put("f", "another file")
	a, st := setAttr(s, f.NodeId, fuse.FATTR_SIZE|fuse.FATTR_FH|fuse.FATTR_MODE, func(in *fuse.SetAttrIn) {
		in.Fh, in.Size, in.Mode = f.Fh, 77, 0o600
	})
	if s.ok("setattr", st); a.Size != 77 || a.Mode != unix.S_IFREG|0o600 || s.text("f") != "another file" {
		t.Errorf("%+v", a)
	}
	_, st = setAttr(s, f.NodeId, fuse.FATTR_SIZE|fuse.FATTR_FH, func(in *fuse.SetAttrIn) { in.Fh = f.Fh + 1 })
	want(t, "bad handle", st, unix.EBADF)
	var out fuse.AttrOut
	s.ok("getattr", s.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(f.NodeId), Flags_: fuse.FUSE_GETATTR_FH, Fh_: f.Fh}, &out))
	if out.Size != 77 || out.Nlink != 0 || out.AttrValid != 1 {
		t.Errorf("%+v", out)
	}
}

func TestTimes(t *testing.T) {
	s := newShare(t, Config{})
	s.put("f", "x")
	if err := os.Symlink("f", s.path("link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "link"} {
		n := s.nodeOf(name)
		a, st := setAttr(s, n, fuse.FATTR_ATIME|fuse.FATTR_MTIME, func(in *fuse.SetAttrIn) {
			in.Atime, in.Atimensec, in.Mtime, in.Mtimensec = 1, 2, 3_000_000_000, 4
		})
		if s.ok("utimes "+name, st); a.Atime != 1 || a.Atimensec != 2 || a.Mtime != 3_000_000_000 || a.Mtimensec != 4 {
			t.Errorf("%s: %+v", name, a)
		}
		a, st = setAttr(s, n, fuse.FATTR_MTIME|fuse.FATTR_MTIME_NOW, func(*fuse.SetAttrIn) {})
		if s.ok("now", st); a.Atime != 1 || time.Since(time.Unix(int64(a.Mtime), 0)).Abs() > time.Hour {
			t.Errorf("%s: %+v", name, a)
		}
	}
	a, st := setAttr(s, s.nodeOf("f"), fuse.FATTR_MTIME, func(in *fuse.SetAttrIn) { in.Mtime = ^uint64(99) })
	if s.ok("before 1970", st); int64(a.Mtime) != -100 {
		t.Errorf("mtime %d", int64(a.Mtime))
	}
}

func TestChown(t *testing.T) {
	s := newShare(t, Config{})
	s.put("f", "x")
	if err := os.Symlink("f", s.path("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.path("f"), 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	chown := func(name string) (fuse.Attr, fuse.Status) {
		return setAttr(s, s.nodeOf(name), fuse.FATTR_UID|fuse.FATTR_GID, func(in *fuse.SetAttrIn) { in.Uid, in.Gid = 1234, 2345 })
	}
	if os.Geteuid() != 0 {
		_, st := chown("f")
		want(t, "chown without privilege", st, unix.EPERM)
		return
	}
	for _, name := range []string{"f", "link"} {
		a, st := chown(name)
		if s.ok("chown "+name, st); a.Uid != 1234 || a.Gid != 2345 {
			t.Errorf("%s belongs to %d:%d", name, a.Uid, a.Gid)
		}
		if name == "f" && a.Mode != unix.S_IFREG|0o755 {
			t.Errorf("set-user-id survived a new owner: %o", a.Mode)
		}
	}
	a, st := setAttr(s, s.nodeOf("f"), fuse.FATTR_GID, func(in *fuse.SetAttrIn) { in.Uid, in.Gid = 1, 99 })
	if s.ok("chgrp", st); a.Uid != 1234 || a.Gid != 99 {
		t.Errorf("after chgrp %d:%d", a.Uid, a.Gid)
	}
	a, st = setAttr(s, s.nodeOf("f"), fuse.FATTR_UID|fuse.FATTR_MODE, func(in *fuse.SetAttrIn) { in.Uid, in.Mode = 5, 0o4711 })
	if s.ok("chown and chmod", st); a.Uid != 5 || a.Mode != unix.S_IFREG|0o4711 {
		t.Errorf("owner %d mode %o", a.Uid, a.Mode)
	}
}

func TestStatx(t *testing.T) {
	s := newShare(t, Config{})
	s.put("f", "12345")
	n := s.nodeOf("f")
	in := &fuse.StatxIn{InHeader: header(n), SxMask: math.MaxUint32, SxFlags: math.MaxUint32 &^ syncType}
	var out fuse.StatxOut
	s.ok("statx", s.Statx(nil, in, &out))
	var host unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, s.path("f"), 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &host); err != nil {
		t.Fatal(err)
	}
	if out.Btime.Sec != uint64(host.Btime.Sec) || out.Btime.Nsec != host.Btime.Nsec || out.Size != 5 || out.Ino != host.Ino {
		t.Errorf("%+v, host %+v", out, host)
	}
	if out.Statx.Mask != host.Mask&(unix.STATX_BASIC_STATS|unix.STATX_BTIME) {
		t.Errorf("mask %#x, host %#x", out.Statx.Mask, host.Mask)
	}
	in.NodeId = 12345
	want(t, "unknown node", s.Statx(nil, in, &out), unix.ESTALE)
}

func TestAccess(t *testing.T) {
	s := newShare(t, Config{})
	s.put("f", "x")
	if err := os.Chmod(s.path("f"), 0o640); err != nil {
		t.Fatal(err)
	}
	n := s.nodeOf("f")
	me, group := uint32(os.Geteuid()), uint32(os.Getegid())
	for _, c := range []struct {
		uid, gid, mask uint32
		errno          unix.Errno
	}{
		{me, group, fuse.R_OK | fuse.W_OK, 0}, {me, group, fuse.X_OK, unix.EACCES},
		{4000, group, fuse.R_OK, 0}, {4000, group, fuse.W_OK, unix.EACCES},
		{4000, 4000, fuse.R_OK, unix.EACCES}, {4000, 4000, fuse.F_OK, 0},
		{0, 0, fuse.R_OK | fuse.W_OK, 0}, {0, 0, fuse.X_OK, unix.EACCES},
	} {
		in := &fuse.AccessIn{InHeader: header(n), Mask: c.mask}
		in.Uid, in.Gid = c.uid, c.gid
		want(t, fmt.Sprintf("%+v", c), s.Access(nil, in), c.errno)
	}
}

func TestXAttr(t *testing.T) {
	s := newShare(t, Config{XAttr: true})
	s.put("f", "x")
	n := s.nodeOf("f")
	h := header(n)
	set := func(name, value string, flags uint32) fuse.Status {
		return s.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: h, Size: uint32(len(value)), Flags: flags}, name, []byte(value))
	}
	s.ok("set", set("user.a", "value", 0))
	s.ok("set bytes", set("user.\xff", "", unix.XATTR_CREATE))
	want(t, "create again", set("user.a", "x", unix.XATTR_CREATE), unix.EEXIST)
	want(t, "replace nothing", set("user.none", "x", unix.XATTR_REPLACE), unix.ENODATA)
	want(t, "name with NUL", set("user.a\x00b", "x", 0), unix.EINVAL)

	buf := make([]byte, 100)
	size, st := s.GetXAttr(nil, &h, "user.a", buf)
	if s.ok("get", st); string(buf[:size]) != "value" {
		t.Errorf("value %q", buf[:size])
	}
	if size, st = s.GetXAttr(nil, &h, "user.a", nil); !st.Ok() || size != 5 {
		t.Errorf("size %d, %v", size, st)
	}
	_, st = s.GetXAttr(nil, &h, "user.a", buf[:2])
	want(t, "short buffer", st, unix.ERANGE)
	_, st = s.GetXAttr(nil, &h, "user.none", buf)
	want(t, "no such attribute", st, unix.ENODATA)

	const list = "user.a\x00user.\xff\x00"
	size, st = s.ListXAttr(nil, &h, buf)
	if s.ok("list", st); string(buf[:size]) != list {
		t.Errorf("list %q", buf[:size])
	}
	if size, st = s.ListXAttr(nil, &h, nil); !st.Ok() || int(size) != len(list) {
		t.Errorf("list size %d, %v", size, st)
	}
	_, st = s.ListXAttr(nil, &h, buf[:3])
	want(t, "short list buffer", st, unix.ERANGE)
	s.ok("remove", s.RemoveXAttr(nil, &h, "user.a"))
	want(t, "remove again", s.RemoveXAttr(nil, &h, "user.a"), unix.ENODATA)

	for _, acl := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
		want(t, "set "+acl, set(acl, "x", 0), unix.EOPNOTSUPP)
		_, st = s.GetXAttr(nil, &h, acl, buf)
		want(t, "get "+acl, st, unix.EOPNOTSUPP)
		want(t, "remove "+acl, s.RemoveXAttr(nil, &h, acl), unix.EOPNOTSUPP)
	}
	if got := string(withoutACLs([]byte("a\x00system.posix_acl_access\x00b\x00system.posix_acl_default\x00"))); got != "a\x00b\x00" {
		t.Errorf("filtered list %q", got)
	}
	if got := string(withoutACLs([]byte("unended"))); got != "unended" {
		t.Errorf("filtered list %q", got)
	}
}

func TestXAttrOff(t *testing.T) {
	s := newShare(t, Config{})
	h := header(1)
	_, st := s.GetXAttr(nil, &h, "user.a", nil)
	want(t, "get", st, unix.ENOSYS)
	_, st = s.ListXAttr(nil, &h, nil)
	want(t, "list", st, unix.ENOSYS)
	want(t, "set", s.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: h}, "user.a", nil), unix.ENOSYS)
	want(t, "remove", s.RemoveXAttr(nil, &h, "user.a"), unix.ENOSYS)
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		want fuse.Status
	}{
		{nil, fuse.OK}, {unix.EXDEV, fuse.EXDEV}, {fmt.Errorf("wrapped: %w", unix.EDQUOT), fuse.Status(unix.EDQUOT)},
		{&os.PathError{Err: unix.ENOSPC}, fuse.Status(unix.ENOSPC)}, {errors.New("no errno"), fuse.EIO}, {fmt.Errorf("%w", unix.Errno(0)), fuse.EIO},
	} {
		if got := status(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
