// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// acl is the value of an ACL: owner, group and others as in mode, and a mask of rwx if it has named
// entries.
func acl(mode uint16, named ...aclEntry) string {
	entries := []aclEntry{{aclUserObj, mode >> 6 & 7, 0}, {aclGroupObj, mode >> 3 & 7, 0}, {aclOther, mode & 7, 0}}
	if len(named) > 0 {
		entries = append(append(entries, named...), aclEntry{aclMask, 7, 0})
	}
	slices.SortStableFunc(entries, func(a, b aclEntry) int { return int(a.tag) - int(b.tag) })
	return string(appendACL(nil, entries))
}

func user(id uint32, perm uint16) aclEntry  { return aclEntry{aclUser, perm, id} }
func group(id uint32, perm uint16) aclEntry { return aclEntry{aclGroup, perm, id} }

// withACLs is a share whose guest obeys ACLs.
func withACLs(t testing.TB, c Config) *share {
	t.Helper()
	c.ACL = NegotiateAuto
	s := newShare(t, c)
	if got := s.InitFlags(^uint64(0)); got&aclWants != aclWants {
		t.Fatalf("wants %#x", got)
	}
	return s
}

func (s *share) hostAttrNamed(name, attr string) string {
	s.t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(s.path(name), attr, buf)
	if err == unix.ENODATA {
		return ""
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return string(buf[:n])
}

// TestACLNegotiation: a guest that does not obey ACLs sees none and stores none.
func TestACLNegotiation(t *testing.T) {
	const some = uint64(fuse.CAP_POSIX_ACL)
	for _, tt := range []struct {
		mode             Negotiation
		offered          uint64
		on, must, xattrs bool
	}{
		{"", ^uint64(0), false, false, false}, {NegotiateNever, ^uint64(0), false, false, false},
		{NegotiateAuto, ^uint64(0), true, false, true}, {NegotiateAlways, ^uint64(0), true, true, true},
		{NegotiateAuto, some, false, false, true}, {NegotiateAuto, aclFlags, true, false, true},
	} {
		s := newShare(t, Config{ACL: tt.mode})
		s.put("f", "")
		node := s.nodeOf("f")
		got := s.InitFlags(tt.offered)
		if on := got&aclFlags == aclFlags; on != tt.on || got&aclFlags != 0 && !on {
			t.Errorf("%q of %#x: wants %#x", tt.mode, tt.offered, got)
		}
		if must := s.InitRequires() == aclFlags; must != tt.must {
			t.Errorf("%q requires %#x", tt.mode, s.InitRequires())
		}
		st := s.setAttrOf(node, accessACL, acl(0o640, user(5, 6)))
		switch {
		case tt.on:
			s.ok("set", st)
			if got := s.attrNames(node); !slices.Equal(got, []string{accessACL}) {
				t.Errorf("listed: %q", got)
			}
		case tt.xattrs:
			want(t, "set", st, unix.EOPNOTSUPP)
			if err := unix.Setxattr(s.path("f"), accessACL, []byte(acl(0o640, user(5, 6))), 0); err != nil {
				t.Fatal(err)
			}
			_, st := s.attrNamed(node, accessACL)
			want(t, "get", st, unix.EOPNOTSUPP)
			if got := s.attrNames(node); len(got) != 0 {
				t.Errorf("listed: %q", got)
			}
		default:
			want(t, "set", st, unix.ENOSYS)
		}
	}
	if _, err := New(Config{Root: t.TempDir(), ACL: "sometimes"}); err == nil {
		t.Error("a mode that there is not was taken")
	}
}

// TestACLIds: the ids in an ACL are the guest's there and the host's here.
func TestACLIds(t *testing.T) {
	s := withACLs(t, Config{
		UIDs: idMap(t, "map:0:100000:1000", "squash-guest:2000:7:10", "forbid-guest:3000:1", "squash-host:8000:44:10"),
		GIDs: idMap(t, "map:0:200000:1000"),
	})
	if err := os.Mkdir(s.path("d"), 0o755); err != nil {
		t.Fatal(err)
	}
	node := s.nodeOf("d")
	for _, attr := range []string{accessACL, defaultACL} {
		for _, tt := range []struct {
			guest, host string
			back        string // what the guest gets, if that is something else
			errno       unix.Errno
		}{
			{guest: acl(0o750, user(5, 6), group(5, 4)), host: acl(0o750, user(100005, 6), group(200005, 4))},
			{guest: acl(0o700), host: acl(0o700)},
			// The order of ids changes with them.
			{guest: acl(0o700, user(999, 1), user(1500, 2)), host: acl(0o700, user(1500, 2), user(100999, 1))},
			{guest: acl(0o700, user(2003, 5)), host: acl(0o700, user(7, 5)), back: acl(0o700, user(7, 5))},
			{guest: acl(0o700, user(2003, 5), user(2004, 5)), errno: unix.EINVAL}, // one on the host
			{guest: acl(0o700, user(3000, 5)), errno: unix.EPERM},
			{guest: acl(0o700, user(aclNoID, 5)), errno: unix.EINVAL},
			{guest: "\x02\x00\x00\x00\x01", errno: unix.EINVAL},
			{guest: "\x03\x00\x00\x00", errno: unix.EOPNOTSUPP},
		} {
			st := s.setAttrOf(node, attr, tt.guest)
			if tt.errno != 0 {
				want(t, attr, st, tt.errno)
				continue
			}
			s.ok(attr, st)
			if got := s.hostAttrNamed("d", attr); got != tt.host && tt.host != acl(0o700) {
				t.Errorf("%s %x is %x on the host, want %x", attr, tt.guest, got, tt.host)
			}
			if tt.back == "" {
				tt.back = tt.guest
			}
			if got, st := s.attrNamed(node, attr); tt.host != acl(0o700) && (!st.Ok() || got != tt.back) {
				t.Errorf("%s %x comes back as %x, %v; want %x", attr, tt.guest, got, st, tt.back)
			}
		}
	}
	// Users of the host that are one in the guest may do what each of them may.
	if err := unix.Setxattr(s.path("d"), accessACL, []byte(acl(0o700, user(8001, 6), user(8002, 5), user(9000, 7))), 0); err != nil {
		t.Fatal(err)
	}
	if got, st := s.attrNamed(node, accessACL); !st.Ok() || got != acl(0o700, user(44, 4), user(9000, 7)) {
		t.Errorf("merged: %x, %v", got, st)
	}
	// An empty value takes the ACL away.
	s.ok("empty", s.setAttrOf(node, defaultACL, ""))
	if got := s.hostAttrNamed("d", defaultACL); got != "" {
		t.Errorf("left: %x", got)
	}
}

// TestACLIdsOfOtherNames: what decides is what the host takes an attribute for.
func TestACLIdsOfOtherNames(t *testing.T) {
	s := withACLs(t, Config{XAttrMap: attrMap(t, ":map::user.virtiofs.:"), UIDs: idMap(t, "map:0:100000:1000")})
	s.put("f", "")
	node := s.nodeOf("f")
	value := acl(0o640, user(5, 6))
	s.ok("set", s.setAttrOf(node, accessACL, value))
	if got := s.hostAttrNamed("f", "user.virtiofs."+accessACL); got != value {
		t.Errorf("on the host: %x", got)
	}
	if got, st := s.attrNamed(node, accessACL); !st.Ok() || got != value {
		t.Errorf("comes back as %x, %v", got, st)
	}
}

// TestUmask: what is created has the mode and the ACL that the host gives it for a process with the
// guest's umask.
func TestUmask(t *testing.T) {
	for _, byDefault := range []string{"", acl(0o775), acl(0o750, user(5, 7), group(6, 5)), acl(0o007, user(5, 0))} {
		for _, mask := range []uint32{0, 0o022, 0o027, 0o077, 0o777} {
			s := withACLs(t, Config{})
			host := t.TempDir()
			if byDefault != "" {
				for _, dir := range []string{s.dir, host} {
					if err := unix.Setxattr(dir, defaultACL, []byte(byDefault), 0); err != nil {
						t.Fatal(err)
					}
				}
			}
			makeNatively(t, host, int(mask))
			h := header(1)
			var e fuse.EntryOut
			var c fuse.CreateOut
			s.ok("mkdir", s.Mkdir(nil, &fuse.MkdirIn{InHeader: h, Mode: 0o777, Umask: mask}, "dir", &e))
			s.ok("mknod", s.Mknod(nil, &fuse.MknodIn{InHeader: h, Mode: unix.S_IFIFO | 0o666, Umask: mask}, "fifo", &e))
			s.ok("symlink", s.Symlink(nil, &h, "x", "link", &e))
			s.ok("create", s.Create(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_RDWR, Mode: 0o664, Umask: mask}, "file", &c))
			s.ok("tmpfile", s.Tmpfile(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: 0o664, Umask: mask}, &c))
			in := fuse.LinkIn{InHeader: h, Oldnodeid: c.NodeId}
			s.ok("link", s.Link(nil, &in, "tmp", &e))
			for _, name := range []string{"dir", "fifo", "file", "tmp", "link"} {
				want, got := describe(t, filepath.Join(host, name)), describe(t, s.path(name))
				if got != want {
					t.Errorf("umask %o, default ACL %x: %s is %+v, and without a guest %+v", mask, byDefault, name, got, want)
				}
			}
		}
	}
}

// makeNatively makes in dir, by this process itself, what TestUmask makes by requests.
func makeNatively(t *testing.T, dir string, umask int) {
	t.Helper()
	defer unix.Umask(unix.Umask(umask))
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o664)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, err := range []error{
		unix.Mkdir(filepath.Join(dir, "dir"), 0o777),
		unix.Mknod(filepath.Join(dir, "fifo"), unix.S_IFIFO|0o666, 0),
		os.Symlink("x", filepath.Join(dir, "link")),
		closeNew(unix.Open(filepath.Join(dir, "file"), unix.O_CREAT|unix.O_CLOEXEC, 0o664)),
		unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, filepath.Join(dir, "tmp"), unix.AT_SYMLINK_FOLLOW),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func closeNew(fd int, err error) error {
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

type described struct {
	mode              uint32
	access, inherited string
}

func describe(t *testing.T, path string) (d described) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	d.mode = st.Mode
	for name, to := range map[string]*string{accessACL: &d.access, defaultACL: &d.inherited} {
		buf := make([]byte, 512)
		if n, err := unix.Lgetxattr(path, name, buf); err == nil {
			*to = string(buf[:n])
		}
	}
	return d
}

// TestACLDropsSGID: somebody who sets an ACL and is not in the file's group loses its setgid bit.
func TestACLDropsSGID(t *testing.T) {
	s := withACLs(t, Config{})
	s.put("f", "")
	node := s.nodeOf("f")
	value := acl(0o755, user(5, 6))
	for flags, want := range map[uint32]uint32{0: 0o2775, fuse.SETXATTR_ACL_KILL_SGID: 0o775} {
		if err := unix.Chmod(s.path("f"), 0o2755); err != nil {
			t.Fatal(err)
		}
		in := fuse.SetXAttrIn{InHeader: header(node), Size: uint32(len(value)), SetXAttrFlags: flags}
		s.ok("set", s.SetXAttr(nil, &in, accessACL, []byte(value)))
		if a, _ := s.attrOf(node); a.Mode&0o7777 != want || s.hostAttrNamed("f", accessACL) != value {
			t.Errorf("with flags %d: mode %o, want %o; ACL %x", flags, a.Mode&0o7777, want, s.hostAttrNamed("f", accessACL))
		}
	}
}

func TestParseACL(t *testing.T) {
	entry := func(tag, perm uint16, id uint32) string {
		b := binary.LittleEndian.AppendUint16(nil, tag)
		b = binary.LittleEndian.AppendUint16(b, perm)
		return string(binary.LittleEndian.AppendUint32(b, id))
	}
	const header, none = "\x02\x00\x00\x00", aclNoID
	for in, want := range map[string]error{
		"":     nil,
		header: nil,
		header + entry(aclUserObj, 7, none) + entry(aclGroupObj, 5, none) + entry(aclOther, 5, none): nil,
		header + entry(aclUser, 7, 1) + entry(aclUser, 6, 1) + entry(aclGroup, 0, 0):                 nil,
		header[:3]:                                                 unix.EINVAL,
		header + "\x01":                                            unix.EINVAL,
		"\x01\x00\x00\x00":                                         unix.EOPNOTSUPP,
		"\x02\x00\x00\x01":                                         unix.EOPNOTSUPP,
		header + entry(0, 7, none):                                 unix.EINVAL,
		header + entry(0x40, 7, none):                              unix.EINVAL,
		header + entry(3, 7, none):                                 unix.EINVAL,
		header + entry(aclUser, 8, 1):                              unix.EINVAL,
		header + entry(aclUser, 7, none):                           unix.EINVAL,
		header + entry(aclGroup, 7, none):                          unix.EINVAL,
		header + entry(aclGroup, 7, 1) + entry(aclUser, 7, 1):      unix.EINVAL,
		header + entry(aclMask, 7, none) + entry(aclMask, 7, none): unix.EINVAL,
	} {
		if _, err := parseACL([]byte(in), nil); err != want {
			t.Errorf("%x: %v, want %v", in, err, want)
		}
	}
}

// FuzzACL: any value is refused or translated into one that the host may be given; where every id
// has one counterpart, it comes back as it was but for the order of users and groups.
func FuzzACL(f *testing.F) {
	for _, s := range []string{"", "\x02\x00\x00\x00", acl(0o750), acl(0o750, user(5, 6), user(2000, 1), group(1, 2)),
		acl(0, user(999, 1), user(1500, 2)), acl(0o7, user(100000, 6)), acl(0o7, group(1, 6), group(2, 1))} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		// A swap of ids, so that nothing is lost.
		swap := idMap(t, "map:0:100000:1000", "map:100000:0:1000")
		fs := &FS{cfg: Config{UIDs: swap, GIDs: swap}}
		before := bytes.Clone(value)
		host, err := fs.hostACL(value)
		if !bytes.Equal(value, before) {
			t.Fatal("the guest's value has changed")
		}
		entries, perr := parseACL(value, nil)
		if err != nil {
			if perr == nil && sortACL(entries) {
				t.Errorf("%x is refused: %v", value, err)
			}
			return
		}
		sortACL(entries)
		n, err := fs.guestACL(host)
		if err != nil {
			t.Fatalf("%x is for the host, and none: %v", host, err)
		}
		want := appendACL(nil, entries)
		if len(value) == 0 {
			want = nil
		}
		if !bytes.Equal(host[:n], want) {
			t.Errorf("%x comes back as %x, want %x", value, host[:n], want)
		}

		// What comes from the host fits where it lay, and two that become one do not let more in.
		all := &FS{cfg: Config{UIDs: idMap(t, "squash-host:0:1:4294967295"), GIDs: idMap(t, "squash-host:0:1:4294967295")}}
		if n, err = all.guestACL(value); err != nil {
			t.Fatalf("%x: %v", before, err)
		}
		merged, err := parseACL(value[:n], nil)
		if err != nil || !sortACL(merged) {
			t.Errorf("%x becomes %x: %v", before, value[:n], err)
		}
	})
}
