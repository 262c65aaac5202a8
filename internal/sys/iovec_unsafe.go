// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// iovMax is the longest vector that the kernel takes (UIO_MAXIOV of Linux linux/uio.h).
const iovMax = 1024

type iovecs [iovMax]unix.Iovec

// Vectors are pooled rather than kept per caller: data moves from queue loops and workers alike.
var iovecPool = sync.Pool{New: func() any { return new(iovecs) }}

// Readv reads into bufs from off of fd, by one call: fewer bytes than there is room for are no error,
// and of more than 1024 pieces only the first are filled. 0 is the end of the file. flags are RWF_*.
func Readv(fd int, bufs [][]byte, off int64, flags int) (int, error) {
	return transfer(unix.SYS_PREADV2, fd, bufs, off, flags)
}

// ReadvNowait is Readv for what the page cache has (RWF_NOWAIT), be it only the first part of what is
// wanted. EAGAIN: it has not even that. It keeps the Go scheduler out, as it cannot block.
func ReadvNowait(fd int, bufs [][]byte, off int64) (int, error) {
	return transfer(unix.SYS_PREADV2, fd, bufs, off, unix.RWF_NOWAIT)
}

// Writev writes bufs to off of fd, by one call: fewer bytes than there are are no error, and of more
// than 1024 pieces only the first are written. flags are RWF_*; with RWF_APPEND off is not used.
func Writev(fd int, bufs [][]byte, off int64, flags int) (int, error) {
	return transfer(unix.SYS_PWRITEV2, fd, bufs, off, flags)
}

// transfer moves bufs from or to the file.
func transfer(trap uintptr, fd int, bufs [][]byte, off int64, flags int) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL // -1 would mean the fd's own position
	}
	iov := iovecPool.Get().(*iovecs)
	defer iovecPool.Put(iov)
	n := fill(iov, bufs)
	got, err := vector(trap, fd, iov[:n], off, flags)
	clear(iov[:n]) // the pool must not hold pointers to memory that may be unmapped
	return max(got, 0), err
}

// fill makes vectors of bufs and returns their number.
func fill(iov *iovecs, bufs [][]byte) int {
	n := 0
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		if n == iovMax {
			break
		}
		iov[n].Base = unsafe.SliceData(b)
		iov[n].SetLen(len(b))
		n++
	}
	return n
}

// vector does one preadv2 or pwritev2. The offset goes in two halves for the 32-bit callers'
// sake; on 64 bits the kernel takes all of it from the first (pos_from_hilo in Linux fs/read_write.c).
func vector(trap uintptr, fd int, iov []unix.Iovec, off int64, flags int) (int, error) {
	return retry(func() (uintptr, syscall.Errno) {
		p := unsafe.Pointer(unsafe.SliceData(iov))
		if flags&unix.RWF_NOWAIT != 0 {
			r, _, e := syscall.RawSyscall6(trap, uintptr(fd), uintptr(p), uintptr(len(iov)), uintptr(off), 0, uintptr(flags))
			return r, e
		}
		r, _, e := syscall.Syscall6(trap, uintptr(fd), uintptr(p), uintptr(len(iov)), uintptr(off), 0, uintptr(flags))
		return r, e
	})
}
