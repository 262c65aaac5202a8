// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// labelled is a share whose guest labels what it creates. The label is kept where an ordinary user
// may keep it, too; without privileges the file must be his own then, and not only a link or a device.
func labelled(t *testing.T, rules string) *share {
	t.Helper()
	s := newShare(t, Config{SecurityLabel: NegotiateAuto, XAttrMap: attrMap(t, rules)})
	if s.InitFlags(^uint64(0))&fuse.CAP_SECURITY_CTX == 0 {
		t.Fatal("security contexts are not wanted")
	}
	return s
}

// makeAs is a maker that goes through fs.
func makeAs(s *share, fs fuse.RawFileSystem, name string) fuse.Status {
	h := header(1)
	var e fuse.EntryOut
	var c fuse.CreateOut
	switch name {
	case "dir":
		return fs.Mkdir(nil, &fuse.MkdirIn{InHeader: h, Mode: 0o755}, name, &e)
	case "node":
		return fs.Mknod(nil, &fuse.MknodIn{InHeader: h, Mode: unix.S_IFREG | 0o644}, name, &e)
	case "link":
		return fs.Symlink(nil, &h, "x", name, &e)
	case "file":
		return fs.Create(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_RDWR, Mode: 0o644}, name, &c)
	}
	st := fs.Tmpfile(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: 0o644}, &c)
	if st.Ok() {
		st = s.Link(nil, &fuse.LinkIn{InHeader: h, Oldnodeid: c.NodeId}, name, &e)
	}
	return st
}

// TestLabels: what the guest creates has the label that came along, or is not there at all.
func TestLabels(t *testing.T) {
	const name, value = "security.selinux", "system_u:object_r:x_t:s0\x00"
	for _, tt := range []struct {
		rules, host string
		kinds       []string
		errno       unix.Errno
	}{
		{":map:security.selinux:user.virtiofs.:", "user.virtiofs." + name, []string{"dir", "node", "file", "tmp"}, 0},
		{":map:security.selinux:user.virtiofs.:", "", []string{"link"}, unix.EPERM}, // links have no user.*
		{":bad:all:security.:security.: :ok:all:::", "", []string{"dir", "node", "link", "file", "tmp"}, unix.EPERM},
		{":unsupported:all:security.:security.: :ok:all:::", "", []string{"dir", "node", "link", "file", "tmp"}, unix.ENOTSUP},
	} {
		for _, kind := range tt.kinds {
			s := labelled(t, tt.rules)
			st := makeAs(s, s.WithSecurityContext(name, []byte(value)), kind)
			want(t, tt.rules+" "+kind, st, tt.errno)
			if st.Ok() {
				if got := s.hostAttrNamed(kind, tt.host); got != value {
					t.Errorf("%s has the label %q", kind, got)
				}
			} else if left, _ := os.ReadDir(s.dir); len(left) != 0 {
				t.Errorf("%s is there without its label", kind)
			}
		}
	}
}

// TestLabelsOnTheHost: root may keep labels under their own name, of links and devices, too.
func TestLabelsOnTheHost(t *testing.T) {
	errno := unix.Errno(0)
	if os.Geteuid() != 0 {
		errno = unix.EPERM
	}
	for _, kind := range []string{"dir", "node", "link", "file", "tmp"} {
		s := newShare(t, Config{SecurityLabel: NegotiateAlways})
		st := makeAs(s, s.WithSecurityContext("security.guest", []byte("l")), kind)
		want(t, kind, st, errno)
		if st.Ok() && s.hostAttrNamed(kind, "security.guest") != "l" {
			t.Errorf("%s has no label", kind)
		}
	}
	s := newShare(t, Config{SecurityLabel: NegotiateAlways})
	if s.InitRequires() != fuse.CAP_SECURITY_CTX {
		t.Errorf("requires %#x", s.InitRequires())
	}
	want(t, "a context that is no label", makeAs(s, s.WithSecurityContext("user.x", nil), "dir"), unix.EINVAL)
	// CREATE of what is there opens it, and leaves its label alone.
	s.put("file", "")
	s.ok("create", makeAs(s, s.WithSecurityContext("security.guest", []byte("l")), "file"))
	if got := s.hostAttrNamed("file", "security.guest"); got != "" {
		t.Errorf("a file that was there got the label %q", got)
	}
}

// TestLabelWithGroups: one request may bring both.
func TestLabelWithGroups(t *testing.T) {
	s := labelled(t, ":map:security.selinux:user.virtiofs.:")
	both := s.WithSecurityContext("security.selinux", []byte("l")).(interface {
		WithGroups(groups []uint32) fuse.RawFileSystem
	}).WithGroups([]uint32{uint32(os.Getegid())})
	s.ok("mkdir", makeAs(s, both, "dir"))
	if got := s.hostAttrNamed("dir", "user.virtiofs.security.selinux"); got != "l" {
		t.Errorf("the label is %q", got)
	}
}
