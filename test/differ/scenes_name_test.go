// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func (s *session) truncate(node uint64) syscall.Errno {
	_, errno := s.SetAttr(node, fuse.SetAttrInCommon{Valid: fuse.FATTR_SIZE, Size: 3})
	return errno
}

func playLink(s *session) {
	for _, name := range []string{"file", "dir", "link", "dangling", "fifo", "suid"} {
		e, errno := s.Link(s.at(name), s.at("full"), "new-"+name)
		s.entry(name, e, errno)
	}
	e, errno := s.Link(s.at("file"), s.dir, "kept")
	s.entry("to an existing name", e, errno)
	e, errno = s.Link(s.at("file"), s.at("kept"), "x")
	s.entry("below a file", e, errno)
	node := s.at("gone")
	s.errno("unlink", s.Unlink(s.dir, "gone"))
	e, errno = s.Link(node, s.dir, "back")
	s.entry("without a name", e, errno)
}

func playTmpfile(s *session) {
	f, errno := s.Tmpfile(s.at("dir"), unix.O_RDWR, 0o644, 0o022)
	s.created("as overlayfs", f, errno)
	f, errno = s.Tmpfile(s.at("dir"), unix.O_RDWR|unix.O_TMPFILE, 0o644, 0o022)
	if !s.created("tmpfile", f, errno) {
		return
	}
	e, errno := s.Link(f.NodeId, s.dir, "tmp")
	s.entry("link", e, errno)
}

func playUnlink(s *session) {
	node, fh := s.file("gone", unix.O_RDWR)
	for _, name := range []string{"gone", "dir", "full", "link", "fifo", "missing", "hard"} {
		s.errno("unlink "+name, s.Unlink(s.dir, name))
	}
	for _, name := range []string{"dir", "full", "file", "dangling", "missing"} {
		s.errno("rmdir "+name, s.Rmdir(s.dir, name))
	}
	a, errno := s.GetAttr(node)
	s.attrs("gone, open", a, errno)
	n, errno := s.Read(node, fh, 0, make([]byte, 100))
	s.errno("read of gone", errno)
	s.say("read of gone", "length", n)
	a, errno = s.SetAttr(node, fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE, Mode: 0o600})
	s.attrs("chmod of gone", a, errno)
	o, errno := s.Open(node, unix.O_RDONLY)
	s.opened("open of gone", o, errno)
	a, errno = s.GetAttr(s.at("kept"))
	s.attrs("kept", a, errno)
}

func playRename(s *session) {
	dir := s.at("dir")
	s.errno("into a directory", s.Rename(s.dir, "gone", dir, "new"))
	s.errno("missing", s.Rename(s.dir, "missing", dir, "x"))
	s.errno("over a file", s.Rename(s.dir, "empty", s.dir, "file"))
	s.errno("to a hard link of itself", s.Rename(s.dir, "kept", s.dir, "hard"))
	s.errno("directory over a file", s.Rename(s.dir, "sticky", s.dir, "file"))
	s.errno("file over a directory", s.Rename(s.dir, "file", s.dir, "sticky"))
	s.errno("over a full directory", s.Rename(s.dir, "sticky", s.dir, "full"))
	s.errno("into itself", s.Rename(s.dir, "dir", dir, "x"))
	s.errno("below a file", s.Rename(s.dir, "link", s.at("file"), "x"))
	s.errno("to itself", s.Rename(s.dir, "link", s.dir, "link"))
	e, errno := s.Lookup(dir, "new")
	s.entry("the new name", e, errno)
}

func playRename2(s *session) {
	dir := s.at("dir")
	for _, f := range []uint32{unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, unix.RENAME_WHITEOUT, unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE,
		unix.RENAME_EXCHANGE | unix.RENAME_WHITEOUT, unix.RENAME_NOREPLACE | unix.RENAME_WHITEOUT, 8, 1 << 31} {
		s.errno(fmt.Sprintf("flags %#x over a file", f), s.Rename2(s.dir, "gone", s.dir, "file", f))
		s.errno(fmt.Sprintf("flags %#x to a new name", f), s.Rename2(s.dir, "gone", dir, fmt.Sprint("new", f), f))
		s.errno(fmt.Sprintf("flags %#x with a directory", f), s.Rename2(s.dir, "link", s.dir, "sticky", f))
	}
	s.errno("no flags", s.Rename2(s.dir, "kept", s.dir, "renamed", 0))
}

// playNames gives names that are no names of files.
func playNames(s *session) {
	dir, file := s.at("dir"), s.at("file")
	for _, n := range []struct{ what, name string }{{"up", ".."}, {"self", "."}, {"above", "../above"}, {"below", "../full/below"},
		{"absolute", "/nowhere/at/all"}, {"slash", "a/b"}, {"slash at the end", "full/"}, {"256 bytes", strings.Repeat("n", 256)}} {
		what, name := n.what, n.name
		e, errno := s.Lookup(dir, name)
		s.entry("lookup "+what, e, errno)
		e, errno = s.Mkdir(dir, name, 0o755, 0)
		s.entry("mkdir "+what, e, errno)
		s.errno("rmdir "+what, s.Rmdir(dir, name))
		e, errno = s.Mknod(dir, name, unix.S_IFREG|0o644, 0, 0)
		s.entry("mknod "+what, e, errno)
		s.errno("unlink "+what, s.Unlink(dir, name))
		e, errno = s.Symlink(dir, name, "target")
		s.entry("symlink "+what, e, errno)
		s.Unlink(dir, name)
		f, errno := s.Create(dir, name, unix.O_RDWR, 0o644, 0)
		s.created("create "+what, f, errno)
		s.Unlink(dir, name)
		e, errno = s.Link(file, dir, name)
		s.entry("link "+what, e, errno)
		s.errno("rename to "+what, s.Rename(s.dir, "gone", dir, name))
		s.errno("rename from "+what, s.Rename(dir, name, s.dir, "gone"))
	}
}

func playStale(s *session) {
	file, dir, secret := s.at("file"), s.at("dir"), s.at("secret")
	must(s.t, unix.Unlink(s.path("file")))
	a, errno := s.GetAttr(file)
	s.attrs("removed on the host", a, errno)
	o, errno := s.Open(file, unix.O_RDONLY)
	s.opened("open of what is removed", o, errno)
	a, errno = s.SetAttr(file, fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE, Mode: 0o640})
	s.attrs("chmod of what is removed", a, errno)
	must(s.t, unix.Rmdir(s.path("dir")))
	e, errno := s.Mkdir(dir, "new", 0o755, 0)
	s.entry("mkdir in what is removed", e, errno)
	e, errno = s.Lookup(dir, "x")
	s.entry("lookup in what is removed", e, errno)
	must(s.t, unix.Rename(s.path("secret"), s.path("moved")))
	a, errno = s.GetAttr(secret)
	s.attrs("moved on the host", a, errno)
	must(s.t, unix.Rename(s.path("gone"), s.path("kept")))
	e, errno = s.Lookup(s.dir, "kept")
	s.entry("replaced on the host", e, errno)
	must(s.t, unix.Unlink(s.path("kept")))
	e, errno = s.Lookup(s.dir, "kept")
	s.entry("lookup of what is removed", e, errno)
	s.errno("unlink of what is removed", s.Unlink(s.dir, "kept"))
}
