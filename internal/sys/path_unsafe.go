// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var noOpenat2 atomic.Bool // the kernel (before 5.6) or a filter does not know openat2

// resolve confines a lookup to the directory that it starts from (openat2(2)). Mount points below
// may be crossed.
const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// OpenIn opens name, one component, in directory dir, with openat(2) flags and mode. Where the
// kernel has openat2 it enforces that the name stays beneath dir and that no link is followed;
// the caller has checked the name and passes O_NOFOLLOW, which is enough for one component.
// The caller owns the fd, which is close-on-exec.
func OpenIn(dir int, name string, flags int, mode uint32) (int, error) {
	var c cname
	if err := c.set(name); err != nil {
		return -1, err
	}
	flags |= unix.O_CLOEXEC
	if !noOpenat2.Load() {
		how := unix.OpenHow{Flags: uint64(flags), Mode: uint64(mode), Resolve: resolve}
		fd, err := retry(func() (uintptr, syscall.Errno) {
			r, _, e := syscall.Syscall6(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(&c)),
				uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
			return r, e
		})
		if err != unix.ENOSYS {
			return fd, err
		}
		noOpenat2.Store(true)
	}
	return openat(dir, &c, flags, mode)
}

// OpenParent opens the parent of directory dir, which may be anywhere, with O_PATH. The caller owns
// the fd, which is close-on-exec.
func OpenParent(dir int) (int, error) {
	c := cname{'.', '.'}
	return openat(dir, &c, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// Reopen opens the file that fd refers to anew, through proc, an fd of /proc/self/fd. fd may be
// an O_PATH fd; the caller has made sure that it is no device or fifo unless flags has O_PATH.
// flags has no O_NOFOLLOW, which would open the entry of /proc itself. The caller owns the new fd,
// which is close-on-exec.
func Reopen(proc, fd, flags int) (int, error) {
	var c cname
	c.setInt(fd)
	return openat(proc, &c, flags|unix.O_CLOEXEC, 0)
}

func openat(dir int, c *cname, flags int, mode uint32) (int, error) {
	return retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(c)),
			uintptr(flags), uintptr(mode), 0, 0)
		return r, e
	})
}

// Statx reads the attributes of the file that fd refers to (an O_PATH fd will do) into st.
// flags are AT_STATX_*; mask is STATX_*.
func Statx(fd, flags, mask int, st *unix.Statx_t) error {
	var c cname // empty
	return statx(fd, &c, flags|unix.AT_EMPTY_PATH, mask, st)
}

// StatxIn reads the attributes of name in directory dir into st; a link is not followed.
func StatxIn(dir int, name string, mask int, st *unix.Statx_t) error {
	var c cname
	if err := c.set(name); err != nil {
		return err
	}
	return statx(dir, &c, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, mask, st)
}

func statx(dir int, c *cname, flags, mask int, st *unix.Statx_t) error {
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(c)),
			uintptr(flags), uintptr(mask), uintptr(unsafe.Pointer(st)), 0)
		return r, e
	})
	return err
}

// Unlink removes name from directory dir; flags is 0 or AT_REMOVEDIR.
func Unlink(dir int, name string, flags int) error {
	var c cname
	if err := c.set(name); err != nil {
		return err
	}
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall(unix.SYS_UNLINKAT, uintptr(dir), uintptr(unsafe.Pointer(&c)), uintptr(flags))
		return r, e
	})
	return err
}

// Mkdir makes directory name in dir.
func Mkdir(dir int, name string, mode uint32) error {
	var c cname
	if err := c.set(name); err != nil {
		return err
	}
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall(unix.SYS_MKDIRAT, uintptr(dir), uintptr(unsafe.Pointer(&c)), uintptr(mode))
		return r, e
	})
	return err
}

// Mknod makes a file of any type but a directory; dev is in the kernel's 32-bit form, as FUSE has it.
func Mknod(dir int, name string, mode, dev uint32) error {
	var c cname
	if err := c.set(name); err != nil {
		return err
	}
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall6(unix.SYS_MKNODAT, uintptr(dir), uintptr(unsafe.Pointer(&c)),
			uintptr(mode), uintptr(dev), 0, 0)
		return r, e
	})
	return err
}

// Rename moves a name, with the RENAME_* flags of renameat2(2).
func Rename(oldDir int, oldName string, newDir int, newName string, flags uint32) error {
	var o, n cname
	if err := o.set(oldName); err != nil {
		return err
	}
	if err := n.set(newName); err != nil {
		return err
	}
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall6(unix.SYS_RENAMEAT2, uintptr(oldDir), uintptr(unsafe.Pointer(&o)),
			uintptr(newDir), uintptr(unsafe.Pointer(&n)), uintptr(flags), 0)
		return r, e
	})
	return err
}

// Link gives the file that fd refers to another name, through proc, an fd of /proc/self/fd: unlike
// AT_EMPTY_PATH this needs no capability. A symbolic link is linked itself.
func Link(proc, fd, newDir int, newName string) error {
	var o, n cname
	o.setInt(fd)
	if err := n.set(newName); err != nil {
		return err
	}
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall6(unix.SYS_LINKAT, uintptr(proc), uintptr(unsafe.Pointer(&o)),
			uintptr(newDir), uintptr(unsafe.Pointer(&n)), unix.AT_SYMLINK_FOLLOW, 0)
		return r, e
	})
	return err
}

// Chmod sets the mode bits of the file that fd refers to, through proc, an fd of /proc/self/fd.
func Chmod(proc, fd int, mode uint32) error {
	var c cname
	c.setInt(fd)
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall(unix.SYS_FCHMODAT, uintptr(proc), uintptr(unsafe.Pointer(&c)), uintptr(mode))
		return r, e
	})
	return err
}

// Chown sets the owner of the file that fd refers to; an id of ^0 is left as it is.
func Chown(fd int, uid, gid uint32) error {
	var c cname // empty
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall6(unix.SYS_FCHOWNAT, uintptr(fd), uintptr(unsafe.Pointer(&c)),
			uintptr(uid), uintptr(gid), unix.AT_EMPTY_PATH, 0)
		return r, e
	})
	return err
}

// Utimes sets access and modification time (UTIME_NOW and UTIME_OMIT as nanoseconds have their
// meaning) of the file that fd refers to, through proc, an fd of /proc/self/fd.
func Utimes(proc, fd int, times *[2]unix.Timespec) error {
	var c cname
	c.setInt(fd)
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall6(unix.SYS_UTIMENSAT, uintptr(proc), uintptr(unsafe.Pointer(&c)),
			uintptr(unsafe.Pointer(times)), 0, 0, 0)
		return r, e
	})
	return err
}
