// SPDX-License-Identifier: Apache-2.0

package cache

import "golang.org/x/sys/unix"

// PageSize is the size of a page in bytes, whatever the host's is.
const PageSize = 4096

// HostFile is an open file of the host. Offsets and sizes are bytes, errors bare errnos of the
// host. Its methods may be called at the same time. What can wait ends with EINTR soon after cancel,
// the channel of the request that it is for, was closed; nil: never.
type HostFile interface {
	// ReadAt fills dst from off on. A short count is continued by the caller, unless it comes
	// with an error; 0 is the end of the file. With nowait only what is in memory is read;
	// EAGAIN: the rest would block.
	ReadAt(cancel <-chan struct{}, dst [][]byte, off int64, nowait bool) (int, error)
	// WriteAt writes src at off, or, with WriteAppend, at the end of the file. A short count is
	// continued by the caller; 0, or an error behind some bytes, is a refusal.
	WriteAt(cancel <-chan struct{}, src [][]byte, off int64, f WriteFlags) (int, error)
	// Truncate sets the size.
	Truncate(cancel <-chan struct{}, size int64) error
	// Allocate is fallocate(2) with its FALLOC_FL_* modes.
	Allocate(cancel <-chan struct{}, mode uint32, off, n int64) error
	// Sync makes what was written durable; dataOnly leaves out times (fdatasync).
	Sync(cancel <-chan struct{}, dataOnly bool) error
	// Flush reports errors of earlier writes that the host knows at close(2).
	Flush(cancel <-chan struct{}) error
	// CopyTo copies n bytes at off to dst, a file of the same kind. Less than n is no error.
	CopyTo(cancel <-chan struct{}, dst HostFile, off, dstOff, n int64) (int64, error)
	// Stat returns size and times. Taken is set by the cache.
	Stat(cancel <-chan struct{}) (Stamp, error)
}

// maxInterrupts is how often in a row a call that was interrupted is made again. Then EIO takes the
// place of EINTR, which is the answer to what was canceled.
const maxInterrupts = 100

// interrupts counts how often the calls of one request were interrupted in a row.
type interrupts int

// again tells whether a call that ended with err is to be made again: it was interrupted, and not
// because its request is canceled. If not, its error is the one that is returned.
func (n *interrupts) again(cancel <-chan struct{}, err error) (bool, error) {
	if err != unix.EINTR {
		return false, err
	}
	select {
	case <-cancel:
		return false, unix.EINTR
	default:
	}
	if *n++; *n > maxInterrupts {
		return false, unix.EIO
	}
	return true, nil
}

// again makes a call until it is not interrupted any more.
func again(cancel <-chan struct{}, call func() error) error {
	var n interrupts
	for {
		if more, err := n.again(cancel, call()); !more {
			return err
		}
	}
}

// WriteFlags are properties of one write.
type WriteFlags uint32

// The first three are for the host, too.
const (
	WriteAppend WriteFlags = 1 << 0 // at the end of the file as the host knows it
	WriteDSync  WriteFlags = 1 << 1 // durable before it returns, as with O_DSYNC
	WriteSync   WriteFlags = 1 << 2 // with times, as with O_SYNC
	WriteDirect WriteFlags = 1 << 3 // the guest opened the file with O_DIRECT
	WriteCache  WriteFlags = 1 << 4 // from the guest's page cache (FUSE_WRITE_CACHE): the flags above do not count
	WriteNowait WriteFlags = 1 << 5 // EAGAIN instead of waiting for a range lock; nothing counts as done
	WriteWhole  WriteFlags = 1 << 6 // an error if the host did not take all
)

const (
	hostFlags = WriteAppend | WriteDSync | WriteSync
	syncFlags = WriteDSync | WriteSync
)

// ReadFlags are properties of one read.
type ReadFlags uint32

const (
	ReadDirect ReadFlags = 1 << 0 // the guest opened the file with O_DIRECT
	ReadNowait ReadFlags = 1 << 1 // EAGAIN instead of waiting for the host's disk; nothing counts as done
)

// Key is the identity of a file on the host. It holds as long as something pins the inode.
type Key struct {
	Dev  uint64
	Ino  uint64
	Born int64 // birth time in nanoseconds, or a number that tells generations of Ino apart
}

// Mode is the cache policy of the share that a request comes from (--cache).
type Mode uint8

const (
	ModeNever    Mode = 0 // no page is kept
	ModeMetadata Mode = 1 // no page is kept
	ModeAuto     Mode = 2 // pages are trusted for a second, and checked at each open
	ModeAlways   Mode = 3 // pages are checked once a second
)

func (m Mode) keeps() bool { return m == ModeAuto || m == ModeAlways }
