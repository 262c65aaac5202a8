// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"bytes"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Limits of Linux, in bytes without the terminating NUL.
const (
	maxName      = 255      // NAME_MAX, linux/limits.h
	maxTarget    = 4095     // PATH_MAX - 1, what symlink(2) takes
	maxAttrName  = 255      // XATTR_NAME_MAX
	maxAttrValue = 64 << 10 // XATTR_SIZE_MAX and XATTR_LIST_MAX
)

// nameKind says what follows an operation's fixed arguments.
type nameKind uint8

const (
	noNames  nameKind = iota // nothing, or something that the handler reads itself
	oneName                  // a file name
	twoNames                 // two file names
	attrName                 // the name of an xattr
)

// tooLong is the error for a name above the limit.
func (k nameKind) tooLong() fuse.Status {
	if k == attrName {
		return errAttrName
	}
	return errNameTooLong
}

// decodeNames reads the names of the request and checks them: the one place for all operations
// but SYMLINK and SETXATTR, whose handlers use the same checks.
func (r *Request) decodeNames(borrow bool) fuse.Status {
	if r.op.names == noNames {
		return fuse.OK
	}
	raw, ok := r.rest(r.names[:])
	if !ok {
		return r.op.names.tooLong()
	}
	first, raw, ok := cutName(raw)
	if !ok {
		return errMalformed
	}
	var second []byte
	st := checkName(first)
	if r.mayBeDots() && (string(first) == "." || string(first) == "..") {
		st = fuse.OK
	}
	switch r.op.names {
	case twoNames:
		if second, raw, ok = cutName(raw); !ok {
			return errMalformed
		}
		if st.Ok() {
			st = checkName(second)
		}
	case attrName:
		st = checkAttrName(first)
	}
	if !st.Ok() {
		return st
	}
	if len(raw) != 0 { // a NUL inside a name
		return errMalformed
	}
	r.name, r.name2 = nameString(first, borrow), nameString(second, borrow)
	return fuse.OK
}

// mayBeDots tells whether the request's name may be "." or "..": in LOOKUP, for a file system
// that has asked for FUSE_EXPORT_SUPPORT and thus knows what they mean there.
func (r *Request) mayBeDots() bool {
	return r.op.code == OpLookup && r.params != nil && r.params.flags&fuse.CAP_EXPORT_SUPPORT != 0
}

// rest reads all that is left of the request into buf; false when it is too long.
func (r *Request) rest(buf []byte) ([]byte, bool) {
	if r.in.left > len(buf) {
		return nil, false
	}
	buf = buf[:r.in.left]
	return buf, r.in.read(buf)
}

// cutName cuts b after its first NUL; false when it has none.
func cutName(b []byte) (name, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return nil, nil, false
	}
	return b[:i], b[i+1:], true
}

// checkName refuses what is not the name of one directory entry. No file system behind it ever
// sees a name that leads elsewhere.
func checkName(name []byte) fuse.Status {
	switch {
	case len(name) > maxName:
		return errNameTooLong
	case len(name) == 0, string(name) == ".", string(name) == "..":
		return errMalformed
	case bytes.IndexByte(name, '/') >= 0, bytes.IndexByte(name, 0) >= 0:
		return errMalformed
	}
	return fuse.OK
}

// checkAttrName refuses what is no name of an extended attribute.
func checkAttrName(name []byte) fuse.Status {
	if len(name) == 0 || len(name) > maxAttrName {
		return errAttrName
	}
	return fuse.OK
}

// nameString returns b as a string; borrowed, it shares b's memory.
func nameString(b []byte, borrow bool) string {
	if borrow {
		return borrowString(b)
	}
	return string(b)
}
