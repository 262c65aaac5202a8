// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"slices"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/xattrmap"
	"golang.org/x/sys/unix"
)

func attrMap(t testing.TB, rules string) *xattrmap.Map {
	t.Helper()
	m, err := xattrmap.Parse(rules)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (s *share) setAttrOf(node uint64, name, value string) fuse.Status {
	return s.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: header(node), Size: uint32(len(value))}, name, []byte(value))
}

func (s *share) attrNamed(node uint64, name string) (string, fuse.Status) {
	h, buf := header(node), make([]byte, 4096)
	n, st := s.GetXAttr(nil, &h, name, buf)
	return string(buf[:n]), st
}

func (s *share) attrNames(node uint64) []string {
	s.t.Helper()
	h, buf := header(node), make([]byte, 4096)
	n, st := s.ListXAttr(nil, &h, buf)
	s.ok("listxattr", st)
	size, st := s.ListXAttr(nil, &h, nil)
	s.ok("size of listxattr", st)
	if size != n {
		s.t.Errorf("a list of %d bytes was told to have %d", n, size)
	}
	var names []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name != "" && !strings.HasPrefix(name, "security.") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (s *share) removeAttr(node uint64, name string) fuse.Status {
	h := header(node)
	return s.RemoveXAttr(nil, &h, name)
}

// TestXAttrMap: names change on the way to the host and back, and what is refused has its errno.
func TestXAttrMap(t *testing.T) {
	s := newShare(t, Config{XAttr: true, XAttrMap: attrMap(t,
		":unsupported:client:user.none:: :prefix:all:trusted.:user.virtiofs.: :bad:client:user.virtiofs.:: :bad:server::user.host.: :ok:all:::")})
	s.put("f", "")
	node := s.nodeOf("f")
	s.ok("set", s.setAttrOf(node, "trusted.a\xff", "1"))
	s.ok("set", s.setAttrOf(node, "user.b", "2"))
	buf := make([]byte, 16)
	if n, err := unix.Getxattr(s.path("f"), "user.virtiofs.trusted.a\xff", buf); err != nil || string(buf[:n]) != "1" {
		t.Errorf("on the host: %q, %v", buf[:max(n, 0)], err)
	}
	if err := unix.Setxattr(s.path("f"), "user.host.x", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	if v, st := s.attrNamed(node, "trusted.a\xff"); !st.Ok() || v != "1" {
		t.Errorf("get: %q, %v", v, st)
	}
	if got := s.attrNames(node); !slices.Equal(got, []string{"trusted.a\xff", "user.b"}) {
		t.Errorf("listed: %q", got)
	}
	_, st := s.attrNamed(node, "user.virtiofs.trusted.a\xff")
	want(t, "get of a bad name", st, unix.ENODATA)
	want(t, "set of a bad name", s.setAttrOf(node, "user.virtiofs.x", ""), unix.EPERM)
	want(t, "remove of a bad name", s.removeAttr(node, "user.virtiofs.trusted.a\xff"), unix.EPERM)
	_, st = s.attrNamed(node, "user.none")
	want(t, "get of an unsupported name", st, unix.ENOTSUP)
	want(t, "set of an unsupported name", s.setAttrOf(node, "user.none", ""), unix.ENOTSUP)
	s.ok("remove", s.removeAttr(node, "trusted.a\xff"))
	want(t, "remove again", s.removeAttr(node, "trusted.a\xff"), unix.ENODATA)
}

// TestXAttrMapLongNames: a name that the guest may use and that has no room on the host.
func TestXAttrMapLongNames(t *testing.T) {
	s := newShare(t, Config{XAttr: true, XAttrMap: attrMap(t, ":map::user.virtiofs.:")})
	s.put("f", "")
	node := s.nodeOf("f")
	room := nameMax - len("user.virtiofs.")
	fits, long := strings.Repeat("n", room), strings.Repeat("n", room+1)
	s.ok("set the longest", s.setAttrOf(node, fits, "v"))
	if v, st := s.attrNamed(node, fits); !st.Ok() || v != "v" {
		t.Errorf("get the longest: %q, %v", v, st)
	}
	if got := s.attrNames(node); !slices.Equal(got, []string{fits}) {
		t.Errorf("listed: %q", got)
	}
	want(t, "set", s.setAttrOf(node, long, "v"), unix.ERANGE)
	want(t, "remove", s.removeAttr(node, long), unix.ENODATA)
	_, st := s.attrNamed(node, long)
	want(t, "get", st, unix.ENODATA)
	s.ok("remove the longest", s.removeAttr(node, fits))
	if got := s.attrNames(node); len(got) != 0 {
		t.Errorf("listed at the end: %q", got)
	}
}
