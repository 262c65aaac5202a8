// SPDX-License-Identifier: Apache-2.0

package fusecore

import "github.com/hanwen/go-fuse/v2/fuse"

// READ and WRITE.

// maxRead is the longest READ that INIT's reply allows any guest, in bytes: 256 pages of 64 KiB. A
// guest can have gigabytes of room by naming the same memory again and again, and nothing can
// interrupt a copy, for which a queue that stops would have to wait.
const maxRead = 256 * 64 << 10

// handleRead reads straight into the guest's buffers when the file system can. A READ for more
// than there is room for, or than maxRead, gets what fits.
func handleRead(s *Session, r *Request) fuse.Status {
	in := argsAs[fuse.ReadIn](r)
	n := r.space(min(in.Size, maxRead))
	in.Size = uint32(n)
	var st fuse.Status
	switch {
	case r.inline && s.has.readvNowait != nil:
		r.tail, st = s.has.readvNowait.ReadvNowait(in, r.ranges(0, n))
		if st == fuse.EAGAIN {
			r.again = true
		}
	case s.has.readv != nil:
		r.tail, st = s.has.readv.Readv(r.cancel(), in, r.ranges(0, n))
	default:
		r.tail, st = readPieces(s, r, in, n)
	}
	if st.Ok() && (r.tail < 0 || r.tail > n) {
		return errInternal
	}
	return st
}

// readPieces reads n bytes with Read, through a buffer. The guest may ask for more than
// maxBuffer when its pages are larger than 4 KiB; an error after the first piece is left for
// the guest's next READ.
func readPieces(s *Session, r *Request, in *fuse.ReadIn, n int) (int, fuse.Status) {
	buf := getBuffer(min(n, maxBuffer))
	defer buf.put()
	start := in.Offset
	for done := 0; ; {
		want := min(n-done, maxBuffer)
		in.Offset, in.Size = start+uint64(done), uint32(want)
		got, st := readPiece(s, r, in, buf.bytes[:want], done)
		if !st.Ok() && done == 0 {
			return 0, st
		}
		done += got
		if got < want || done >= n {
			return done, fuse.OK
		}
	}
}

// readPiece reads len(buf) bytes with Read and puts them into the reply, off bytes behind its
// header. An error comes with 0 bytes.
func readPiece(s *Session, r *Request, in *fuse.ReadIn, buf []byte, off int) (int, fuse.Status) {
	res, st := s.fs.Read(r.cancel(), in, buf)
	if !st.Ok() || res == nil {
		return 0, st
	}
	defer res.Done()
	if v, ok := res.(interface {
		Readv(dst [][]byte) (int, fuse.Status)
	}); ok {
		n, st := v.Readv(r.ranges(off, len(buf)))
		if !st.Ok() {
			return 0, st
		}
		return n, fuse.OK
	}
	data, st := res.Bytes(buf)
	if !st.Ok() {
		return 0, st
	}
	data = data[:min(len(data), len(buf))]
	r.putTail(off, data)
	return len(data), fuse.OK
}

// handleWrite hands the guest's buffers to the file system, or a copy to one that wants its
// data in one piece.
func handleWrite(s *Session, r *Request) fuse.Status {
	in := argsAs[fuse.WriteIn](r)
	if int64(in.Size) != int64(r.in.left) || in.Size > r.params.maxWrite {
		return errMalformed
	}
	data := r.in
	r.vec = data.slices(r.vec, int(in.Size))
	if r.inline && s.has.writevNowait != nil {
		n, st := s.has.writevNowait.WritevNowait(in, r.vec)
		r.again = st == fuse.EAGAIN
		return written(r, in, n, st)
	}
	n, st := s.fs.Writev(r.cancel(), in, r.vec)
	if st == fuse.ENOSYS {
		n, st = writeCopy(s, r, in)
	}
	return written(r, in, n, st)
}

// written is the end of a WRITE.
func written(r *Request, in *fuse.WriteIn, n uint32, st fuse.Status) fuse.Status {
	if st.Ok() && n > in.Size {
		return errInternal
	}
	replyAs[fuse.WriteOut](r).Size = n
	return st
}

func writeCopy(s *Session, r *Request, in *fuse.WriteIn) (uint32, fuse.Status) {
	buf := getBuffer(int(in.Size))
	defer buf.put()
	data := buf.bytes[:in.Size]
	r.in.read(data)
	return s.fs.Write(r.cancel(), in, data)
}
