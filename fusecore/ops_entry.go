// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"encoding/binary"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Operations on directory entries and the nodes behind them.

func handleLookup(s *Session, r *Request) fuse.Status {
	return s.fs.Lookup(r.cancel(), r.header(), r.name, replyAs[fuse.EntryOut](r))
}

func handleForget(s *Session, r *Request) fuse.Status {
	in := argsAs[fuse.ForgetIn](r)
	s.fs.Forget(in.NodeId, in.Nlookup)
	return fuse.OK
}

// maxForgets bounds one BATCH_FORGET: 1 MiB of them, as much as a WRITE may carry. A queue that
// stops waits for them all.
const maxForgets = 1 << 16

// handleBatchForget forgets nothing when the count is too large or not that of the entries,
// struct fuse_forget_one {nodeid, nlookup}.
func handleBatchForget(s *Session, r *Request) fuse.Status {
	const entrySize = 16
	count := binary.NativeEndian.Uint32(r.args.bytes()[inHeaderSize:])
	if count > maxForgets || uint64(r.in.left) != uint64(count)*entrySize {
		return errMalformed
	}
	var entry [entrySize]byte
	for r.in.read(entry[:]) {
		s.fs.Forget(binary.NativeEndian.Uint64(entry[:]), binary.NativeEndian.Uint64(entry[8:]))
	}
	return fuse.OK
}

// creator returns the file system that carries out a creating request.
func (s *Session) creator(r *Request) fuse.RawFileSystem {
	fs := s.fs
	if r.label.name != "" {
		fs = s.has.labels.WithSecurityContext(r.label.name, r.label.value)
	}
	if len(r.groups) == 0 {
		return fs
	}
	if g, ok := fs.(GroupsFileSystem); ok {
		return g.WithGroups(r.groups)
	}
	return fs
}

// handleSymlink decodes its names itself: the target is not a file name and can be long.
func handleSymlink(s *Session, r *Request) fuse.Status {
	buf := getBuffer(maxName + 1 + maxTarget + 1)
	defer buf.put()
	raw, ok := r.rest(buf.bytes[:maxName+1+maxTarget+1])
	if !ok {
		return errNameTooLong
	}
	name, raw, ok := cutName(raw)
	if !ok {
		return errMalformed
	}
	target, raw, ok := cutName(raw)
	if !ok || len(target) == 0 || len(raw) != 0 {
		return errMalformed
	}
	if st := checkName(name); !st.Ok() {
		return st
	}
	if len(target) > maxTarget {
		return errNameTooLong
	}
	return s.creator(r).Symlink(r.cancel(), r.header(), nameString(target, s.has.borrows),
		nameString(name, s.has.borrows), replyAs[fuse.EntryOut](r))
}

func handleMknod(s *Session, r *Request) fuse.Status {
	return s.creator(r).Mknod(r.cancel(), argsAs[fuse.MknodIn](r), r.name, replyAs[fuse.EntryOut](r))
}

func handleMkdir(s *Session, r *Request) fuse.Status {
	return s.creator(r).Mkdir(r.cancel(), argsAs[fuse.MkdirIn](r), r.name, replyAs[fuse.EntryOut](r))
}

func handleCreate(s *Session, r *Request) fuse.Status {
	in := argsAs[fuse.CreateIn](r)
	if r.inline && in.Flags&(syscall.O_TRUNC|syscall.O_EXCL) == syscall.O_TRUNC {
		r.again = true // the file may be there, and be truncated as by OPEN
		return fuse.OK
	}
	return s.creator(r).Create(r.cancel(), in, r.name, replyAs[fuse.CreateOut](r))
}

// handleTmpfile ignores the name that Linux sends: that of an anonymous dentry, "/".
func handleTmpfile(s *Session, r *Request) fuse.Status {
	return s.creator(r).Tmpfile(r.cancel(), argsAs[fuse.CreateIn](r), replyAs[fuse.CreateOut](r))
}

func handleUnlink(s *Session, r *Request) fuse.Status {
	return s.fs.Unlink(r.cancel(), r.header(), r.name)
}

func handleRmdir(s *Session, r *Request) fuse.Status {
	return s.fs.Rmdir(r.cancel(), r.header(), r.name)
}

// handleRename carries out RENAME and RENAME2; the former's flags are zero.
func handleRename(s *Session, r *Request) fuse.Status {
	return s.fs.Rename(r.cancel(), argsAs[fuse.RenameIn](r), r.name, r.name2)
}

func handleLink(s *Session, r *Request) fuse.Status {
	return s.fs.Link(r.cancel(), argsAs[fuse.LinkIn](r), r.name, replyAs[fuse.EntryOut](r))
}

func handleReadlink(s *Session, r *Request) fuse.Status {
	target, st := s.fs.Readlink(r.cancel(), r.header())
	if !st.Ok() {
		return st
	}
	if len(target) > r.space(maxTarget) {
		return errNameTooLong
	}
	r.putTail(0, target)
	return fuse.OK
}
