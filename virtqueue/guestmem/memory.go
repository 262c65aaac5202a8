// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Memory is the guest memory of one device: a table of mapped regions, which can be replaced while
// queues run, and a log of the pages that the device wrote. Safe for concurrent use.
//
// The zero value is not usable; see New. Reset gives back all that it holds.
type Memory struct {
	mu      sync.Mutex // taken for changes and Acquire; never while waiting for a user of a table
	current *Table     // one reference is ours

	gen atomic.Uint64 // of current; written under mu

	budget *budget
	log    dirtyLog
}

// New returns a memory without regions, with DefaultLimits.
func New() *Memory { return NewWithin(DefaultLimits) }

// NewWithin is New with other limits.
func NewWithin(l Limits) *Memory {
	b := &budget{limits: l}
	return &Memory{current: newTable(nil, 0), budget: b, log: dirtyLog{from: b}}
}

// Generation changes with every change of the table. One atomic load.
func (m *Memory) Generation() uint64 { return m.gen.Load() }

// Acquire returns the current table with a reference for the caller, who must Release it.
func (m *Memory) Acquire() *Table {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current.refs.Add(1)
	return m.current
}

// Replace makes the given regions, fds[i] being the file of rs[i], the whole table
// (VHOST_USER_SET_MEM_TABLE). On error the old table stays. It closes all fds in any case.
func (m *Memory) Replace(rs []Region, fds []int) error {
	defer closeAll(fds)
	if len(rs) != len(fds) {
		return fmt.Errorf("%w: %d regions with %d files", ErrRegion, len(rs), len(fds))
	}
	if len(rs) > MaxRegions {
		return errTooMany(len(rs))
	}
	maps, err := m.mapAll(rs, fds)
	// The table takes references of its own.
	defer releaseAll(maps)
	if err == nil {
		err = sortRegions(maps)
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	old := m.swapLocked(maps)
	m.mu.Unlock()
	old.Release()
	return nil
}

// Add adds a region with its file (VHOST_USER_ADD_MEM_REG). A region that is there already, with
// the same addresses and size, is replaced: QEMU adds its memory anew when a device is plugged
// again. One that overlaps others in any other way is refused. It closes fd in any case.
func (m *Memory) Add(r Region, fd int) error {
	defer closeAll([]int{fd})
	if err := r.check(); err != nil {
		return err
	}
	add, err := mapRegion(r, fd, m.budget)
	if err != nil {
		return err
	}
	defer add.release()
	return m.change(func(maps []*mapping) ([]*mapping, error) {
		i := slices.IndexFunc(maps, func(o *mapping) bool { return o.overlaps(r) })
		switch {
		case i < 0 && len(maps) == MaxRegions:
			return nil, errTooMany(len(maps) + 1)
		case i < 0:
			maps = append(maps, add)
		case maps[i].same(r):
			maps[i] = add
		default:
			return nil, errOverlap(maps[i].Region, r)
		}
		return maps, sortRegions(maps)
	})
}

// Remove takes the region with the same addresses and size out of the table, or returns
// ErrNoRegion. It stays mapped as long as users of older tables need it.
func (m *Memory) Remove(r Region) error {
	return m.change(func(maps []*mapping) ([]*mapping, error) {
		i := slices.IndexFunc(maps, func(o *mapping) bool { return o.same(r) })
		if i < 0 {
			return nil, fmt.Errorf("%w: %#x bytes at %#x", ErrNoRegion, r.Size, r.GPA)
		}
		return slices.Delete(maps, i, i+1), nil
	})
}

// Reset empties the table and drops the dirty log.
func (m *Memory) Reset() {
	m.mu.Lock()
	old := m.swapLocked(nil)
	m.mu.Unlock()
	old.Release()
	m.log.drop()
}

// change replaces the table by what edit makes of a copy of its regions.
func (m *Memory) change(edit func([]*mapping) ([]*mapping, error)) error {
	m.mu.Lock()
	maps, err := edit(slices.Clone(m.current.regions))
	if err != nil {
		m.mu.Unlock()
		return err
	}
	old := m.swapLocked(maps)
	m.mu.Unlock()
	old.Release() // outside the lock: unmapping gigabytes takes its time
	return nil
}

// swapLocked makes a table of regions the current one and returns the old one with our reference.
func (m *Memory) swapLocked(regions []*mapping) *Table {
	old := m.current
	m.current = newTable(regions, old.gen+1)
	m.gen.Store(m.current.gen)
	return old
}

// mapAll returns what it mapped so far with an error, too.
func (m *Memory) mapAll(rs []Region, fds []int) (maps []*mapping, err error) {
	for i, r := range rs {
		if err := r.check(); err != nil {
			return maps, err
		}
		mp, err := mapRegion(r, fds[i], m.budget)
		if err != nil {
			return maps, err
		}
		maps = append(maps, mp)
	}
	return maps, nil
}

func releaseAll(maps []*mapping) {
	for _, mp := range maps {
		mp.release()
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func errTooMany(n int) error {
	return fmt.Errorf("%w: %d regions, at most %d", ErrRegion, n, MaxRegions)
}

func errOverlap(a, b Region) error {
	return fmt.Errorf("%w: %#x bytes at %#x overlap %#x bytes at %#x",
		ErrRegion, b.Size, b.GPA, a.Size, a.GPA)
}
