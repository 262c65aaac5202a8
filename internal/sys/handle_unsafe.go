// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// HandleMax is the size in bytes of the largest file handle (MAX_HANDLE_SZ of Linux linux/exportfs.h).
const HandleMax = 128

// Handle is a file handle: a file system's own durable name of an inode (struct file_handle of
// name_to_handle_at(2)).
type Handle struct {
	Size  uint32 // of Bytes, in use
	Type  int32
	Bytes [HandleMax]byte
}

// NameToHandle stores the handle of the file that fd refers to (an O_PATH fd will do) in h.
// EOPNOTSUPP: the file system has none. EOVERFLOW: larger than HandleMax.
func NameToHandle(fd int, h *Handle) error {
	var c cname // empty
	var mount int32
	h.Size = HandleMax
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall6(unix.SYS_NAME_TO_HANDLE_AT, uintptr(fd), uintptr(unsafe.Pointer(&c)),
			uintptr(unsafe.Pointer(h)), uintptr(unsafe.Pointer(&mount)), unix.AT_EMPTY_PATH, 0)
		return r, e
	})
	return err
}

// OpenByHandle opens the file of h on the file system that mount, an fd that is not O_PATH, lies
// on. It needs CAP_DAC_READ_SEARCH; ESTALE: the file is gone. The caller owns the fd, which is
// close-on-exec.
func OpenByHandle(mount int, h *Handle, flags int) (int, error) {
	flags |= unix.O_CLOEXEC
	return retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall(unix.SYS_OPEN_BY_HANDLE_AT, uintptr(mount), uintptr(unsafe.Pointer(h)), uintptr(flags))
		return r, e
	})
}
