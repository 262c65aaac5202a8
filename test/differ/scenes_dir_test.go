// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

func playOpendir(s *session) {
	for _, name := range []string{"dir", "file", "link", "fifo"} {
		o, errno := s.OpenDir(s.at(name))
		s.opened(name, o, errno)
	}
	d, errno := s.OpenDir(root)
	s.opened("root", d, errno)
	_, errno = s.ReadDir(s.at("dir"), 1<<40, 0, 4096)
	s.errno("readdir by a handle that is none", errno)
	node, fh := s.file("file", unix.O_RDONLY)
	_, errno = s.ReadDir(node, fh, 0, 4096)
	s.errno("readdir of a file", errno)
	d, errno = s.OpenDir(s.at("dir"))
	s.need("opendir", errno)
	s.reading("read of a directory", s.at("dir"), d.Fh, 0, 10)
}

// list reads a directory from off on, one buffer after the other.
func (s *session) list(what string, off uint64, size int, read func(off uint64, size int) ([]frontend.DirEntry, syscall.Errno)) {
	for {
		es, errno := read(off, size)
		if errno != 0 || len(es) == 0 {
			s.errno(what, errno)
			return
		}
		for _, e := range es {
			at := fmt.Sprintf("%s: %s", what, e.Name)
			if e.Entry.NodeId != 0 {
				s.entry(at, e.Entry, 0)
				s.Forget(e.Entry.NodeId, 1)
			} else {
				s.say(at, status, "ok")
			}
			s.say(at, "type", e.Type)
			s.say(at, "node", e.Entry.NodeId != 0)
			off = e.Off
		}
	}
}

func playReaddir(s *session) {
	d, errno := s.OpenDir(s.dir)
	s.need("opendir", errno)
	read := func(off uint64, size int) ([]frontend.DirEntry, syscall.Errno) {
		return s.ReadDir(s.dir, d.Fh, off, size)
	}
	s.list("all", 0, 4096, read)
	s.list("again", 0, 4096, read)
	s.list("in pieces", 0, 64, read)
	must(s.t, os.WriteFile(s.path("new"), nil, 0o644))
	must(s.t, os.Remove(s.path("gone")))
	s.list("after changes on the host", 0, 4096, read)
	for _, size := range []int{0, 8, 24} {
		_, errno := read(0, size)
		s.errno(fmt.Sprintf("room of %d bytes", size), errno)
	}
	_, errno = read(1<<63, 4096)
	s.errno("negative offset", errno)
	var st unix.Stat_t
	must(s.t, unix.Lstat(s.path("full/inner"), &st))
	full := s.at("full")
	d, errno = s.OpenDir(full)
	s.need("opendir", errno)
	es, errno := s.ReadDir(full, d.Fh, 0, 4096)
	s.errno("numbers", errno)
	for _, e := range es {
		if e.Name == "inner" {
			s.say("numbers", "the host's", e.Ino == st.Ino)
		}
	}
}

func playReaddirplus(s *session) {
	d, errno := s.OpenDir(s.dir)
	s.need("opendir", errno)
	read := func(off uint64, size int) ([]frontend.DirEntry, syscall.Errno) {
		return s.ReadDirPlus(s.dir, d.Fh, off, size)
	}
	s.list("all", 0, 1<<14, read)
	s.list("in pieces", 0, 256, read)
	must(s.t, os.Remove(s.path("gone")))
	s.list("after changes on the host", 0, 1<<14, read)
	for _, size := range []int{0, 24, 100} {
		_, errno := read(0, size)
		s.errno(fmt.Sprintf("room of %d bytes", size), errno)
	}
	_, errno = s.ReadDirPlus(s.dir, 1<<40, 0, 4096)
	s.errno("handle that is none", errno)
}

func playSubmount(s *session) {
	e, errno := s.Lookup(s.dir, "mount")
	mount := s.entry("mount", e, errno)
	e, errno = s.Lookup(mount, "below")
	below := s.entry("below", e, errno)
	a, errno := s.GetAttr(mount)
	s.attrs("mount's attributes", a, errno)
	d, errno := s.OpenDir(s.dir)
	s.need("opendir", errno)
	s.list("listed", 0, 1<<14, func(off uint64, size int) ([]frontend.DirEntry, syscall.Errno) {
		return s.ReadDirPlus(s.dir, d.Fh, off, size)
	})
	s.errno("rename into it", s.Rename(s.dir, "gone", mount, "x"))
	e, errno = s.Link(s.at("file"), mount, "x")
	s.entry("link into it", e, errno)
	s.errno("rmdir", s.Rmdir(s.dir, "mount"))
	s.errno("syncfs", s.SyncFs(mount))
	s.errno("syncfs of a file", s.SyncFs(below))
	s.errno("syncfs of a node that is none", s.SyncFs(1<<40))
	out, errno := s.StatFs(below)
	if s.errno("statfs", errno) {
		s.say("statfs", "blocks", out.Blocks)
	}
	f, errno := s.Create(mount, "new", unix.O_RDWR, 0o644, 0)
	s.created("create", f, errno)
}
