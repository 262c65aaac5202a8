// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Limits bound what a VMM can have mapped into this process, which has one address space for all of its
// guests: also what requests in flight still hold of tables that were replaced.
type Limits struct {
	Bytes    uint64 // of address space
	Mappings int    // each costs the kernel some 200 bytes, and a process has 65,530 (vm.max_map_count)
}

// DefaultLimits leave half of the address space that a process has on amd64 (128 TiB), and room for two
// full tables and what is in flight.
var DefaultLimits = Limits{Bytes: 64 << 40, Mappings: 4 * MaxRegions}

// budget counts mappings against limits. Safe for concurrent use; mu is not held over system calls.
type budget struct {
	limits Limits

	mu       sync.Mutex
	bytes    uint64
	mappings int
}

// take makes room for one more mapping, or says that there is none.
func (b *budget) take(size uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if size > b.limits.Bytes-b.bytes || b.mappings == b.limits.Mappings {
		return fmt.Errorf("%w: with %#x bytes more than %d mappings of %#x bytes together", ErrRegion, size, b.limits.Mappings, b.limits.Bytes)
	}
	b.bytes += size
	b.mappings++
	return nil
}

func (b *budget) give(size uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= size
	b.mappings--
}

// mmap maps length bytes at offset of the file fd, shared, readable and writable. Both are multiples of
// the file's page size.
func (b *budget) mmap(fd int, offset, length uint64) ([]byte, error) {
	if err := b.take(length); err != nil {
		return nil, err
	}
	raw, err := unix.Mmap(fd, int64(offset), int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		b.give(length)
		return nil, os.NewSyscallError("mmap", err)
	}
	return raw, nil
}

func (b *budget) munmap(raw []byte) {
	if err := unix.Munmap(raw); err != nil {
		panic(fmt.Sprintf("guestmem: munmap: %v", err))
	}
	b.give(uint64(len(raw)))
}
