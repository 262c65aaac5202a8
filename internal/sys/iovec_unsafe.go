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

// Readv reads into bufs from off of fd until they are full, the file ends or an error comes;
// a short result of the kernel is continued, because a FUSE client takes a short read for the end
// of the file. An error is returned only if nothing was read. flags are RWF_*.
func Readv(fd int, bufs [][]byte, off int64, flags int) (int, error) {
	return transfer(unix.SYS_PREADV2, fd, bufs, off, flags)
}

// ReadvNowait is Readv for what the page cache has (RWF_NOWAIT): EAGAIN means that the rest
// would block; n bytes came anyway. It keeps the Go scheduler out, as it cannot block.
func ReadvNowait(fd int, bufs [][]byte, off int64) (int, error) {
	return transfer(unix.SYS_PREADV2, fd, bufs, off, unix.RWF_NOWAIT)
}

// Writev writes bufs to off of fd, continuing after short results. An error is returned only if
// nothing was written. flags are RWF_*; with RWF_APPEND off is not used.
func Writev(fd int, bufs [][]byte, off int64, flags int) (int, error) {
	return transfer(unix.SYS_PWRITEV2, fd, bufs, off, flags)
}

// transfer moves bufs from or to the file, in vectors of at most iovMax.
func transfer(trap uintptr, fd int, bufs [][]byte, off int64, flags int) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL // -1 would mean the fd's own position
	}
	iov := iovecPool.Get().(*iovecs)
	defer iovecPool.Put(iov)
	total, skip := 0, 0 // skip: bytes of bufs[0] that are done
	for {
		n := fill(iov, bufs, skip)
		got, err := vector(trap, fd, iov[:n], off+int64(total), flags)
		clear(iov[:n]) // the pool must not hold pointers to memory that may be unmapped
		if err != nil {
			if total > 0 && flags&unix.RWF_NOWAIT == 0 {
				err = nil
			}
			return total, err
		}
		total += got
		bufs, skip = advance(bufs, skip, got)
		if got == 0 || len(bufs) == 0 {
			return total, nil
		}
	}
}

// fill makes vectors of bufs, without the first skip bytes, and returns their number.
func fill(iov *iovecs, bufs [][]byte, skip int) int {
	n := 0
	for _, b := range bufs {
		b, skip = b[skip:], 0
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

// advance drops n bytes, and all empty slices behind them, from the front of bufs.
func advance(bufs [][]byte, skip, n int) ([][]byte, int) {
	n += skip
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	return bufs, n
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
