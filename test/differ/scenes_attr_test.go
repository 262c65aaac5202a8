// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"
	"math"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// kinds are names of one file of each kind.
var kinds = []string{"file", "suid", "empty", "hard", "dir", "sticky", "setgid", "link", "dangling", "outside", "fifo"}

func playLookup(s *session) {
	for _, name := range kinds {
		e, errno := s.Lookup(s.dir, name)
		s.entry(name, e, errno)
	}
	missing, errno := s.Lookup(s.dir, "missing")
	s.errno("missing", errno)
	s.say("missing", "entry timeout", timeout(missing.EntryValid, missing.EntryValidNsec))
	again, errno := s.Lookup(s.dir, "hard")
	s.entry("hard again", again, errno)
	s.say("hard again", "one node with kept", s.at("kept") == again.NodeId)
	e, errno := s.Lookup(s.at("file"), "x")
	s.entry("below a file", e, errno)
	e, errno = s.Lookup(s.at("link"), "x")
	s.entry("below a link", e, errno)
	var st unix.Stat_t
	must(s.t, unix.Lstat(s.path("file"), &st))
	e, _ = s.Lookup(s.dir, "file")
	s.say("inode number", "the host's", e.Ino == st.Ino)
}

func playGetattr(s *session) {
	for _, name := range kinds {
		a, errno := s.GetAttr(s.at(name))
		s.attrs(name, a, errno)
	}
	a, errno := s.GetAttr(root)
	s.errno("root", errno)
	s.say("root", "mode", a.Mode)
	node, fh := s.file("file", unix.O_RDONLY)
	a, errno = s.GetAttrFh(node, fh)
	s.attrs("open file", a, errno)
	a, errno = s.GetAttrFh(node, 1<<40)
	s.attrs("no such handle", a, errno)
}

func playChmod(s *session) {
	for _, name := range kinds {
		for _, mode := range []uint32{0o600, 0o7777, 0} {
			a, errno := s.SetAttr(s.at(name), fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE, Mode: mode})
			s.attrs(fmt.Sprintf("%s %#o", name, mode), a, errno)
		}
	}
	a, errno := s.SetAttr(s.at("file"), fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE, Mode: unix.S_IFDIR | 0o711})
	s.attrs("with a kind", a, errno)
	a, errno = s.SetAttr(s.at("file"), fuse.SetAttrInCommon{})
	s.attrs("nothing", a, errno)
	node, fh := s.file("kept", unix.O_RDWR)
	a, errno = s.SetAttr(node, fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE | fuse.FATTR_FH, Fh: fh, Mode: 0o640})
	s.attrs("by handle", a, errno)
	a, errno = s.SetAttr(node, fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE | fuse.FATTR_FH, Fh: 1 << 40, Mode: 0o641})
	s.attrs("by a handle that is none", a, errno)
}

func playChown(s *session) {
	set := func(what, name string, valid, uid, gid uint32) {
		a, errno := s.SetAttr(s.at(name), fuse.SetAttrInCommon{Valid: valid, Owner: fuse.Owner{Uid: uid, Gid: gid}})
		s.attrs(what, a, errno)
	}
	const both = fuse.FATTR_UID | fuse.FATTR_GID
	for _, name := range []string{"file", "dir", "link", "fifo"} {
		set(name, name, both, 77, 88)
	}
	set("user", "kept", fuse.FATTR_UID, 5, 99)
	set("group", "kept", fuse.FATTR_GID, 99, 6)
	set("setuid file", "suid", both, 1, 2)
	set("to -1", "secret", both, math.MaxUint32, math.MaxUint32)
	set("with kill", "suid", fuse.FATTR_UID|fuse.FATTR_KILL_SUIDGID, 3, 3)
	s.as(1000, 1000)
	set("as a user", "gone", both, 1000, 0)
}

func playTruncate(s *session) {
	set := func(what string, node uint64, size uint64, valid uint32, fh uint64) {
		a, errno := s.SetAttr(node, fuse.SetAttrInCommon{Valid: fuse.FATTR_SIZE | valid, Size: size, Fh: fh})
		s.attrs(what, a, errno)
	}
	set("shorter", s.at("file"), 10, 0, 0)
	set("longer", s.at("file"), 5000, 0, 0)
	set("with kill", s.at("suid"), 100, fuse.FATTR_KILL_SUIDGID, 0)
	must(s.t, unix.Chmod(s.path("suid"), 0o6755))
	set("setuid", s.at("suid"), 50, 0, 0)
	set("too long", s.at("file"), 1<<63, 0, 0)
	set("longer than a file may be", s.at("file"), 1<<60, 0, 0)
	set("empty, owner of locks", s.at("file"), 0, fuse.FATTR_LOCKOWNER, 0)
	for _, name := range []string{"dir", "link", "fifo"} {
		set(name, s.at(name), 0, 0, 0)
	}
	node, fh := s.file("kept", unix.O_RDWR)
	set("by handle", node, 7, fuse.FATTR_FH, fh)
	node, fh = s.file("secret", unix.O_RDONLY)
	set("by handle for reading", node, 7, fuse.FATTR_FH, fh)
	set("by a handle that is none", node, 8, fuse.FATTR_FH, 1<<40)
}

func playUtimes(s *session) {
	in := fuse.SetAttrInCommon{Atime: 1234567890, Atimensec: 123456789, Mtime: 1234567891, Mtimensec: 987654321, Ctime: 1234567892}
	set := func(what, name string, valid uint32) {
		in.Valid = valid
		a, errno := s.SetAttr(s.at(name), in)
		s.attrs(what, a, errno)
	}
	for _, name := range []string{"file", "dir", "link", "fifo"} {
		set(name, name, fuse.FATTR_ATIME|fuse.FATTR_MTIME)
	}
	set("atime", "kept", fuse.FATTR_ATIME)
	set("mtime", "gone", fuse.FATTR_MTIME)
	set("now", "secret", fuse.FATTR_ATIME|fuse.FATTR_ATIME_NOW|fuse.FATTR_MTIME|fuse.FATTR_MTIME_NOW)
	set("now alone", "empty", fuse.FATTR_ATIME_NOW|fuse.FATTR_MTIME_NOW)
	set("ctime", "suid", fuse.FATTR_CTIME)
	in.Mtime = math.MaxUint64 - 99 // before 1970
	set("negative", "setgid", fuse.FATTR_MTIME)
	in.Mtimensec = 1_000_000_000
	set("too many nanoseconds", "full", fuse.FATTR_MTIME)
	in.Mtimensec = unix.UTIME_NOW
	set("nanoseconds that say now", "full", fuse.FATTR_MTIME)
	in.Mtimensec = unix.UTIME_OMIT
	set("nanoseconds that say never mind", "full", fuse.FATTR_MTIME)
}

func playAccess(s *session) {
	for _, who := range []uint32{0, 1000, 5} {
		s.as(who, who)
		for _, name := range []string{"file", "secret", "dir", "suid", "link"} {
			for _, mask := range []uint32{0, 1, 2, 4, 7, 8} {
				s.errno(fmt.Sprintf("%s %d as %d", name, mask, who), s.Access(s.at(name), mask))
			}
		}
	}
}

func playStatx(s *session) {
	out, errno := s.Statx(s.at("file"), 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME)
	if s.errno("file", errno) {
		s.say("file", "size", out.Size)
	}
}
