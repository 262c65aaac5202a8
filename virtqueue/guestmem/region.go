// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"fmt"
	"math"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// MaxRegions is the most regions that a table holds. QEMU stops at 512 (VHOST_USER_MAX_RAM_SLOTS).
const MaxRegions = 512

// Region is a piece of guest memory as the VMM describes it (vhost-user, "Memory region
// description"). Addresses, sizes and offsets are in bytes and need no alignment.
type Region struct {
	GPA        uint64 // guest physical address of the first byte
	Size       uint64 // not zero
	UserAddr   uint64 // where the VMM has it mapped; ring addresses are given in these terms
	FileOffset uint64 // where it starts in the file that came with it
}

// same reports whether both name one region. The file offset does not count: QEMU leaves it out
// when it removes a region.
func (r Region) same(o Region) bool {
	return r.GPA == o.GPA && r.Size == o.Size && r.UserAddr == o.UserAddr
}

func (r Region) overlaps(o Region) bool {
	return r.GPA < o.GPA+o.Size && o.GPA < r.GPA+r.Size
}

// check refuses what later arithmetic could not bear: after it, GPA+Size and UserAddr+Size do not
// overflow.
func (r Region) check() error {
	switch {
	case r.Size == 0:
		return fmt.Errorf("%w: empty", ErrRegion)
	case r.GPA > math.MaxUint64-r.Size, r.UserAddr > math.MaxUint64-r.Size:
		return fmt.Errorf("%w: address overflow", ErrRegion)
	}
	return nil
}

// mapping is a region in this process's memory. It is unmapped when the last table that has it goes.
type mapping struct {
	Region
	mem  []byte // exactly the region
	raw  []byte // what was mapped: mem, rounded out to pages
	from *budget
	refs atomic.Int64
}

func (m *mapping) release() {
	if m.refs.Add(-1) == 0 {
		m.from.munmap(m.raw)
	}
}

// mapRegion maps r out of the file fd, which stays open. The caller has the only reference.
func mapRegion(r Region, fd int, b *budget) (*mapping, error) {
	raw, skip, err := b.mapFile(fd, r.Size, r.FileOffset)
	if err != nil {
		return nil, err
	}
	end := skip + r.Size
	m := &mapping{Region: r, mem: raw[skip:end:end], raw: raw, from: b}
	m.refs.Store(1)
	return m, nil
}

// mapFile maps size bytes at offset of the file fd, shared, readable and writable, rounded out to
// pages: the bytes wanted start at raw[skip]. A range beyond the file's end is refused, as touching
// it would fault.
func (b *budget) mapFile(fd int, size, offset uint64) (raw []byte, skip uint64, err error) {
	if size > math.MaxInt64 || offset > math.MaxInt64-size {
		return nil, 0, fmt.Errorf("%w: file range overflow", ErrRegion)
	}
	align, err := mapAlign(fd, offset+size)
	if err != nil {
		return nil, 0, err
	}
	skip = offset & (align - 1)
	if size > math.MaxInt64-skip-align {
		return nil, 0, fmt.Errorf("%w: file range overflow", ErrRegion)
	}
	length := (skip + size + align - 1) &^ (align - 1)
	if raw, err = b.mmap(fd, offset-skip, length); err != nil {
		return nil, 0, err
	}
	// A core dump of the daemon has no use for the guest's memory. Best effort.
	_ = unix.Madvise(raw, unix.MADV_DONTDUMP)
	return raw, skip, nil
}

// checkFile refuses files that would do harm as memory. Who touches a page of a FUSE or network file
// system waits for another process, in the middle of Go code, and with it the next garbage collection and
// all guests of the process. /dev/zero is memory of ours, of any size.
func checkFile(st *unix.Stat_t, fs *unix.Statfs_t) error {
	const memMajor = 1 // Linux Documentation/admin-guide/devices.txt: /dev/mem, /dev/zero and others
	switch typ := st.Mode & unix.S_IFMT; {
	case typ == unix.S_IFBLK, typ == unix.S_IFCHR && unix.Major(st.Rdev) == memMajor:
		return fmt.Errorf("%w: device %d:%d is no guest memory", ErrRegion, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	switch int64(fs.Type) {
	case unix.FUSE_SUPER_MAGIC, unix.NFS_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.SMB_SUPER_MAGIC,
		unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CODA_SUPER_MAGIC, unix.V9FS_MAGIC:
		return fmt.Errorf("%w: it is on a FUSE or network file system (%#x): use memory-backend-memfd, or a directory on tmpfs", ErrRegion, fs.Type)
	}
	return nil
}

// mapAlign returns what offsets and lengths of mappings of fd must be multiples of, a power of two,
// after checking that the file is end bytes long. Devices (DAX) have no length to check.
func mapAlign(fd int, end uint64) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG && end > uint64(st.Size) {
		return 0, fmt.Errorf("%w: ends at %#x of a file of %#x bytes", ErrRegion, end, st.Size)
	}
	align := uint64(os.Getpagesize())
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return 0, os.NewSyscallError("fstatfs", err)
	}
	if err := checkFile(&st, &fs); err != nil {
		return 0, err
	}
	// Huge pages can be mapped and unmapped only whole; the block size is the page size.
	if fs.Type == unix.HUGETLBFS_MAGIC {
		align = uint64(fs.Bsize)
	}
	return align, nil
}
