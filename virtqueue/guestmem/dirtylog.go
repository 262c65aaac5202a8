// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
)

// logPage is what one bit of the dirty log stands for (vhost-user, "Migration": VHOST_LOG_PAGE).
const logPage = 4096

// dirtyLog is the bitmap of pages that the device wrote: bit p%8 of byte p/8 for page p, counted
// from guest physical address 0. It is shared with the VMM, which collects and clears it at any
// time, so bits are set with atomic operations.
type dirtyLog struct {
	from *budget
	on   atomic.Bool // read first: the hot path costs one load

	mu   sync.RWMutex // held for reading while bits are set
	raw  []byte       // the whole mapping, page-aligned; nil: none
	skip uint64       // bits in raw before the bit of page 0
	bits uint64       // pages that the log covers
}

// SetLog makes the size bytes at offset of the file fd the dirty log (VHOST_USER_SET_LOG_BASE),
// in place of an older one. It closes fd in any case. Marking starts with EnableLog.
func (m *Memory) SetLog(fd int, size, offset uint64) error {
	defer closeAll([]int{fd})
	if size == 0 || size > math.MaxUint64/8 {
		return fmt.Errorf("%w: dirty log of %#x bytes", ErrRegion, size)
	}
	raw, skip, err := m.budget.mapFile(fd, size, offset)
	if err != nil {
		return err
	}
	m.log.set(raw, skip*8, size*8)
	return nil
}

// EnableLog turns the dirty log on or off (feature bit VHOST_F_LOG_ALL). Without a log set it marks
// nothing.
func (m *Memory) EnableLog(on bool) { m.log.on.Store(on) }

// LogEnabled reports whether writes to guest memory must be marked. One atomic load.
func (m *Memory) LogEnabled() bool { return m.log.on.Load() }

// MarkDirty sets the bits of all pages that the n bytes at gpa touch. It does nothing unless the log
// is enabled; pages beyond the log's end are left out. Call it after the write, before telling
// anybody of it, and under Guard: the log's file can be truncated like any other.
func (m *Memory) MarkDirty(gpa, n uint64) {
	if !m.log.on.Load() || n == 0 {
		return
	}
	m.log.mark(gpa, n)
}

func (l *dirtyLog) mark(gpa, n uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock() // deferred: orWord may fault
	last := gpa + n - 1
	if last < gpa {
		last = math.MaxUint64
	}
	end := min(last/logPage+1, l.bits)
	for p := gpa / logPage; p < end; p++ {
		bit := l.skip + p
		orWord(l.raw, int(bit/32), 1<<(bit%32))
	}
}

func (l *dirtyLog) set(raw []byte, skip, bits uint64) {
	l.mu.Lock()
	old := l.raw
	l.raw, l.skip, l.bits = raw, skip, bits
	l.mu.Unlock()
	if old != nil {
		l.from.munmap(old)
	}
}

func (l *dirtyLog) drop() {
	l.on.Store(false)
	l.set(nil, 0, 0)
}
