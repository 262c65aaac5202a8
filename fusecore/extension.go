// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"encoding/binary"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Extensions end a creating request when FUSE_CREATE_SUPP_GROUP is negotiated: records of
// struct fuse_ext_header {size, type}, padded to 8 bytes, TotalExtlen times 8 bytes in all
// (Linux include/uapi/linux/fuse.h, 7.38). Without that flag the header's field is padding, and
// guests other than Linux leave anything in it.
const (
	extHeaderSize = 8
	extGroups     = 32 // FUSE_EXT_GROUPS: struct fuse_supp_groups {nr, groups[nr]}

	// maxGroups bounds the groups of one request. Linux sends one at most, that of the
	// parent directory.
	maxGroups = 32
	maxExtLen = 256 // bytes; Linux sends 16
)

// decodeExtensions cuts the extensions off the request's end and keeps the groups.
func (r *Request) decodeExtensions() fuse.Status {
	length := 8 * int(r.header().TotalExtlen)
	if length == 0 {
		return fuse.OK
	}
	if length > r.in.left || length > maxExtLen {
		return errMalformed
	}
	tail := r.in
	tail.skip(r.in.left - length)
	r.in.limit(r.in.left - length)

	var space [maxExtLen]byte
	ext := space[:length]
	tail.read(ext)
	for len(ext) > 0 {
		if len(ext) < extHeaderSize {
			return errMalformed
		}
		size := binary.NativeEndian.Uint32(ext)
		if size < extHeaderSize || size%8 != 0 || uint64(size) > uint64(len(ext)) {
			return errMalformed
		}
		kind := binary.NativeEndian.Uint32(ext[4:])
		if kind == extGroups && !r.decodeGroups(ext[extHeaderSize:size]) {
			return errMalformed
		}
		ext = ext[size:]
	}
	return fuse.OK
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
