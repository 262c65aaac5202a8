// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The *xattrat calls of Linux 6.13 take a directory fd, so they work where /proc is not mounted;
// before them only a path reaches an O_PATH fd's file.
var noXattrat atomic.Bool

// xattrArgs is struct xattr_args of Linux linux/xattr.h.
type xattrArgs struct {
	value *byte
	size  uint32
	flags uint32
}

const procSelfFD = "/proc/self/fd/"

// procPath is a path under procSelfFD, or under the working directory if that is what proc says.
type procPath [len(procSelfFD) + 24]byte

func (p *procPath) set(proc, fd int) {
	var c cname
	c.setInt(fd)
	n := 0
	if proc != unix.AT_FDCWD {
		n = copy(p[:], procSelfFD)
	}
	copy(p[n:], c[:24])
}

// setXattr is set for the name of an attribute.
func (n *cname) setXattr(name string) error {
	err := n.set(name)
	if err == unix.ENAMETOOLONG {
		return unix.ERANGE // what Linux says of a long one (fs/xattr.c)
	}
	return err
}

// Getxattr reads attribute name of the file that fd refers to (an O_PATH fd will do) into dest and
// returns its size; with an empty dest the size only. proc is an fd of /proc/self/fd, or AT_FDCWD where that
// is the working directory.
func Getxattr(proc, fd int, name string, dest []byte) (int, error) {
	return xattr(unix.SYS_GETXATTRAT, unix.SYS_GETXATTR, proc, fd, name, dest, 0)
}

// Setxattr sets attribute name; flags are XATTR_CREATE and XATTR_REPLACE.
func Setxattr(proc, fd int, name string, value []byte, flags uint32) error {
	_, err := xattr(unix.SYS_SETXATTRAT, unix.SYS_SETXATTR, proc, fd, name, value, flags)
	return err
}

func xattr(trapAt, trapPath uintptr, proc, fd int, name string, data []byte, flags uint32) (int, error) {
	var n, c cname
	if err := n.setXattr(name); err != nil {
		return -1, err
	}
	if !noXattrat.Load() {
		c.setInt(fd)
		size, err := retry(func() (uintptr, syscall.Errno) {
			args := xattrArgs{value: unsafe.SliceData(data),
				size: uint32(len(data)), flags: flags}
			r, _, e := syscall.Syscall6(trapAt, uintptr(proc), uintptr(unsafe.Pointer(&c)), 0,
				uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
			return r, e
		})
		if err != unix.ENOSYS {
			return size, err
		}
		noXattrat.Store(true)
	}
	var p procPath
	p.set(proc, fd)
	return retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall6(trapPath, uintptr(unsafe.Pointer(&p)), uintptr(unsafe.Pointer(&n)),
			uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)), uintptr(flags), 0)
		return r, e
	})
}

// Listxattr reads the names of the file's attributes, each ended by NUL, into dest and returns
// their size in bytes; with an empty dest the size only.
func Listxattr(proc, fd int, dest []byte) (int, error) {
	var p procPath
	if !noXattrat.Load() {
		var c cname
		c.setInt(fd)
		size, err := retry(func() (uintptr, syscall.Errno) {
			r, _, e := syscall.Syscall6(unix.SYS_LISTXATTRAT, uintptr(proc), uintptr(unsafe.Pointer(&c)), 0,
				uintptr(unsafe.Pointer(unsafe.SliceData(dest))), uintptr(len(dest)), 0)
			return r, e
		})
		if err != unix.ENOSYS {
			return size, err
		}
		noXattrat.Store(true)
	}
	p.set(proc, fd)
	return retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall(unix.SYS_LISTXATTR, uintptr(unsafe.Pointer(&p)),
			uintptr(unsafe.Pointer(unsafe.SliceData(dest))), uintptr(len(dest)))
		return r, e
	})
}

// Removexattr removes attribute name of the file that fd refers to.
func Removexattr(proc, fd int, name string) error {
	var n cname
	if err := n.setXattr(name); err != nil {
		return err
	}
	if !noXattrat.Load() {
		var c cname
		c.setInt(fd)
		_, err := retry(func() (uintptr, syscall.Errno) {
			r, _, e := syscall.Syscall6(unix.SYS_REMOVEXATTRAT, uintptr(proc), uintptr(unsafe.Pointer(&c)), 0,
				uintptr(unsafe.Pointer(&n)), 0, 0)
			return r, e
		})
		if err != unix.ENOSYS {
			return err
		}
		noXattrat.Store(true)
	}
	var p procPath
	p.set(proc, fd)
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall(unix.SYS_REMOVEXATTR, uintptr(unsafe.Pointer(&p)), uintptr(unsafe.Pointer(&n)), 0)
		return r, e
	})
	return err
}
