// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"fmt"
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
	"golang.org/x/sys/unix"
)

func idMap(t testing.TB, rules ...string) *idmap.Map {
	t.Helper()
	m, err := idmap.Parse(rules)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// hostOwner is whom the host says that a name belongs to.
func (s *share) hostOwner(name string) [2]uint32 {
	s.t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(s.path(name), &st); err != nil {
		s.t.Fatal(err)
	}
	return [2]uint32{st.Uid, st.Gid}
}

// makers are the operations that create something, by the name of what they make.
var makers = map[string]func(s *share, h fuse.InHeader) (fuse.Attr, fuse.Status){
	"dir": func(s *share, h fuse.InHeader) (fuse.Attr, fuse.Status) {
		var e fuse.EntryOut
		st := s.Mkdir(nil, &fuse.MkdirIn{InHeader: h, Mode: 0o755}, "dir", &e)
		return e.Attr, st
	},
	"fifo": func(s *share, h fuse.InHeader) (fuse.Attr, fuse.Status) {
		var e fuse.EntryOut
		st := s.Mknod(nil, &fuse.MknodIn{InHeader: h, Mode: unix.S_IFIFO | 0o644}, "fifo", &e)
		return e.Attr, st
	},
	"link": func(s *share, h fuse.InHeader) (fuse.Attr, fuse.Status) {
		var e fuse.EntryOut
		st := s.Symlink(nil, &h, "x", "link", &e)
		return e.Attr, st
	},
	"file": func(s *share, h fuse.InHeader) (fuse.Attr, fuse.Status) {
		var e fuse.CreateOut
		st := s.Create(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_RDWR, Mode: 0o644}, "file", &e)
		return e.Attr, st
	},
	"": func(s *share, h fuse.InHeader) (fuse.Attr, fuse.Status) {
		var e fuse.CreateOut
		st := s.Tmpfile(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: 0o644}, &e)
		return e.Attr, st
	},
}

func caller(node uint64, uid, gid uint32) fuse.InHeader {
	h := header(node)
	h.Uid, h.Gid = uid, gid
	return h
}

// TestTranslatedCreation: what the guest's users make belongs to the host's, and is shown as the
// guest's; forbidden users make nothing.
func TestTranslatedCreation(t *testing.T) {
	own := [2]uint32{uint32(os.Geteuid()), uint32(os.Getegid())}
	for name, mk := range makers {
		s := newShare(t, Config{
			UIDs: idMap(t, "map:0:100000:1000", "forbid-guest:1000:1", "squash-guest:2000:7000:10"),
			GIDs: idMap(t, "map:0:200000:1000", "forbid-guest:1000:1"),
		})
		if err := os.Chmod(s.dir, 0o777); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ uid, gid, hostUID, hostGID, seenUID, seenGID uint32 }{
			{0, 0, 100000, 200000, 0, 0},
			{5, 6, 100005, 200006, 5, 6},
			{5000, 5001, 5000, 5001, 5000, 5001}, // no rule
			{2009, 6, 7000, 200006, 7000, 6},
		} {
			if own[0] != 0 { // all that a daemon without privileges makes is its own
				c.hostUID, c.hostGID = own[0], own[1]
				c.seenUID, c.seenGID = s.cfg.UIDs.ToGuest(own[0]), s.cfg.GIDs.ToGuest(own[1])
			}
			a, st := mk(s, caller(1, c.uid, c.gid))
			s.ok("make "+name, st)
			if a.Uid != c.seenUID || a.Gid != c.seenGID {
				t.Errorf("%q of %d:%d is shown as %d:%d", name, c.uid, c.gid, a.Uid, a.Gid)
			}
			if name == "" {
				continue
			}
			if got := s.hostOwner(name); got != [2]uint32{c.hostUID, c.hostGID} {
				t.Errorf("%q of %d:%d belongs to %v on the host", name, c.uid, c.gid, got)
			}
			if err := os.RemoveAll(s.path(name)); err != nil {
				t.Fatal(err)
			}
		}
		for _, h := range []fuse.InHeader{caller(1, 1000, 0), caller(1, 0, 1000)} {
			_, st := mk(s, h)
			want(t, "make "+name+" as a forbidden user", st, unix.EPERM)
			if _, err := os.Lstat(s.path(name)); name != "" && err == nil {
				t.Errorf("%q was made nevertheless", name)
			}
		}
	}
}

// TestTranslatedOwner: chown goes to the host's ids, and every answer about a file has the guest's.
// The ids are the test's own, which anybody may chown to.
func TestTranslatedOwner(t *testing.T) {
	own := [2]uint32{uint32(os.Geteuid()), uint32(os.Getegid())}
	s := newShare(t, Config{
		UIDs: idMap(t, fmt.Sprintf("map:7:%d:1", own[0]), "forbid-guest:1000:1"),
		GIDs: idMap(t, fmt.Sprintf("map:9:%d:1", own[1])),
	})
	s.put("f", "")
	node := s.nodeOf("f")
	chown := func(uid, gid uint32, valid uint32) (fuse.Attr, fuse.Status) {
		var out fuse.AttrOut
		st := s.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: header(node), Valid: valid,
			Owner: fuse.Owner{Uid: uid, Gid: gid}}}, &out)
		return out.Attr, st
	}
	const both = fuse.FATTR_UID | fuse.FATTR_GID
	for _, valid := range []uint32{both, fuse.FATTR_UID, fuse.FATTR_GID} {
		if a, st := chown(7, 9, valid); !st.Ok() || a.Uid != 7 || a.Gid != 9 || s.hostOwner("f") != own {
			t.Errorf("chown 7:9 (%d): %v, shown as %d:%d, on the host %v", valid, st, a.Uid, a.Gid, s.hostOwner("f"))
		}
	}
	_, st := chown(1000, 9, both)
	want(t, "chown to a forbidden user", st, unix.EPERM)
	if s.hostOwner("f") != own {
		t.Errorf("a chown that failed made it %v", s.hostOwner("f"))
	}

	if e := s.lookupAt(1, "f"); e.Uid != 7 || e.Gid != 9 {
		t.Errorf("LOOKUP shows %d:%d", e.Uid, e.Gid)
	}
	if a, _ := s.attrOf(node); a.Uid != 7 || a.Gid != 9 {
		t.Errorf("GETATTR shows %d:%d", a.Uid, a.Gid)
	}
	var x fuse.StatxOut
	s.ok("statx", s.Statx(nil, &fuse.StatxIn{InHeader: header(node), SxMask: unix.STATX_BASIC_STATS}, &x))
	if x.Uid != 7 || x.Gid != 9 {
		t.Errorf("STATX shows %d:%d", x.Uid, x.Gid)
	}
	if err := os.Chmod(s.path("f"), 0o400); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		uid  uint32
		want unix.Errno
	}{{7, 0}, {8, unix.EACCES}, {0, 0}, {1000, unix.EPERM}} {
		want(t, "access", s.Access(nil, &fuse.AccessIn{InHeader: caller(node, c.uid, 0), Mask: fuse.R_OK}), c.want)
	}
}
