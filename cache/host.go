// SPDX-License-Identifier: Apache-2.0

package cache

// PageSize is the size of a page in bytes, whatever the host's is.
const PageSize = 4096

// HostFile is an open file of the host. Offsets and sizes are bytes, errors bare errnos of the
// host. Its methods may be called at the same time.
type HostFile interface {
	// ReadAt fills dst from off on. A short count is continued by the caller; 0 is the end of
	// the file. With nowait only what is in memory is read; EAGAIN: the rest would block.
	ReadAt(dst [][]byte, off int64, nowait bool) (int, error)
	// WriteAt writes src at off, or, with WriteAppend, at the end of the file. A short count is
	// continued by the caller; 0 is a refusal.
	WriteAt(src [][]byte, off int64, f WriteFlags) (int, error)
	// Truncate sets the size.
	Truncate(size int64) error
	// Allocate is fallocate(2) with its FALLOC_FL_* modes.
	Allocate(mode uint32, off, n int64) error
	// Sync makes what was written durable; dataOnly leaves out times (fdatasync).
	Sync(dataOnly bool) error
	// Flush reports errors of earlier writes that the host knows at close(2).
	Flush() error
	// CopyTo copies n bytes at off to dst, a file of the same kind. Less than n is no error.
	CopyTo(dst HostFile, off, dstOff, n int64) (int64, error)
	// Stat returns size and times. Taken is set by the cache.
	Stat() (Stamp, error)
}

// WriteFlags are properties of one write.
type WriteFlags uint32

// The first three are for the host, too.
const (
	WriteAppend WriteFlags = 1 << 0 // at the end of the file as the host knows it
	WriteDSync  WriteFlags = 1 << 1 // durable before it returns, as with O_DSYNC
	WriteSync   WriteFlags = 1 << 2 // with times, as with O_SYNC
	WriteDirect WriteFlags = 1 << 3 // the guest opened the file with O_DIRECT
	WriteCache  WriteFlags = 1 << 4 // from the guest's page cache (FUSE_WRITE_CACHE): the other flags do not count
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
