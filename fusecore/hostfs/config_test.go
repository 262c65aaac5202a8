// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	rw := newShare(t, Config{Root: dir})
	rw.put("f", "data")
	rw.put("file", "data")
	rw.mkdir(1, "d")
	before := snapshot(t, dir)
	s := newShare(t, Config{Root: dir, ReadOnly: true, XAttr: true})
	f := s.nodeOf("f")
	fh := s.openFile(f, unix.O_RDONLY)
	h, hf := header(1), header(f)

	for op, do := range nameOps {
		if op == "lookup" {
			continue
		}
		want(t, op, do(s, 1, "new"), unix.EROFS)
	}
	_, st := s.Write(nil, &fuse.WriteIn{InHeader: hf, Fh: fh}, []byte("x"))
	want(t, "write", st, unix.EROFS)
	_, st = s.CopyFileRange(nil, &fuse.CopyFileRangeIn{InHeader: hf})
	want(t, "copy", st, unix.EROFS)
	want(t, "allocate", s.Fallocate(nil, &fuse.FallocateIn{InHeader: hf, Fh: fh, Length: 1}), unix.EROFS)
	_, st = setAttr(s, f, fuse.FATTR_MODE, func(in *fuse.SetAttrIn) { in.Mode = 0o777 })
	want(t, "setattr", st, unix.EROFS)
	want(t, "setxattr", s.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: hf}, "user.a", nil), unix.EROFS)
	want(t, "removexattr", s.RemoveXAttr(nil, &hf, "user.a"), unix.EROFS)
	want(t, "tmpfile", s.Tmpfile(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_TMPFILE | unix.O_RDWR}, &fuse.CreateOut{}), unix.EROFS)
	want(t, "access", s.Access(nil, &fuse.AccessIn{InHeader: hf, Mask: fuse.W_OK}), unix.EROFS)
	for _, flags := range []uint32{unix.O_WRONLY, unix.O_RDWR, unix.O_TRUNC, unix.O_WRONLY | unix.O_TRUNC} {
		want(t, "open", s.Open(nil, &fuse.OpenIn{InHeader: hf, Flags: flags}, &fuse.OpenOut{}), unix.EROFS)
		want(t, "create of what is there", s.Create(nil, &fuse.CreateIn{InHeader: h, Flags: flags}, "f", &fuse.CreateOut{}), unix.EROFS)
	}
	want(t, "exclusive create", s.Create(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_EXCL}, "f", &fuse.CreateOut{}), unix.EROFS)
	s.ok("create to read what is there", s.Create(nil, &fuse.CreateIn{InHeader: h}, "f", &fuse.CreateOut{}))
	if got := s.readAll(f); got != "data" {
		t.Errorf("reads %q", got)
	}
	if after := snapshot(t, dir); after != before {
		t.Errorf("changed:\n%s\nbefore:\n%s", after, before)
	}
}

func TestCachePolicies(t *testing.T) {
	all := ^uint64(0)
	plus := uint64(fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO)
	for _, c := range []struct {
		mode          CacheMode
		seconds       uint64
		open, openDir uint32
		plus, links   bool
		negative      uint64
	}{
		{CacheNever, 0, 0x41, 0, false, false, 0},
		{CacheMetadata, 86400, 0x41, 0xa, true, true, 1},
		{CacheAuto, 1, 0, 0, true, false, 1},
		{"", 1, 0, 0, true, false, 1},
		{CacheAlways, 86400, 2, 0xa, true, true, 1},
	} {
		t.Run(string(c.mode), func(t *testing.T) {
			s := newShare(t, Config{Cache: c.mode})
			created := s.createFile("f", unix.O_RDWR)
			var open, dir fuse.OpenOut
			s.ok("open", s.Open(nil, &fuse.OpenIn{InHeader: header(created.NodeId)}, &open))
			s.ok("opendir", s.OpenDir(nil, &fuse.OpenIn{InHeader: header(1)}, &dir))
			if created.EntryValid != c.seconds || created.AttrValid != c.seconds || created.OpenFlags != c.open ||
				open.OpenFlags != c.open || dir.OpenFlags != c.openDir {
				t.Errorf("create %+v open %x opendir %x", created, open.OpenFlags, dir.OpenFlags)
			}
			got := s.InitFlags(all)
			if (got&plus == plus) != c.plus || got&plus != 0 && !c.plus {
				t.Errorf("flags %#x", got)
			}
			for _, never := range []uint64{fuse.CAP_POSIX_LOCKS, fuse.CAP_FLOCK_LOCKS, fuse.CAP_POSIX_ACL, fuse.CAP_WRITEBACK_CACHE} {
				if got&never != 0 {
					t.Errorf("flag %#x is wanted", never)
				}
			}
			if (got&fuse.CAP_CACHE_SYMLINKS != 0) != c.links {
				t.Errorf("flags %#x, symbolic links may be kept: %v", got, c.links)
			}
			h, none := header(1), fuse.EntryOut{}
			st := s.Lookup(nil, &h, "none", &none)
			if c.negative == 0 && st != fuse.ENOENT || c.negative != 0 && (!st.Ok() || none.NodeId != 0 || none.EntryValid != c.negative) {
				t.Errorf("a name that is not there: %v, %+v", st, none)
			}
			if s.InitFlags(0) != 0 {
				t.Error("wants what was not offered")
			}
		})
	}
}

func TestBadConfigs(t *testing.T) {
	fifo := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"cache mode":      {Root: t.TempDir(), Cache: "sometimes"},
		"missing root":    {Root: "/does/not/exist"},
		"root is a fifo":  {Root: fifo},
		"negative budget": {Root: t.TempDir(), FDBudget: -1},
	} {
		before := fdCount(t)
		if fs, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
			_ = fs.Close()
		}
		if got := fdCount(t); got != before {
			t.Errorf("%s: %d fds leaked", name, got-before)
		}
	}
}

// TestClose leaves no fd behind, whatever was open.
func TestClose(t *testing.T) {
	dir := t.TempDir()
	before := fdCount(t)
	fs, err := New(Config{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	s := &share{FS: fs, t: t, dir: dir}
	for _, name := range []string{"a", "b", "c"} {
		s.createFile(name, unix.O_RDWR)
	}
	s.openDirectory(s.mkdir(1, "d"))
	if err := fs.Close(); err != nil {
		t.Error(err)
	}
	if err := fs.Close(); err != nil {
		t.Error(err)
	}
	if got := fdCount(t); got != before {
		t.Errorf("%d fds leaked", got-before)
	}
}

func TestMayBlock(t *testing.T) {
	s := newShare(t, Config{})
	s.host.remote = false
	for op, want := range map[uint32]bool{1: false, 3: false, 15: false, 16: false, 20: true, 30: true, 43: true, 47: true, 50: true, 53: true} {
		if got := s.MayBlock(op); got != want {
			t.Errorf("opcode %d: %v", op, got)
		}
	}
	s.host.remote = true
	for op, want := range map[uint32]bool{1: true, 2: false, 15: true, 42: false} {
		if got := s.MayBlock(op); got != want {
			t.Errorf("opcode %d on a network: %v", op, got)
		}
	}
}
