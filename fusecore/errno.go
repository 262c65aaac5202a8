// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The errors that the session answers by itself. All other errors are the file system's and
// reach the guest unchanged.
const (
	// errMalformed: a request that contradicts itself or is cut short: lengths, missing NUL,
	// counts, no room for the reply's fixed part, a name that is no file name.
	errMalformed = fuse.EINVAL
	// errNameTooLong: a name above 255 bytes, a link target above 4095, or a link target
	// that does not fit into the reader's buffer.
	errNameTooLong = fuse.Status(syscall.ENAMETOOLONG)
	// errAttrName: an xattr name that is empty or above 255 bytes, as setxattr(2) says.
	errAttrName = fuse.ERANGE
	// errAttrSize: an xattr value above 64 KiB, as setxattr(2) says.
	errAttrSize = fuse.Status(syscall.E2BIG)
	// errNoSession: a request before INIT, after DESTROY, or of a session that ended while
	// the request waited. libfuse answers the same.
	errNoSession = fuse.EIO
	// errVersion: an INIT of a protocol version that is not served, or without a feature that has to be.
	errVersion = fuse.Status(syscall.EPROTO)
	// errUnsupported: an operation that neither session nor file system has. Guests
	// remember it and stop asking.
	errUnsupported = fuse.ENOSYS
	// errInternal: the file system broke its contract (a panic, more bytes than asked for).
	errInternal = fuse.EIO
)

// maxErrno is the first errno that Linux does not take from a FUSE server (fs/fuse/dev.c,
// fuse_dev_do_write).
const maxErrno = 512

// wireStatus returns st as the error field of a reply. Statuses that are no errno, such as the
// negative notify codes, become EIO.
func wireStatus(st fuse.Status) int32 {
	if st < 0 || st >= maxErrno {
		st = errInternal
	}
	return -int32(st)
}
