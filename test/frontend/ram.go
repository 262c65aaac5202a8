// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// PageSize is the guest's page: the driver scatters data over pages of this size.
const PageSize = 4096

// MemSpec asks for a memory region; bytes, multiples of PageSize.
type MemSpec struct {
	GPA, Size uint64
}

// Region is guest memory: part of a memfd, mapped here and described to the back-end.
type Region struct {
	MemRegion
	file *os.File // shared by the regions that were made together
	mem  []byte
	low  uint64 // offset of the next free page from below: runs
	high uint64 // offset of the first taken page from above: single pages
	free []uint64
}

// FD is the region's file, owned by the region.
func (r *Region) FD() int { return int(r.file.Fd()) }

// RAM is all of a guest's memory, with a page allocator over it. Safe for concurrent use,
// but regions are only added and removed while nothing runs on them.
type RAM struct {
	mu      sync.Mutex
	regions []*Region // the allocator takes from the last one that has room
	bias    uint64    // UserAddr - GPA
}

// newRAM makes the regions out of one memfd, one after the other, as QEMU does. With sealed
// set the file can never shrink.
func newRAM(specs []MemSpec, bias uint64, sealed bool) (*RAM, error) {
	m := &RAM{bias: bias}
	if _, err := m.add(specs, sealed); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *RAM) add(specs []MemSpec, sealed bool) ([]*Region, error) {
	var total uint64
	for _, s := range specs {
		total += s.Size
	}
	file, err := Memfd("guest-ram", total, sealed)
	if err != nil {
		return nil, err
	}
	var added []*Region
	var off uint64
	for _, s := range specs {
		mem, err := unix.Mmap(int(file.Fd()), int64(off), int(s.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return nil, os.NewSyscallError("mmap", err)
		}
		added = append(added, &Region{
			MemRegion: MemRegion{GPA: s.GPA, Size: s.Size, UserAddr: s.GPA + m.bias, Offset: off},
			file:      file, mem: mem, high: s.Size,
		})
		off += s.Size
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.regions = append(m.regions, added...)
	return added, nil
}

// Memfd makes an anonymous file of size bytes. The caller closes it.
func Memfd(name string, size uint64, sealed bool) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(int64(size)); err != nil {
		f.Close()
		return nil, err
	}
	if sealed {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW); err != nil {
			f.Close()
			return nil, os.NewSyscallError("fcntl", err)
		}
	}
	return f, nil
}

// Regions is a copy of the list of regions.
func (m *RAM) Regions() []*Region {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*Region(nil), m.regions...)
}

// Close unmaps everything. No Queue may be used after it.
func (m *RAM) Close() {
	for _, r := range m.Regions() {
		m.remove(r)
	}
}

func (m *RAM) remove(gone *Region) {
	m.mu.Lock()
	defer m.mu.Unlock()
	shared := false
	keep := m.regions[:0]
	for _, r := range m.regions {
		if r != gone {
			keep = append(keep, r)
			shared = shared || r.file == gone.file
		}
	}
	m.regions = keep
	unix.Munmap(gone.mem)
	if !shared {
		gone.file.Close()
	}
}

// Slice is n bytes of guest memory at gpa, in one region. It panics when they are not there:
// that is a mistake of the test. Valid until the region goes.
func (m *RAM) Slice(gpa, n uint64) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.regions {
		if off := gpa - r.GPA; gpa >= r.GPA && off <= r.Size && n <= r.Size-off {
			return r.mem[off : off+n : off+n]
		}
	}
	panic(fmt.Sprintf("frontend: no guest memory at %#x+%#x", gpa, n))
}

// Run allocates n bytes of adjacent guest pages and returns their guest address. Runs are
// not given back.
func (m *RAM) Run(n uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n = (n + PageSize - 1) &^ (PageSize - 1)
	for i := len(m.regions) - 1; i >= 0; i-- {
		r := m.regions[i]
		if r.high-r.low >= n {
			r.low += n
			return r.GPA + r.low - n
		}
	}
	panic("frontend: guest memory is full")
}

// Page allocates one guest page. Pages handed out one after the other do not lie beside each
// other, as in a guest whose memory is in use for a while.
func (m *RAM) Page() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	const batch = 16
	for i := len(m.regions) - 1; i >= 0; i-- {
		r := m.regions[i]
		if len(r.free) == 0 && r.high-r.low >= batch*PageSize {
			r.high -= batch * PageSize
			for _, j := range []uint64{15, 13, 11, 9, 7, 5, 3, 1, 14, 12, 10, 8, 6, 4, 2, 0} {
				r.free = append(r.free, r.high+j*PageSize)
			}
		}
		if n := len(r.free); n > 0 {
			off := r.free[n-1]
			r.free = r.free[:n-1]
			return r.GPA + off
		}
	}
	panic("frontend: guest memory is full")
}

// FreePage gives a page of Page back.
func (m *RAM) FreePage(gpa uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.regions {
		if gpa >= r.GPA && gpa-r.GPA < r.Size {
			r.free = append(r.free, gpa-r.GPA)
			return
		}
	}
}
