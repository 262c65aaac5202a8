// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"hash/maphash"
	"time"

	"golang.org/x/sys/unix"
)

// maxFrames is a limit on the size of a cache: 1 TiB.
const maxFrames = 1 << 28

// link is a frame's place in the queues and the page that it was given to. It is guarded by Cache.mu.
type link struct {
	page       int64
	prev, next uint32
	owner      uint32 // slot in Cache.owners
	tenant     uint16 // in Cache.all: in whose queue it is
	queue      queueName
	resident   bool // the system has given memory for it
}

func (c *Cache) initFrames() {
	c.pages = make([]page, c.frames+1)
	c.links = make([]link, c.frames+1)
	c.owners = []*mapping{nil}
	c.common = &Tenant{}
	c.all = []*Tenant{c.common}
	c.ghosts.init(c.frames)
	c.trim.c = c
	for i := c.frames; i > 0; i-- {
		c.pushFront(freeQueue, uint32(i))
	}
}

// frame is the memory of frame i.
func (c *Cache) frame(i uint32) []byte {
	return c.mem[int(i-1)*PageSize : int(i)*PageSize : int(i)*PageSize]
}

// newMapping makes a mapping. Called with Cache.table.
func (c *Cache) newMapping(k Key, t *Tenant) *mapping {
	if t == nil {
		t = c.common
	}
	m := &mapping{c: c, key: k, tenant: t, worth: worth{mean: start * meanOf}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.born++
	m.hash = c.hashStart + c.born
	if n := len(c.spare); n > 0 {
		m.slot, c.spare = c.spare[n-1], c.spare[:n-1]
		c.owners[m.slot] = m
	} else {
		m.slot = uint32(len(c.owners))
		c.owners = append(c.owners, m)
	}
	return m
}

// removeMapping ends a mapping that no File has. Called with Cache.table.
func (c *Cache) removeMapping(m *mapping) {
	delete(c.mappings, m.key)
	m.mu.Lock()
	m.dropAll()
	m.unlock()
	c.mu.Lock()
	c.owners[m.slot] = nil
	c.spare = append(c.spare, m.slot)
	c.mu.Unlock()
}

// maxReaped is at how many mappings reap looks, as it holds Cache.table.
const maxReaped = 16

// reap ends mappings of closed files that have lost their last page. It is called for each mapping that
// is made, so that what mappings cost is bounded by the pages, not by the files that were ever open.
// Called with Cache.table.
func (c *Cache) reap() {
	var some [maxReaped]*mapping
	c.mu.Lock()
	n := copy(some[:], c.lost[max(len(c.lost)-maxReaped, 0):])
	clear(c.lost[len(c.lost)-n:])
	c.lost = c.lost[:len(c.lost)-n]
	for _, m := range some[:n] {
		m.listed = false
	}
	c.mu.Unlock()
	for _, m := range some[:n] {
		if m.refs == 0 && c.mappings[m.key] == m && m.empty() {
			c.removeMapping(m)
		}
	}
}

// losing notes that the mapping which a frame was given to loses its page. Called with Cache.mu.
func (c *Cache) losing(i uint32) {
	if m := c.owners[c.links[i].owner]; m != nil && !m.listed {
		m.listed = true
		c.lost = append(c.lost, m)
	}
}

// take gives a frame to page n of m, for the caller to fill and to enter in m.pages, or to free.
// 0: there is none, and nobody waits for one. Called without m.mu.
func (c *Cache) take(m *mapping, n int64) uint32 {
	for {
		if i := c.tryTake(m, n); i != 0 || !c.planted.waitFrame || c.isDown() {
			return i
		}
		time.Sleep(time.Millisecond)
	}
}

func (c *Cache) isDown() bool {
	select {
	case <-c.down:
		return true
	default:
		return false
	}
}

func (c *Cache) tryTake(m *mapping, n int64) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.unused.first
	if i == 0 {
		if i = c.evict(m.tenant); i == 0 {
			return 0
		}
	} else {
		c.unlink(i)
	}
	l := &c.links[i]
	l.owner, l.page, l.tenant, l.resident = m.slot, n, m.tenant.index, true
	c.pages[i] = page{}
	if c.ghosts.remove(pageHash(m, n)) {
		c.pushFront(mainQueue, i) // it was thrown out too early
	} else {
		c.pushFront(smallQueue, i)
	}
	c.trim.used()
	return i
}

// free takes frames back.
func (c *Cache) free(frames []uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range frames {
		c.unlink(i)
		c.losing(i)
		c.links[i].owner = 0
		c.pushFront(freeQueue, i)
	}
}

var pageSeed = maphash.MakeSeed()

func pageHash(m *mapping, n int64) uint64 {
	return maphash.Comparable(pageSeed, [2]uint64{m.hash, uint64(n)})
}

// trim gives the memory of frames back to the system: of free ones after a while, of all when
// the cache was not used for as long. It is guarded by Cache.mu.
type trim struct {
	c      *Cache
	timer  *time.Timer
	busy   bool // a frame was taken since the last pass
	closed bool
}

// used starts the clock.
func (t *trim) used() {
	t.busy = true
	if t.timer == nil && !t.closed {
		t.timer = time.AfterFunc(t.c.idle, t.pass)
	}
}

func (t *trim) stop() {
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// pass is the timer's function.
func (t *trim) pass() {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	if t.closed {
		return
	}
	if !t.busy {
		t.c.evictIdle()
	}
	t.busy = false
	if t.c.giveBack() {
		t.timer.Reset(t.c.idle)
	} else {
		t.timer = nil // until a frame is taken
	}
}

// giveBack returns the memory of free frames, as far as they make up whole pages of the system, and
// tells whether others have some.
func (c *Cache) giveBack() (more bool) {
	system := unix.Getpagesize()
	for i := 1; i <= c.frames; i++ {
		first := i
		for i <= c.frames && c.links[i].resident && c.links[i].queue == freeQueue {
			i++
		}
		from := (first*PageSize - PageSize + system - 1) / system * system
		to := (i*PageSize - PageSize) / system * system
		if from < to { // an error would cost memory, nothing else
			_ = unix.Madvise(c.mem[from:to], unix.MADV_DONTNEED)
			for k := from / PageSize; k < to/PageSize; k++ {
				c.links[k+1].resident = false
			}
		}
		more = more || i <= c.frames && c.links[i].resident
	}
	return more
}
