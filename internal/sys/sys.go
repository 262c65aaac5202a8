// SPDX-License-Identifier: Apache-2.0

// Package sys holds the system calls that golang.org/x/sys lacks, or allocates memory in, and that
// stand on a request's way: opening a name, statx, vectored file data, directory entries, file
// handles, extended attributes by directory fd, and the ids of a thread.
//
// Errors are always a bare syscall.Errno, so that they can go to a guest as they are. EINTR never
// comes out: the Go runtime interrupts system calls for its own ends, so every call that can see
// it goes through retry.
package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// NameMax is the length in bytes of the longest file name that is passed to the kernel here
// (NAME_MAX of Linux linux/limits.h).
const NameMax = 255

// retry repeats f while it is interrupted, and turns its result into an int and an error. The
// closure and what it refers to stay on the caller's stack.
func retry(f func() (uintptr, syscall.Errno)) (int, error) {
	for {
		r, e := f()
		switch e {
		case 0:
			return int(r), nil
		case unix.EINTR:
			continue
		}
		return -1, e
	}
}

// cname is a file name as the kernel wants it, on the caller's stack.
type cname [NameMax + 1]byte

// set copies name and ends it with NUL. A name that the kernel would read differently from how Go
// does is refused: ENAMETOOLONG beyond NameMax bytes, EINVAL with a NUL inside.
func (c *cname) set(name string) error {
	if len(name) > NameMax {
		return unix.ENAMETOOLONG
	}
	for i := 0; i < len(name); i++ {
		if name[i] == 0 {
			return unix.EINVAL
		}
	}
	c[copy(c[:], name)] = 0
	return nil
}

// setInt writes the decimal digits of n, the name of fd n in /proc/self/fd.
func (c *cname) setInt(n int) {
	if n < 0 {
		n = 0 // never an fd of ours: 0 is standard input, and the call's checks follow
	}
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			break
		}
	}
	c[copy(c[:], digits[i:])] = 0
}

// Close closes fd. EINTR counts as closed: Linux has released the number by then.
func Close(fd int) error {
	_, _, e := syscall.Syscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	if e != 0 && e != unix.EINTR {
		return e
	}
	return nil
}
