// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// File is the data of one open regular file: everything that reads, writes or moves file contents
// goes through it, and nothing else does. Offsets and sizes are bytes; errors are bare errnos of
// the host. All methods but Close may be called at the same time.
type File interface {
	// ReadAt fills dst from off on. Less than asked for means the end of the file. With nowait
	// only what is in memory is read: EAGAIN means that the rest, or all, would block.
	ReadAt(dst [][]byte, off int64, nowait bool) (int, error)
	// WriteAt writes src at off, or at the end of the file with WriteAppend. A short count comes
	// without an error: the next write gets it.
	WriteAt(src [][]byte, off int64, f WriteFlags) (int, error)
	// Truncate sets the size.
	Truncate(size int64) error
	// Allocate is fallocate(2) with its FALLOC_FL_* modes.
	Allocate(mode uint32, off, n int64) error
	// Sync makes what was written durable; dataOnly leaves out times (fdatasync).
	Sync(dataOnly bool) error
	// Flush reports errors of earlier writes that the host knows at close(2).
	Flush() error
	// Seek finds the next data or hole from off on (SEEK_DATA, SEEK_HOLE) or adds off to the size (SEEK_END).
	Seek(off int64, whence int) (int64, error)
	// CopyTo copies n bytes at off to another file of the same kind. Less than n is no error.
	CopyTo(dst File, off, dstOff, n int64) (int64, error)
	// Close ends the use of the file. Nothing may be under way or come later.
	Close() error
}

// WriteFlags are properties of one write.
type WriteFlags uint32

const (
	WriteAppend WriteFlags = 1 << 0 // at the end of the file as the host knows it
	WriteDSync  WriteFlags = 1 << 1 // durable before it returns, as with O_DSYNC
	WriteSync   WriteFlags = 1 << 2 // with times, as with O_SYNC
)

// hostFile is a File by plain system calls on an fd that it owns.
type hostFile struct{ fd int }

func newHostFile(fd int) File { return &hostFile{fd: fd} }

func (f *hostFile) ReadAt(dst [][]byte, off int64, nowait bool) (int, error) {
	if !nowait {
		return sys.Readv(f.fd, dst, off, 0)
	}
	n, err := sys.ReadvNowait(f.fd, dst, off)
	if err == unix.EOPNOTSUPP { // a file system that cannot say whether it would block
		err = unix.EAGAIN
	}
	return n, err
}

func (f *hostFile) WriteAt(src [][]byte, off int64, fl WriteFlags) (int, error) {
	flags := 0
	if fl&WriteAppend != 0 {
		flags |= unix.RWF_APPEND
	}
	if fl&WriteDSync != 0 {
		flags |= unix.RWF_DSYNC
	}
	if fl&WriteSync != 0 {
		flags |= unix.RWF_SYNC
	}
	return sys.Writev(f.fd, src, off, flags)
}

func (f *hostFile) Truncate(size int64) error {
	return again(func() error { return unix.Ftruncate(f.fd, size) })
}

func (f *hostFile) Allocate(mode uint32, off, n int64) error {
	return again(func() error { return unix.Fallocate(f.fd, mode, off, n) })
}

func (f *hostFile) Sync(dataOnly bool) error {
	if dataOnly {
		return again(func() error { return unix.Fdatasync(f.fd) })
	}
	return again(func() error { return unix.Fsync(f.fd) })
}

// Flush closes a copy of the fd, which is when NFS and others report errors.
func (f *hostFile) Flush() error {
	fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return sys.Close(fd)
}

func (f *hostFile) Seek(off int64, whence int) (int64, error) {
	return unix.Seek(f.fd, off, whence)
}

func (f *hostFile) CopyTo(dst File, off, dstOff, n int64) (int64, error) {
	d, ok := dst.(*hostFile)
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

func (f *hostFile) Close() error { return sys.Close(f.fd) }

// again repeats a call that was interrupted.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
