// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

func playFallocate(s *session) {
	node, fh := s.file("file", unix.O_RDWR)
	alloc := func(what string, off, length uint64, mode uint32) {
		s.errno(what, s.Fallocate(node, fh, off, length, mode))
		a, errno := s.GetAttr(node)
		s.attrs("after "+what, a, errno)
	}
	const keep = unix.FALLOC_FL_KEEP_SIZE
	alloc("longer", 4096, 12288, 0)
	alloc("keep size", 0, 1<<16, keep)
	alloc("punch", 100, 200, unix.FALLOC_FL_PUNCH_HOLE|keep)
	alloc("punch without keep", 0, 4096, unix.FALLOC_FL_PUNCH_HOLE)
	alloc("zero", 0, 50, unix.FALLOC_FL_ZERO_RANGE)
	alloc("zero, keep size", 1<<17, 50, unix.FALLOC_FL_ZERO_RANGE|keep)
	alloc("collapse", 0, 4096, unix.FALLOC_FL_COLLAPSE_RANGE)
	alloc("collapse, odd", 1, 10, unix.FALLOC_FL_COLLAPSE_RANGE)
	alloc("insert", 0, 4096, unix.FALLOC_FL_INSERT_RANGE)
	alloc("unshare", 0, 4096, unix.FALLOC_FL_UNSHARE_RANGE)
	alloc("unknown mode", 0, 4096, 1<<20)
	alloc("no length", 0, 0, 0)
	alloc("negative", 1<<63, 10, 0)
	alloc("too long", 1<<62, 1<<62, 0)
	s.errno("handle that is none", s.Fallocate(node, 1<<40, 0, 10, 0))
	node, fh = s.file("kept", unix.O_RDONLY)
	s.errno("of a file open for reading", s.Fallocate(node, fh, 0, 10, 0))
	node, fh = s.file("suid", unix.O_RDWR)
	s.as(5, 5)
	alloc("of a setuid file", 0, 20000, 0)
}

func playLseek(s *session) {
	node, fh := s.file("file", unix.O_RDWR)
	must(s.t, unix.Truncate(s.path("file"), 1<<20))
	for _, whence := range []uint32{unix.SEEK_DATA, unix.SEEK_HOLE, unix.SEEK_SET, unix.SEEK_CUR, unix.SEEK_END, 9} {
		for _, off := range []uint64{0, 100, 1 << 19, 1 << 20, 1 << 21, 1 << 63} {
			what := fmt.Sprintf("whence %d from %#x", whence, off)
			at, errno := s.Lseek(node, fh, off, whence)
			if s.errno(what, errno) {
				s.say(what, "offset", at)
			}
		}
	}
	_, errno := s.Lseek(node, 1<<40, 0, unix.SEEK_DATA)
	s.errno("handle that is none", errno)
}

func playCopy(s *session) {
	from, fh := s.file("file", unix.O_RDWR)
	to, toFh := s.file("empty", unix.O_RDWR)
	do := func(what string, r frontend.CopyRange) {
		n, errno := s.CopyFileRange(r)
		if s.errno(what, errno) {
			s.say(what, "length", n)
		}
	}
	do("all", frontend.CopyRange{Node: from, Fh: fh, NodeOut: to, FhOut: toFh, Len: 8192})
	do("behind the end", frontend.CopyRange{Node: from, Fh: fh, Off: 8000, NodeOut: to, FhOut: toFh, OffOut: 9000, Len: 8192})
	do("from behind the end", frontend.CopyRange{Node: from, Fh: fh, Off: 9000, NodeOut: to, FhOut: toFh, Len: 10})
	do("in one file", frontend.CopyRange{Node: from, Fh: fh, NodeOut: from, FhOut: fh, OffOut: 8192, Len: 100})
	do("over itself", frontend.CopyRange{Node: from, Fh: fh, NodeOut: from, FhOut: fh, OffOut: 10, Len: 100})
	do("nothing", frontend.CopyRange{Node: from, Fh: fh, NodeOut: to, FhOut: toFh})
	do("negative", frontend.CopyRange{Node: from, Fh: fh, Off: 1 << 63, NodeOut: to, FhOut: toFh, Len: 10})
	do("handle that is none", frontend.CopyRange{Node: from, Fh: 1 << 40, NodeOut: to, FhOut: toFh, Len: 10})
	do("to a handle that is none", frontend.CopyRange{Node: from, Fh: fh, NodeOut: to, FhOut: 1 << 40, Len: 10})
	kept, keptFh := s.file("kept", unix.O_RDONLY)
	do("to a file open for reading", frontend.CopyRange{Node: from, Fh: fh, NodeOut: kept, FhOut: keptFh, Len: 10})
	suid, suidFh := s.file("suid", unix.O_RDWR)
	s.as(5, 5)
	do("to a setuid file", frontend.CopyRange{Node: from, Fh: fh, NodeOut: suid, FhOut: suidFh, Len: 10})
	n, errno := s.CopyFileRange64(frontend.CopyRange{Node: from, Fh: fh, NodeOut: to, FhOut: toFh, Len: 10})
	if s.errno("64 bits", errno) {
		s.say("64 bits", "length", n)
	}
}

func playSync(s *session) {
	node, fh := s.file("file", unix.O_RDWR)
	s.errno("fsync", s.Fsync(node, fh, false))
	s.errno("fdatasync", s.Fsync(node, fh, true))
	s.errno("fsync, handle that is none", s.Fsync(node, 1<<40, false))
	s.errno("flush", s.Flush(node, fh, 7))
	s.errno("flush, handle that is none", s.Flush(node, 1<<40, 7))
	s.errno("release", s.Release(node, fh, unix.O_RDWR))
	s.errno("release again", s.Release(node, fh, unix.O_RDWR))
	s.errno("flush, closed", s.Flush(node, fh, 7))
	d, errno := s.OpenDir(s.at("dir"))
	s.need("opendir", errno)
	s.errno("fsyncdir", s.FsyncDir(s.at("dir"), d.Fh))
	s.errno("fsyncdir, handle that is none", s.FsyncDir(s.at("dir"), 1<<40))
	s.errno("releasedir", s.ReleaseDir(s.at("dir"), d.Fh))
	s.errno("releasedir again", s.ReleaseDir(s.at("dir"), d.Fh))
}

func playStatfs(s *session) {
	for what, node := range map[string]uint64{"root": root, "file": s.at("file"), "link": s.at("link"), "node that is none": 1 << 40} {
		out, errno := s.StatFs(node)
		if s.errno(what, errno) {
			s.say(what, "blocks", out.Blocks)
			s.say(what, "files", out.Files)
			s.say(what, "sizes", fmt.Sprint(out.Bsize, out.Frsize, out.NameLen))
			s.say(what, "some free", out.Bfree > 0 && out.Ffree > 0)
		}
	}
}
