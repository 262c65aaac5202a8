// SPDX-License-Identifier: Apache-2.0

package fusecore

import "github.com/hanwen/go-fuse/v2/fuse"

// Operations on open directories.

func handleOpendir(s *Session, r *Request) fuse.Status {
	return s.fs.OpenDir(r.cancel(), argsAs[fuse.OpenIn](r), replyAs[fuse.OpenOut](r))
}

func handleReleasedir(s *Session, r *Request) fuse.Status {
	s.fs.ReleaseDir(argsAs[fuse.ReleaseIn](r))
	return fuse.OK
}

func handleFsyncdir(s *Session, r *Request) fuse.Status {
	return s.fs.FsyncDir(r.cancel(), argsAs[fuse.FsyncIn](r))
}

func handleReaddir(s *Session, r *Request) fuse.Status {
	return readEntries(s, r, s.fs.ReadDir)
}

func handleReaddirplus(s *Session, r *Request) fuse.Status {
	return readEntries(s, r, s.fs.ReadDirPlus)
}

// readEntries collects entries in a buffer of at most maxBuffer bytes and copies them to the
// guest. Fewer bytes than asked for are no end: that is an empty reply.
func readEntries(s *Session, r *Request,
	read func(<-chan struct{}, *fuse.ReadIn, *fuse.DirEntryList) fuse.Status) fuse.Status {
	in := argsAs[fuse.ReadIn](r)
	n := min(r.space(in.Size), maxBuffer)
	in.Size = uint32(n)
	buf := getBuffer(n)
	defer buf.put()
	r.list = *fuse.NewDirEntryList(buf.bytes[:n], in.Offset)
	defer func() { r.list = fuse.DirEntryList{} }()
	st := read(r.cancel(), in, &r.list)
	if st.Ok() {
		r.putTail(0, r.list.Bytes())
	}
	return st
}
