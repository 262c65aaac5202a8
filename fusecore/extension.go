// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"bytes"
	"encoding/binary"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Extensions end a creating request: records of struct fuse_ext_header {size, type}, padded to 8
// bytes, TotalExtlen times 8 bytes in all (Linux include/uapi/linux/fuse.h, 7.38). They come with
// FUSE_CREATE_SUPP_GROUP and FUSE_SECURITY_CTX. Without these flags the header's field is padding,
// and guests other than Linux leave anything in it.
//
// Linux 5.17 to 6.2 has FUSE_SECURITY_CTX and no TotalExtlen: its one record is what follows the
// names.
const (
	extHeaderSize = 8
	extMaxSecCtx  = 31 // FUSE_MAX_NR_SECCTX: up to it the type is a number of security contexts
	extGroups     = 32 // FUSE_EXT_GROUPS: struct fuse_supp_groups {nr, groups[nr]}
	secCtxSize    = 8  // struct fuse_secctx {size, padding}; name, NUL and value follow

	// maxGroups bounds the groups of one request. Linux sends one at most, that of the
	// parent directory.
	maxGroups = 32
	maxExtLen = 8 << 10 // bytes; Linux sends 16 for a group, and a label of at most a page
)

// secCtx is the security context (label) of what a request creates; without a name there is none.
type secCtx struct {
	name  string
	value []byte // over Request.ext
}

// decodeExtensions cuts the extensions off the request's end and keeps what they say.
func (r *Request) decodeExtensions(borrow bool) fuse.Status {
	tail, length := r.in, 8*int(r.header().TotalExtlen)
	switch {
	case length > 0:
		tail.skip(r.in.left - length)
	case r.params.flags&fuse.CAP_SECURITY_CTX != 0:
		if !tail.skipNames(r.op.strings()) {
			return fuse.OK // whoever reads the names will find out
		}
		length = tail.left
	}
	if length == 0 {
		return fuse.OK
	}
	if length > r.in.left || length > maxExtLen {
		return errMalformed
	}
	r.in.limit(r.in.left - length)
	if cap(r.ext) < length {
		r.ext = make([]byte, length)
	}
	ext := r.ext[:length]
	tail.read(ext)
	for len(ext) > 0 {
		if len(ext) < extHeaderSize {
			return errMalformed
		}
		size := binary.NativeEndian.Uint32(ext)
		if size < extHeaderSize || size%8 != 0 || uint64(size) > uint64(len(ext)) {
			return errMalformed
		}
		if !r.decodeRecord(binary.NativeEndian.Uint32(ext[4:]), ext[extHeaderSize:size], borrow) {
			return errMalformed
		}
		ext = ext[size:]
	}
	return fuse.OK
}

// strings is how many strings follow the fixed arguments of a creating operation.
func (o *operation) strings() int {
	if o.code == OpSymlink {
		return 2
	}
	return 1
}

// skipNames steps over n strings with their NULs; false if there are not so many.
func (c *cursor) skipNames(n int) bool {
	for n > 0 && c.left > 0 {
		peek := *c
		part := peek.next(peek.left)
		i := bytes.IndexByte(part, 0)
		if i >= 0 {
			part = part[:i+1]
			n--
		}
		c.skip(len(part))
	}
	return n == 0
}

// decodeRecord keeps what one record says; false when it is malformed. Records of an unknown type
// are left out.
func (r *Request) decodeRecord(kind uint32, rec []byte, borrow bool) bool {
	switch {
	case kind == extGroups && r.params.flags&fuse.CAP_CREATE_SUPP_GROUP != 0:
		return r.decodeGroups(rec)
	case kind <= extMaxSecCtx && r.params.flags&fuse.CAP_SECURITY_CTX != 0:
		return r.decodeSecCtx(kind, rec, borrow)
	}
	return true
}

// decodeGroups appends the groups of one record; false when the record is malformed.
func (r *Request) decodeGroups(rec []byte) bool {
	if len(rec) < 4 {
		return false
	}
	n := binary.NativeEndian.Uint32(rec)
	rec = rec[4:]
	if uint64(n) > uint64(len(rec)/4) || int(n)+len(r.groups) > maxGroups {
		return false
	}
	for i := range int(n) {
		r.groups = append(r.groups, binary.NativeEndian.Uint32(rec[4*i:]))
	}
	return true
}

// decodeSecCtx keeps the security context of a record with n of them; false when the record is
// malformed or there is more than one, which Linux never sends.
func (r *Request) decodeSecCtx(n uint32, rec []byte, borrow bool) bool {
	if n == 0 {
		return true
	}
	if n > 1 || r.label.name != "" || len(rec) < secCtxSize {
		return false
	}
	size := binary.NativeEndian.Uint32(rec)
	name, value, ok := cutName(rec[secCtxSize:])
	if !ok || !checkAttrName(name).Ok() || uint64(size) > uint64(len(value)) {
		return false
	}
	r.label = secCtx{nameString(name, borrow), value[:size:size]}
	return true
}
