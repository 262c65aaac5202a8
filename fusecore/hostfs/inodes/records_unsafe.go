// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"math/rand/v2"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const recordSize = int64(unsafe.Sizeof(record{}))

// mapTable makes a table with room for n records in memory that the Go heap knows nothing of.
func mapTable(n uint64) (*Table, error) {
	recs, err := mapShared("virtiofsd-inodes", int64(n)*recordSize)
	if err != nil {
		return nil, err
	}
	// Names are 20 to 30 bytes long as a rule; 64 a record is room for the longest handles of
	// all file systems at hand.
	blobs, err := mapShared("virtiofsd-names", min(int64(n)*64+arenaMin, arenaMax))
	if err != nil {
		_ = unix.Munmap(recs)
		return nil, err
	}
	cells, err := mapShared("virtiofsd-hints", hintCells*4)
	if err != nil {
		_ = unix.Munmap(recs)
		_ = unix.Munmap(blobs)
		return nil, err
	}
	t := &Table{
		records: unsafe.Slice((*record)(unsafe.Pointer(unsafe.SliceData(recs))), n),
		seed:    rand.Uint64(),
		unmap: func() {
			_ = unix.Munmap(recs)
			_ = unix.Munmap(blobs)
			_ = unix.Munmap(cells)
		},
	}
	t.hints.init(unsafe.Slice((*atomic.Uint32)(unsafe.Pointer(unsafe.SliceData(cells))), hintCells))
	t.arena.init(blobs)
	return t, nil
}

// mapShared maps size bytes of a new memfd. Pages cost nothing until they are written to. The
// mapping keeps the memfd; its fd is closed.
func mapShared(name string, size int64) ([]byte, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, size); err != nil {
		return nil, err
	}
	return unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
}
