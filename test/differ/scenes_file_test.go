// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

func playOpen(s *session) {
	for _, o := range openFlags {
		for _, name := range []string{"file", "kept"} {
			node := s.at(name)
			out, errno := s.Open(node, o.flags)
			if what := name + " " + o.name; s.opened(what, out, errno) && name == "kept" {
				s.use(what, node, out.Fh)
				s.errno("release of "+what, s.Release(node, out.Fh, o.flags))
			}
		}
	}
}

func playOpenKinds(s *session) {
	for _, name := range kinds {
		for _, flags := range []uint32{unix.O_RDONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_TRUNC} {
			o, errno := s.Open(s.at(name), flags)
			s.opened(fmt.Sprintf("%s %#x", name, flags), o, errno)
		}
	}
	s.as(5, 5)
	o, errno := s.Open(s.at("secret"), unix.O_RDWR)
	s.opened("as a user who may not", o, errno)
}

// reading records a READ.
func (s *session) reading(what string, node, fh, off uint64, size int) {
	b := make([]byte, size)
	n, errno := s.Read(node, fh, off, b)
	if s.errno(what, errno) {
		s.say(what, "length", n)
		s.say(what, "bytes", shorten(b[:n]))
	}
}

func playRead(s *session) {
	node, fh := s.file("file", unix.O_RDONLY)
	for _, r := range []struct{ off, size int }{{0, 16}, {0, 8192}, {0, 1 << 16}, {8190, 10}, {8192, 10}, {1 << 40, 10}, {5, 0}} {
		s.reading(fmt.Sprintf("%d at %d", r.size, r.off), node, fh, uint64(r.off), r.size)
	}
	s.reading("by a handle that is none", node, 1<<40, 0, 10)
	s.reading("by another file's handle", s.at("kept"), fh, 0, 10)
	s.reading("of a node that is none", 1<<40, fh, 0, 10)
	node, fh = s.file("secret", unix.O_WRONLY)
	s.reading("of a file open for writing", node, fh, 0, 10)
	node, fh = s.file("file", unix.O_RDONLY)
	m := frontend.ReadMessage(node, fh, 0, 100)
	b := make([]byte, 200)
	n, errno := s.DoVar(m, b)
	s.errno("with more room than asked for", errno)
	s.say("with more room than asked for", "length", n)
	s.Release(node, fh, 0)
	s.reading("by a closed handle", node, fh, 0, 10)
}

// writing records a WRITE with the write flags of struct fuse_write_in.
func (s *session) writing(what string, node, fh, off uint64, b []byte, flags uint32) {
	m := frontend.WriteMessage(node, fh, off, b)
	m.Args = append([]byte(nil), m.Args...)
	m.Args[20] = byte(flags)
	out := make([]byte, 8)
	if s.errno(what, s.Do(m, out)) {
		s.say(what, "length", out)
	}
}

// Bits of fuse_write_in.write_flags.
const (
	writeCache = 1 << 0 // FUSE_WRITE_CACHE
	writeOwner = 1 << 1 // FUSE_WRITE_LOCKOWNER
	writeKill  = 1 << 2 // FUSE_WRITE_KILL_SUIDGID
)

func playWrite(s *session) {
	node, fh := s.file("file", unix.O_RDWR)
	for i, flags := range []uint32{0, writeCache, writeOwner, writeKill, 7} {
		s.writing(fmt.Sprintf("flags %#x", flags), node, fh, uint64(100*i), []byte("written"), flags)
	}
	s.writing("nothing", node, fh, 50, nil, 0)
	s.writing("behind the end", node, fh, 9000, []byte("end"), 0)
	s.writing("64 KiB", node, fh, 10000, make([]byte, 1<<16), 0)
	s.writing("at the last offset", node, fh, 1<<63-1, []byte("x"), 0)
	s.writing("by a handle that is none", node, 1<<40, 0, []byte("x"), 0)
	a, errno := s.GetAttr(node)
	s.attrs("afterwards", a, errno)
	node, fh = s.file("kept", unix.O_RDONLY)
	s.writing("to a file open for reading", node, fh, 0, []byte("x"), 0)
	s.writing("written back to a file open for reading", node, fh, 0, []byte("x"), writeCache)
	node, fh = s.file("secret", unix.O_RDWR)
	s.as(5, 5)
	s.writing("as another user", node, fh, 0, []byte("x"), 0)
	d, errno := s.OpenDir(s.at("dir"))
	s.need("opendir", errno)
	s.writing("to a directory", s.at("dir"), d.Fh, 0, []byte("x"), 0)
}

func playAppend(s *session) {
	node, fh := s.file("file", unix.O_WRONLY|unix.O_APPEND)
	must(s.t, unix.Truncate(s.path("file"), 100)) // the guest does not know
	s.writing("where the guest sees the end", node, fh, 8192, []byte("appended"), 0)
	s.writing("at the start", node, fh, 0, []byte("appended"), 0)
	s.writing("written back", node, fh, 20, []byte("kept back"), writeCache)
	a, errno := s.GetAttr(node)
	s.attrs("afterwards", a, errno)
	f, errno := s.Create(s.dir, "new", unix.O_WRONLY|unix.O_APPEND, 0o644, 0)
	if s.created("create", f, errno) {
		s.writing("first", f.NodeId, f.Fh, 10, []byte("one"), 0)
		s.writing("second", f.NodeId, f.Fh, 0, []byte("two"), 0)
	}
}

func playDirect(s *session) {
	for _, name := range []string{"file", "kept"} {
		node, fh := s.file(name, unix.O_RDWR|unix.O_DIRECT)
		s.writing("page to "+name, node, fh, 4096, make([]byte, 4096), 0)
		s.writing("bytes to "+name, node, fh, 5, []byte("odd"), 0)
		s.writing("written back to "+name, node, fh, 50, []byte("odd"), writeCache)
		s.reading("page of "+name, node, fh, 4096, 4096)
		s.reading("bytes of "+name, node, fh, 7, 5)
		s.reading("end of "+name, node, fh, 8000, 4096)
	}
	f, errno := s.Create(s.dir, "new", unix.O_RDWR|unix.O_DIRECT, 0o644, 0)
	if s.created("create", f, errno) {
		s.writing("bytes to new", f.NodeId, f.Fh, 5, []byte("odd"), 0)
	}
}

func playSuid(s *session) {
	for _, c := range []struct {
		what  string
		uid   uint32
		flags uint32
	}{{"root", 0, 0}, {"owner", 1000, 0}, {"other", 5, 0}, {"root, kill", 0, writeKill}, {"other, kill", 5, writeKill}, {"other, written back", 5, writeCache}} {
		must(s.t, unix.Chmod(s.path("suid"), 0o6755))
		node, fh := s.file("suid", unix.O_RDWR)
		s.as(c.uid, c.uid)
		s.writing(c.what, node, fh, 0, []byte("x"), c.flags)
		a, errno := s.GetAttr(node)
		s.attrs("after "+c.what, a, errno)
		s.as(0, 0)
	}
}

// playSuidKill opens files for cutting, with the flag FUSE_OPEN_KILL_SUIDGID and without.
func playSuidKill(s *session) {
	for _, c := range []struct {
		uid  uint32
		kill byte
	}{{0, 0}, {0, 1}, {5, 0}, {5, 1}} {
		s.as(c.uid, c.uid)
		must(s.t, unix.Chmod(s.path("suid"), 0o6755))
		what := fmt.Sprintf("O_TRUNC as %d, kill %d", c.uid, c.kill)
		args := []byte{0x01, 0x02, 0, 0, c.kill, 0, 0, 0} // O_WRONLY|O_TRUNC, open_flags
		node := s.at("suid")
		_, errno := s.Raw(frontend.OpOpen, node, args, 16)
		s.errno(what, errno)
		a, errno := s.GetAttr(node)
		s.attrs("after "+what, a, errno)
	}
}
