// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// hostFlags are the flags of open(2) for the host's file, from those of the guest. Left out: what
// the guest's kernel has done itself (O_CREAT, O_EXCL, O_NOFOLLOW, O_DIRECTORY), O_TRUNC, which is
// a change of its own, O_APPEND, O_SYNC and O_DSYNC, which each write brings along, and O_DIRECT,
// for which there is an fd of its own (direct).
//
// A guest with a write-back cache reads the rest of a page that it writes a part of, also through
// a file that its program may only write to.
func (fs *FS) hostFlags(flags uint32) int {
	keep := unix.O_ACCMODE | unix.O_NONBLOCK
	if fs.cfg.PreserveNoAtime {
		keep |= unix.O_NOATIME
	}
	host := int(flags) & keep
	if fs.writeback.Load() && host&unix.O_ACCMODE == unix.O_WRONLY {
		host = host&^unix.O_ACCMODE | unix.O_RDWR
	}
	return host
}

// openFor opens a file by a call of open, with the guest's flags as far as the host allows: a
// daemon without privileges may not read what it may write, and O_NOATIME takes the owner. writeOnly
// tells that the guest's kernel may not read through the fd, though it might want to.
func (fs *FS) openFor(flags uint32, open func(host int) (int, error)) (fd int, writeOnly bool, err error) {
	host := fs.hostFlags(flags)
	fd, err = open(host)
	if err == unix.EPERM && host&unix.O_NOATIME != 0 {
		host &^= unix.O_NOATIME
		fd, err = open(host)
	}
	if err == unix.EACCES && host&unix.O_ACCMODE != int(flags)&unix.O_ACCMODE {
		host = host&^unix.O_ACCMODE | unix.O_WRONLY
		fd, err = open(host)
		return fd, err == nil, err
	}
	return fd, false, err
}

// fopenOf is the FOPEN_* of the answer that opens a handle.
func (fs *FS) fopenOf(h *handle) uint32 {
	if h.writeOnly {
		return fs.fopen(h.node)&^fuse.FOPEN_KEEP_CACHE | directIO // or it would read
	}
	return fs.fopen(h.node)
}

// openDirect opens the file of fd once more with O_DIRECT, if that is to reach the host; -1 if not. So
// whatever else goes through the handle, such as the guest's page cache, needs no alignment.
func (fs *FS) openDirect(fd int, flags uint32) (int, error) {
	if flags&unix.O_DIRECT == 0 || !fs.cfg.AllowDirectIO {
		return -1, nil
	}
	host := int(flags)&unix.O_ACCMODE | unix.O_DIRECT
	return fs.withFDs(func() (int, error) { return sys.Reopen(fs.host.proc, fd, host) })
}
