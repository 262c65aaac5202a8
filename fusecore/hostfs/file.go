// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// hostFile is the data of one open regular file on the host, below the page cache: everything that
// reads, writes or moves file contents goes through it, and nothing else does.
type hostFile interface {
	cache.HostFile
	// Seek finds the next data or hole from off on (SEEK_DATA, SEEK_HOLE) or adds off to the size (SEEK_END).
	Seek(cancel <-chan struct{}, off int64, whence int) (int64, error)
	// Close ends the use of the file. Nothing may be under way or come later.
	Close() error
}

// fdFile is a hostFile by plain system calls on an fd that it owns. They do not look at cancel:
// what they wait for, a disk or a server, the kernel does not let them leave.
type fdFile struct {
	fd int
	on *volume
}

func (f *fdFile) ReadAt(_ <-chan struct{}, dst [][]byte, off int64, nowait bool) (int, error) {
	if !nowait {
		return sys.Readv(f.fd, dst, off, 0)
	}
	return f.on.readNowait(f.fd, dst, off)
}

func (f *fdFile) WriteAt(_ <-chan struct{}, src [][]byte, off int64, fl cache.WriteFlags) (int, error) {
	flags := 0
	if fl&cache.WriteAppend != 0 {
		flags |= unix.RWF_APPEND
	}
	if fl&cache.WriteDSync != 0 {
		flags |= unix.RWF_DSYNC
	}
	if fl&cache.WriteSync != 0 {
		flags |= unix.RWF_SYNC
	}
	return sys.Writev(f.fd, src, off, flags)
}

func (f *fdFile) Truncate(_ <-chan struct{}, size int64) error {
	return again(func() error { return unix.Ftruncate(f.fd, size) })
}

func (f *fdFile) Allocate(_ <-chan struct{}, mode uint32, off, n int64) error {
	return again(func() error { return unix.Fallocate(f.fd, mode, off, n) })
}

func (f *fdFile) Sync(_ <-chan struct{}, dataOnly bool) error {
	if dataOnly {
		return again(func() error { return unix.Fdatasync(f.fd) })
	}
	return again(func() error { return unix.Fsync(f.fd) })
}

// Flush closes a copy of the fd, which is when NFS and others report errors.
func (f *fdFile) Flush(<-chan struct{}) error {
	fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return sys.Close(fd)
}

func (f *fdFile) Seek(_ <-chan struct{}, off int64, whence int) (int64, error) {
	return unix.Seek(f.fd, off, whence)
}

func (f *fdFile) CopyTo(_ <-chan struct{}, dst cache.HostFile, off, dstOff, n int64) (int64, error) {
	d, ok := dst.(*fdFile)
	if !ok {
		return 0, unix.EXDEV
	}
	// The kernel takes at most MAX_RW_COUNT a call, and int has 63 bits where this runs.
	for {
		from, to := off, dstOff
		c, err := unix.CopyFileRange(f.fd, &from, d.fd, &to, int(n), 0)
		if err != unix.EINTR {
			return int64(max(c, 0)), err
		}
	}
}

func (f *fdFile) Stat(<-chan struct{}) (cache.Stamp, error) {
	var st unix.Statx_t
	if err := sys.Statx(f.fd, 0, unix.STATX_SIZE|unix.STATX_MTIME|unix.STATX_CTIME, &st); err != nil {
		return cache.Stamp{}, err
	}
	return stamp(&st), nil
}

func (f *fdFile) Close() error { return sys.Close(f.fd) }

// again repeats a call that was interrupted.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
