// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Operations on open files other than READ and WRITE.

func handleOpen(s *Session, r *Request) fuse.Status {
	in := argsAs[fuse.OpenIn](r)
	if r.inline && in.Flags&syscall.O_TRUNC != 0 {
		r.again = true // as SETATTR of a size
		return fuse.OK
	}
	return s.fs.Open(r.cancel(), in, replyAs[fuse.OpenOut](r))
}

func handleRelease(s *Session, r *Request) fuse.Status {
	s.fs.Release(r.cancel(), argsAs[fuse.ReleaseIn](r))
	return fuse.OK
}

func handleFlush(s *Session, r *Request) fuse.Status {
	return s.fs.Flush(r.cancel(), argsAs[fuse.FlushIn](r))
}

func handleFsync(s *Session, r *Request) fuse.Status {
	return s.fs.Fsync(r.cancel(), argsAs[fuse.FsyncIn](r))
}

func handleFallocate(s *Session, r *Request) fuse.Status {
	return s.fs.Fallocate(r.cancel(), argsAs[fuse.FallocateIn](r))
}

func handleLseek(s *Session, r *Request) fuse.Status {
	return s.fs.Lseek(r.cancel(), argsAs[fuse.LseekIn](r), replyAs[fuse.LseekOut](r))
}

func handleGetlk(s *Session, r *Request) fuse.Status {
	return s.fs.GetLk(r.cancel(), argsAs[fuse.LkIn](r), replyAs[fuse.LkOut](r))
}

func handleSetlk(s *Session, r *Request) fuse.Status {
	return s.fs.SetLk(r.cancel(), argsAs[fuse.LkIn](r))
}

// handleSetlkw tries on the loop whether the lock can be had at once, by a SETLK.
//
// EINTR is for a guest that asked for it: Linux makes ERESTARTSYS of it (fs/fuse/file.c, fuse_setlk),
// which a program that has no signal sees as errno 512. One whose queue was stopped gets ENOLCK.
func handleSetlkw(s *Session, r *Request) fuse.Status {
	if r.inline {
		st := s.fs.SetLk(r.cancel(), argsAs[fuse.LkIn](r))
		r.again = st == fuse.EAGAIN || st == fuse.EACCES // POSIX allows both
		return st
	}
	st := s.fs.SetLkw(r.cancel(), argsAs[fuse.LkIn](r))
	if st == fuse.EINTR && !s.inflight.asked(r) {
		return fuse.Status(syscall.ENOLCK)
	}
	return st
}

// maxCopy is the longest COPY_FILE_RANGE whose result fits its 32 bits, in whole pages, as
// Linux cuts it too (fs/fuse/file.c, __fuse_copy_file_range).
const maxCopy = 1<<32 - fusePage

func handleCopyFileRange(s *Session, r *Request) fuse.Status {
	in := argsAs[fuse.CopyFileRangeIn](r)
	in.Len = min(in.Len, maxCopy)
	n, st := s.fs.CopyFileRange(r.cancel(), in)
	replyAs[fuse.WriteOut](r).Size = n
	return st
}

func handleCopyFileRange64(s *Session, r *Request) fuse.Status {
	if s.has.copy64 == nil {
		return errUnsupported
	}
	n, st := s.has.copy64.CopyFileRange64(r.cancel(), argsAs[fuse.CopyFileRangeIn](r))
	replyAs[fuse.CopyFileRangeOut](r).BytesCopied = n
	return st
}

// maxIoctl bounds each direction's data in bytes: the size field of an ioctl number has 14 bits
// (Linux include/uapi/asm-generic/ioctl.h).
const maxIoctl = 1 << 14

// handleIoctl passes data both ways through buffers. Only what the number's size field can say
// is served; unrestricted ioctls exist for CUSE alone.
func handleIoctl(s *Session, r *Request) fuse.Status {
	in := argsAs[fuse.IoctlIn](r)
	if int64(in.InSize) != int64(r.in.left) || in.InSize > maxIoctl || in.OutSize > maxIoctl ||
		r.space(in.OutSize+uint32(r.fixed)) < int(in.OutSize)+r.fixed {
		return errMalformed
	}
	buf := getBuffer(2 * maxIoctl)
	defer buf.put()
	data := buf.bytes[:in.InSize:in.InSize]
	r.in.read(data)
	result := buf.bytes[maxIoctl : maxIoctl+in.OutSize]
	clear(result) // or the guest would see another one's data
	st := s.fs.Ioctl(r.cancel(), in, data, replyAs[fuse.IoctlOut](r), result)
	if st.Ok() {
		r.putTail(0, result)
	}
	return st
}
