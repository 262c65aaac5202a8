// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

func playCreate(s *session) {
	for i, c := range []struct{ mode, umask uint32 }{{0o644, 0o022}, {0o777, 0o077}, {0o6777, 0}, {0o1666, 0o022}, {unix.S_IFREG | 0o640, 0}, {0, 0}} {
		for _, dir := range []string{"dir", "setgid"} {
			what := fmt.Sprintf("%#o umask %#o in %s", c.mode, c.umask, dir)
			f, errno := s.Create(s.at(dir), fmt.Sprint("new", i), unix.O_RDWR, c.mode, c.umask)
			if s.created(what, f, errno) {
				n, errno := s.Write(f.NodeId, f.Fh, 0, []byte("written"))
				s.errno("write of "+what, errno)
				s.say("write of "+what, "length", n)
				s.errno("release of "+what, s.Release(f.NodeId, f.Fh, unix.O_RDWR))
			}
		}
	}
	f, errno := s.Create(s.at("file"), "x", unix.O_RDWR, 0o644, 0)
	s.created("below a file", f, errno)
	f, errno = s.Create(s.dir, strings.Repeat("n", 255), unix.O_RDWR, 0o644, 0)
	s.created("long name", f, errno)
	f, errno = s.Create(s.dir, "\xff\xfe not text", unix.O_RDWR, 0o644, 0)
	s.created("name that is no text", f, errno)
}

// openFlags are open(2)'s, each with a name for the record.
var openFlags = []struct {
	name  string
	flags uint32
}{
	{"O_RDONLY", unix.O_RDONLY}, {"O_WRONLY", unix.O_WRONLY}, {"O_RDWR", unix.O_RDWR}, {"O_ACCMODE", unix.O_ACCMODE},
	{"O_WRONLY|O_TRUNC", unix.O_WRONLY | unix.O_TRUNC}, {"O_RDONLY|O_TRUNC", unix.O_TRUNC},
	{"O_RDWR|O_EXCL", unix.O_RDWR | unix.O_EXCL}, {"O_WRONLY|O_APPEND", unix.O_WRONLY | unix.O_APPEND},
	{"O_RDWR|O_DIRECT", unix.O_RDWR | unix.O_DIRECT}, {"O_RDONLY|O_NOATIME", unix.O_NOATIME},
	{"O_RDWR|O_SYNC", unix.O_RDWR | unix.O_SYNC}, {"O_RDWR|O_DSYNC", unix.O_RDWR | unix.O_DSYNC},
	{"O_RDONLY|O_NONBLOCK", unix.O_NONBLOCK}, {"O_RDONLY|O_NOFOLLOW", unix.O_NOFOLLOW},
	{"O_RDONLY|O_DIRECTORY", unix.O_DIRECTORY}, {"O_PATH", unix.O_PATH}, {"O_RDWR|O_CREAT", unix.O_RDWR | unix.O_CREAT},
	{"O_RDWR|O_CREAT|O_EXCL", unix.O_RDWR | unix.O_CREAT | unix.O_EXCL}, {"O_RDWR|O_TMPFILE", unix.O_RDWR | unix.O_TMPFILE},
	{"O_RDWR|O_LARGEFILE", unix.O_RDWR | 0o100000}, {"O_RDWR|O_NOCTTY|O_ASYNC", unix.O_RDWR | unix.O_NOCTTY | unix.O_ASYNC},
	{"unknown flags", unix.O_RDWR | 1<<30},
}

func playCreateFlags(s *session) {
	for i, o := range openFlags {
		f, errno := s.Create(s.dir, fmt.Sprint("new", i), o.flags, 0o644, 0o022)
		if s.created("new "+o.name, f, errno) {
			s.use("new "+o.name, f.NodeId, f.Fh)
		}
		for _, name := range []string{"kept", "secret", "dir", "link", "fifo"} {
			f, errno := s.Create(s.dir, name, o.flags, 0o644, 0o022)
			if s.created(name+" "+o.name, f, errno) {
				s.Release(f.NodeId, f.Fh, o.flags)
			}
		}
	}
}

// use reads and writes an open file, at an offset that suits O_DIRECT and one that does not.
func (s *session) use(what string, node, fh uint64) {
	page := make([]byte, 4096)
	n, errno := s.Write(node, fh, 4096, page)
	s.errno("write to "+what, errno)
	s.say("write to "+what, "length", n)
	n, errno = s.Read(node, fh, 0, page)
	s.errno("read of "+what, errno)
	s.say("read of "+what, "length", n)
	n, errno = s.Write(node, fh, 100, []byte("odd"))
	s.errno("odd write to "+what, errno)
	s.say("odd write to "+what, "length", n)
}

// users are who makes files: a user and a group, and one more group or -1.
var users = []struct {
	uid, gid uint32
	group    int
}{{0, 0, -1}, {1000, 1000, -1}, {5, 6, -1}, {1000, 0, -1}, {0, 1000, -1}, {1000, 1000, 4321}, {0, 0, 4321}, {1500, 999, -1}, {999, 5000, 1001}}

func playCreateUsers(s *session) {
	dirs := []string{"dir", "sticky", "setgid", "guarded"}
	nodes := map[string]uint64{}
	for _, dir := range dirs {
		nodes[dir] = s.at(dir)
	}
	for i, u := range users {
		s.as(u.uid, u.gid)
		for _, dir := range dirs {
			what, name := fmt.Sprintf("%d:%d+%d in %s", u.uid, u.gid, u.group, dir), func(kind string) string { return fmt.Sprint(kind, i) }
			if u.group >= 0 {
				s.Extensions = groupsExtension(uint32(u.group))
			}
			f, errno := s.Create(nodes[dir], name("file"), unix.O_RDWR, 0o2770, 0o022)
			s.created("create "+what, f, errno)
			e, errno := s.Mkdir(nodes[dir], name("dir"), 0o777, 0o022)
			s.entry("mkdir "+what, e, errno)
			e, errno = s.Mknod(nodes[dir], name("node"), unix.S_IFREG|0o2770, 0, 0o022)
			s.entry("mknod "+what, e, errno)
			s.Extensions = nil // Linux gives symbolic links none
			e, errno = s.Symlink(nodes[dir], name("link"), "target")
			s.entry("symlink "+what, e, errno)
		}
	}
}

// groupsExtension tells of groups (struct fuse_ext_header, type FUSE_EXT_GROUPS, struct fuse_supp_groups).
func groupsExtension(groups ...uint32) []byte {
	b := make([]byte, 4, 64)
	b = binary.NativeEndian.AppendUint32(b, 32)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(groups)))
	for _, g := range groups {
		b = binary.NativeEndian.AppendUint32(b, g)
	}
	return padded(b)
}

// padded fills an extension up to 8 bytes and sets its length.
func padded(b []byte) []byte {
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

func playMknod(s *session) {
	for i, mode := range []uint32{unix.S_IFREG | 0o644, unix.S_IFIFO | 0o600, unix.S_IFSOCK | 0o755, unix.S_IFCHR | 0o666, unix.S_IFBLK | 0o660, unix.S_IFDIR | 0o755, unix.S_IFLNK | 0o777, 0o644, unix.S_IFREG | 0o7777} {
		e, errno := s.Mknod(s.dir, fmt.Sprint("new", i), mode, 0x103, 0o022)
		s.entry(fmt.Sprintf("%#o", mode), e, errno)
	}
	e, errno := s.Mknod(s.dir, "minor", unix.S_IFCHR|0o600, 0x12345678, 0)
	s.entry("large device number", e, errno)
	e, errno = s.Mknod(s.dir, "file", unix.S_IFREG|0o600, 0, 0)
	s.entry("existing", e, errno)
	e, errno = s.Mknod(s.at("setgid"), "new", unix.S_IFREG|0o666, 0, 0o077)
	s.entry("in setgid", e, errno)
}

func playMkdir(s *session) {
	for i, mode := range []uint32{0o755, 0o7777, 0o1777, unix.S_IFDIR | 0o700, 0} {
		for _, dir := range []string{"dir", "setgid", "sticky"} {
			e, errno := s.Mkdir(s.at(dir), fmt.Sprint("new", i), mode, 0o027)
			s.entry(fmt.Sprintf("%#o in %s", mode, dir), e, errno)
		}
	}
	for _, name := range []string{"dir", "file", "dangling"} {
		e, errno := s.Mkdir(s.dir, name, 0o755, 0)
		s.entry("existing "+name, e, errno)
	}
}

func playSymlink(s *session) {
	for what, target := range map[string]string{"one": "target", "long": strings.Repeat("t", 4095), "long middle": strings.Repeat("t", 2000), "too long": strings.Repeat("t", 4096), "absolute": "/etc/passwd", "up": "../..", "no text": "\xff\xfe"} {
		e, errno := s.Symlink(s.dir, what, target)
		node := s.entry(what, e, errno)
		if node == 0 {
			continue
		}
		got, errno := s.Readlink(node)
		s.errno("readlink of "+what, errno)
		s.say("readlink of "+what, "target", got == target)
	}
	e, errno := s.Symlink(s.dir, "file", "target")
	s.entry("existing", e, errno)
	for _, name := range []string{"file", "dir", "fifo", "link", "outside"} {
		got, errno := s.Readlink(s.at(name))
		if s.errno("readlink of "+name, errno) {
			s.say("readlink of "+name, "target", got)
		}
	}
	s.errno("truncate through a link", s.truncate(s.at("link")))
}
