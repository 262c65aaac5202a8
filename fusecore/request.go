// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Request is one FUSE request and the room for its reply. Keep one for each request that may
// be in flight and use it again and again: what it needs is allocated the first time.
//
// One goroutine at a time owns a Request. In and Out must stay valid and unchanged from the
// first Handle until the Handle that returns again=false has returned.
type Request struct {
	In  [][]byte // the request, readable; cut anywhere
	Out [][]byte // room for the reply, writable; cut anywhere

	op     *operation
	params *params // the session that the request belongs to; nil: none
	in     cursor  // what has not been decoded yet
	size   int     // bytes in In
	room   int     // bytes in Out
	inline bool    // must not block
	again  bool    // set by a handler that would block
	silent bool    // no reply

	args  argBuf
	reply replyBuf
	fixed int // bytes of the reply's fixed part
	tail  int // bytes of the reply behind it, in Out already

	// The names of the request, checked. They live in names.
	name, name2 string
	names       [2 * (maxName + 1)]byte

	groups []uint32          // supplementary groups that came with it
	label  secCtx            // for what it creates
	ext    []byte            // its extensions, allocated by the first that has any
	vec    [][]byte          // ranges of guest memory for the current call
	list   fuse.DirEntryList // over a buffer of the current call
	flight flight
}

// header returns the request's header.
func (r *Request) header() *fuse.InHeader { return argsAs[fuse.InHeader](r) }

// WaitsForOthers tells, after a Handle that has returned again=true, whether the request may wait
// until another request of the guest's comes, as for a lock. Whoever carries out requests with a
// bound on their number does not count it, or it may stand in the way of the one that it waits for.
func (r *Request) WaitsForOthers() bool { return r.op.blocks == forOthers }

// cancel is closed when the guest interrupts the request.
func (r *Request) cancel() <-chan struct{} { return r.flight.cancel }

// start reads the header and finds the operation. Without at least the header's unique id
// there is nobody to answer, and start returns false.
func (r *Request) start(inline bool) bool {
	r.in = newCursor(r.In)
	r.size, r.room = r.in.left, 0
	for _, s := range r.Out {
		r.room += len(s)
	}
	r.inline, r.again, r.silent = inline, false, false
	r.fixed, r.tail = 0, 0
	r.name, r.name2 = "", ""
	r.groups, r.label = r.groups[:0], secCtx{}
	r.dropRanges() // of a request that faulted
	r.args = argBuf{}

	const uniqueEnd = 16
	n := min(r.size, inHeaderSize)
	r.in.read(r.args.bytes()[:n])
	r.op = lookupOperation(Opcode(r.header().Opcode))
	return n >= uniqueEnd
}

// checkLength compares the header's length with what the guest supplied. Bytes beyond it are
// not part of the request: Unikraft hands over its whole name buffer. What it claims too much
// is an error, except for READ, where the Windows driver adds the bytes that it wants to read.
func (r *Request) checkLength() fuse.Status {
	length := int64(r.header().Length)
	switch {
	case r.size < inHeaderSize || length < int64(inHeaderSize):
		return errMalformed
	case r.op.anyLength:
		return fuse.OK
	case length > int64(r.size):
		return errMalformed
	}
	r.in.limit(int(length) - inHeaderSize)
	return fuse.OK
}

// decode reads the fixed arguments, the extension and the names, and checks that the fixed
// part of the reply has room.
func (r *Request) decode(x *extras) fuse.Status {
	size := r.op.args
	if r.op.code == OpSetxattr && r.params.flags&fuse.CAP_SETXATTR_EXT != 0 {
		size += setxattrExt
	}
	if !r.in.read(r.args.bytes()[inHeaderSize : inHeaderSize+size]) {
		return errMalformed
	}
	if !r.setFixed(r.op.reply) {
		return errMalformed
	}
	if r.op.creates && r.params.flags&(fuse.CAP_CREATE_SUPP_GROUP|fuse.CAP_SECURITY_CTX) != 0 {
		if st := r.decodeExtensions(x.borrows); !st.Ok() {
			return st
		}
	}
	return r.decodeNames(x.borrows)
}

// setFixed makes the reply's fixed part n bytes long; false when it has no room.
func (r *Request) setFixed(n int) bool {
	if n > 0 && r.room < outHeaderSize+n {
		return false
	}
	r.fixed = n
	return true
}

// space returns how many bytes fit behind the reply's header, at most n.
func (r *Request) space(n uint32) int {
	return int(min(int64(n), int64(r.room-outHeaderSize)))
}

// ranges returns the parts of Out that take n bytes from offset off behind the reply's header.
// They are valid until the next call.
func (r *Request) ranges(off, n int) [][]byte {
	out := newCursor(r.Out)
	out.skip(outHeaderSize + off)
	r.dropRanges()
	r.vec = out.slices(r.vec, n)
	return r.vec
}

// dropRanges forgets the ranges of the last call. Stale pointers to memory that gets unmapped
// must not stay where the garbage collector looks.
func (r *Request) dropRanges() {
	clear(r.vec)
	r.vec = r.vec[:0]
}

// putTail writes b to the reply, off bytes behind its header and fixed part.
func (r *Request) putTail(off int, b []byte) {
	out := newCursor(r.Out)
	out.skip(outHeaderSize + r.fixed + off)
	r.tail = off + out.write(b)
}

// finish writes the reply and returns its length.
func (r *Request) finish(st fuse.Status) int {
	r.dropRanges()
	if r.silent || r.room < outHeaderSize {
		return 0
	}
	if !st.Ok() {
		r.fixed, r.tail = 0, 0
	}
	h := replyHeader(r)
	h.Unique = r.header().Unique
	h.Status = wireStatus(st)
	h.Length = uint32(outHeaderSize + r.fixed + r.tail)
	out := newCursor(r.Out)
	out.write(r.reply.bytes()[:outHeaderSize+r.fixed])
	return int(h.Length)
}
