// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// get records a GETXATTR.
func (s *session) get(what string, node uint64, name string, size int) {
	v, errno := s.GetXAttr(node, name, size)
	if s.errno(what, errno) {
		s.say(what, "value", shorten(v))
	}
}

// attributesOf records the names of a node's extended attributes.
func (s *session) attributesOf(what string, node uint64) {
	names, errno := s.ListXAttr(node, 4096)
	if s.errno(what, errno) {
		slices.Sort(names)
		for i := range names {
			names[i] = names[i][:min(len(names[i]), 40)]
		}
		s.say(what, "names", names)
	}
	_, errno = s.ListXAttrSize(node)
	s.errno(what+", size", errno)
	_, errno = s.ListXAttr(node, 2)
	s.errno(what+", too small", errno)
}

func playXattr(s *session) {
	node := s.at("file")
	s.get("get", node, "user.old", 100)
	s.get("get, too small", node, "user.old", 2)
	s.get("get missing", node, "user.missing", 100)
	n, errno := s.XAttrSize(node, "user.old")
	if s.errno("size", errno) {
		s.say("size", "size", n)
	}
	s.errno("set", s.SetXAttr(node, "user.new", []byte("new value"), 0))
	s.errno("create", s.SetXAttr(node, "user.old", []byte("x"), unix.XATTR_CREATE))
	s.errno("replace", s.SetXAttr(node, "user.missing", []byte("x"), unix.XATTR_REPLACE))
	s.errno("unknown flags", s.SetXAttr(node, "user.flags", []byte("x"), 8))
	s.errno("empty value", s.SetXAttr(node, "user.empty", nil, 0))
	s.get("get empty value", node, "user.empty", 100)
	s.errno("large value", s.SetXAttr(node, "user.large", make([]byte, 3000), 0))
	s.errno("65 KiB", s.SetXAttr(node, "user.huge", make([]byte, 65<<10), 0))
	s.attributesOf("list", node)
	s.errno("remove", s.RemoveXAttr(node, "user.old"))
	s.errno("remove missing", s.RemoveXAttr(node, "user.missing"))
	s.attributesOf("list afterwards", node)
	s.attributesOf("list of none", s.at("kept"))
	s.get("get of a node that is none", 1<<40, "user.old", 100)
	s.as(5, 5)
	s.errno("set as another user", s.SetXAttr(s.at("secret"), "user.new", []byte("x"), 0))
}

func playXattrNames(s *session) {
	for _, name := range []string{"user.", "user", "bogus.a", "trusted.a", "security.a", "security.selinux", "system.a", "user.virtiofs.trusted.a", "user.virtiofs.user.a",
		"user.\xff\xfe", "user." + strings.Repeat("n", 250), "user." + strings.Repeat("n", 251), "trusted." + strings.Repeat("n", 235), "trusted." + strings.Repeat("n", 245)} {
		node, what := s.at("file"), fmt.Sprintf("%.40q (%d)", name, len(name))
		s.get("first get "+what, node, name, 100)
		s.errno("set "+what, s.SetXAttr(node, name, []byte("value"), 0))
		s.get("get "+what, node, name, 100)
		_, errno := s.XAttrSize(node, name)
		s.errno("size of "+what, errno)
		s.attributesOf("list with "+what, node)
		s.errno("remove "+what, s.RemoveXAttr(node, name))
	}
}

func playXattrKinds(s *session) {
	for _, kind := range []string{"dir", "link", "dangling", "fifo", "suid"} {
		node := s.at(kind)
		for _, name := range []string{"user.new", "trusted.new", "security.capability", "system.posix_acl_access"} {
			s.get(name+" of "+kind, node, name, 100)
			s.errno("set "+name+" of "+kind, s.SetXAttr(node, name, []byte("value"), 0))
			s.errno("remove "+name+" of "+kind, s.RemoveXAttr(node, name))
		}
		s.attributesOf("list of "+kind, node)
	}
}

// playXattrMapped looks at attributes that the host has on the other side of a map.
func playXattrMapped(s *session) {
	for _, name := range []string{"user.virtiofs.user.a", "user.virtiofs.trusted.a", "trusted.a", "security.a", "user.virtiofs.", "user.a"} {
		must(s.t, unix.Setxattr(s.path("file"), name, []byte("on the host"), 0))
	}
	node := s.at("file")
	s.attributesOf("list", node)
	for _, name := range []string{"user.a", "trusted.a", "security.a", "user.virtiofs.user.a", "user.virtiofs.trusted.a", "user.virtiofs.", "b", ""} {
		s.get("get "+name, node, name, 100)
		s.errno("set "+name, s.SetXAttr(node, name, []byte("guest's"), 0))
		s.errno("remove "+name, s.RemoveXAttr(node, name))
	}
}

// acl is an ACL's value with u::rw-, u:5:rw-, g::r--, m::rw-, o::r-- (linux/posix_acl_xattr.h).
func acl(user uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, ^uint32(0)}, {2, 6, user}, {4, 4, ^uint32(0)}, {0x10, 6, ^uint32(0)}, {0x20, 4, ^uint32(0)}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

func playACL(s *session) {
	for _, kind := range []string{"file", "dir", "link"} {
		node := s.at(kind)
		for _, name := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
			what := name + " of " + kind
			s.get("first get "+what, node, name, 100)
			s.errno("set "+what, s.SetXAttr(node, name, acl(5), 0))
			s.get("get "+what, node, name, 100)
			s.errno("set nonsense to "+what, s.SetXAttr(node, name, []byte("nonsense"), 0))
			a, errno := s.GetAttr(node)
			s.attrs("after "+what, a, errno)
		}
		s.attributesOf("list of "+kind, node)
		s.errno("remove from "+kind, s.RemoveXAttr(node, "system.posix_acl_access"))
	}
}

// playACLKill sets an ACL with FUSE_SETXATTR_ACL_KILL_SGID.
func playACLKill(s *session) {
	must(s.t, unix.Chmod(s.path("suid"), 0o6755))
	node := s.at("suid")
	args := binary.NativeEndian.AppendUint32(nil, uint32(len(acl(5))))
	args = append(args, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
	args = append(append(args, "system.posix_acl_access\x00"...), acl(5)...)
	_, errno := s.Raw(frontend.OpSetxattr, node, args, 0)
	s.errno("set with kill", errno)
	a, errno := s.GetAttr(node)
	s.attrs("after kill", a, errno)
}

func playDefaultACL(s *session) {
	must(s.t, unix.Setxattr(s.path("dir"), "system.posix_acl_default", acl(5), 0))
	for _, name := range []string{"dir", "setgid"} {
		dir := s.at(name)
		for i, who := range []uint32{0, 1000} {
			s.as(who, who)
			f, errno := s.Create(dir, fmt.Sprint("file", i), unix.O_RDWR, 0o777, 0o027)
			s.created(fmt.Sprintf("create in %s as %d", name, who), f, errno)
			e, errno := s.Mkdir(dir, fmt.Sprint("dir", i), 0o777, 0o027)
			s.entry(fmt.Sprintf("mkdir in %s as %d", name, who), e, errno)
			e, errno = s.Mknod(dir, fmt.Sprint("node", i), unix.S_IFREG|0o666, 0, 0o027)
			s.entry(fmt.Sprintf("mknod in %s as %d", name, who), e, errno)
		}
	}
}

// playCapability changes a file that has capabilities, under their own name and another.
func playCapability(s *session) {
	for _, what := range []string{"write", "truncate", "chown", "open", "copy", "fallocate"} {
		must(s.t, unix.Setxattr(s.path("suid"), "security.capability", []byte(capability), 0))
		must(s.t, unix.Setxattr(s.path("suid"), "user.virtiofs.security.capability", []byte("mapped"), 0))
		s.errno(what, s.change(what))
		names, err := attributes(s.path("suid"))
		must(s.t, err)
		s.say("after "+what, status, names)
	}
}

// change changes the scene's setuid file in one of several ways.
func (s *session) change(how string) (errno syscall.Errno) {
	node, fh := s.file("suid", unix.O_RDWR)
	switch how {
	case "write":
		_, errno = s.Write(node, fh, 0, []byte("x"))
	case "truncate":
		errno = s.truncate(node)
	case "chown":
		_, errno = s.SetAttr(node, fuse.SetAttrInCommon{Valid: fuse.FATTR_UID, Owner: fuse.Owner{Uid: 7}})
	case "open":
		_, errno = s.Open(node, unix.O_WRONLY|unix.O_TRUNC)
	case "copy":
		from, fromFh := s.file("file", unix.O_RDONLY)
		_, errno = s.CopyFileRange(frontend.CopyRange{Node: from, Fh: fromFh, NodeOut: node, FhOut: fh, Len: 3})
	case "fallocate":
		errno = s.Fallocate(node, fh, 0, 10, 0)
	}
	return errno
}
