// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Sizes of the headers in bytes, struct fuse_in_header and struct fuse_out_header.
const (
	inHeaderSize  = int(unsafe.Sizeof(fuse.InHeader{}))
	outHeaderSize = int(unsafe.Sizeof(fuse.OutHeader{}))
)

// argBuf is private memory for a request's header and fixed arguments. SETATTR's are the
// longest: 40 + 88 bytes. Words, so that every wire structure is aligned in it.
type argBuf [16]uint64

// replyBuf is private memory for a reply's header and fixed part. STATX's is the longest:
// 16 + 288 bytes.
type replyBuf [38]uint64

func (b *argBuf) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(b)), unsafe.Sizeof(*b))
}

func (b *replyBuf) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(b)), unsafe.Sizeof(*b))
}

// argsAs returns the request's header and arguments as the go-fuse wire structure T, which
// holds no pointers and starts with a fuse.InHeader. The bytes are valid until the request's
// end; those that the guest did not send are zero.
func argsAs[T any](r *Request) *T {
	var t T
	if unsafe.Sizeof(t) > unsafe.Sizeof(r.args) {
		panic("fusecore: request structure larger than its buffer")
	}
	return (*T)(unsafe.Pointer(&r.args))
}

// replyAs returns the zeroed fixed part of the reply as the go-fuse wire structure T, which
// holds no pointers.
func replyAs[T any](r *Request) *T {
	var t T
	if uintptr(outHeaderSize)+unsafe.Sizeof(t) > unsafe.Sizeof(r.reply) {
		panic("fusecore: reply structure larger than its buffer")
	}
	p := (*T)(unsafe.Pointer(&r.reply[outHeaderSize/8]))
	*p = t
	return p
}

// replyHeader returns the reply's header.
func replyHeader(r *Request) *fuse.OutHeader {
	return (*fuse.OutHeader)(unsafe.Pointer(&r.reply))
}

// borrowString returns b as a string without a copy. It lives as long as b is not written.
func borrowString(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}
