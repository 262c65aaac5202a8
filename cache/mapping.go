// SPDX-License-Identifier: Apache-2.0

package cache

import "sync"

// mapping is the cached pages of one inode, shared by all that have the file open.
type mapping struct {
	c      *Cache
	key    Key
	tenant *Tenant // who pays for the pages
	slot   uint32  // in Cache.owners, by which a frame names its mapping
	hash   uint64  // of all time: no other mapping ever has it

	refs      int  // open Files; guarded by Cache.table
	forgotten bool // nothing but the Files pins the inode; guarded by Cache.table
	listed    bool // in Cache.lost; guarded by Cache.mu

	mu       sync.Mutex       // guards what follows, and the state of the frames in pages
	pages    map[int64]uint32 // page number to frame; nil until there is one
	ranges   ranges
	fills    *fill // under way
	changing int   // changes under way: requests that hold a range lock
	mapped   int   // writable mappings that bypass the cache (DAX)
	freed    []uint32
	worth    worth

	vouched bool   // stamp is the state of the host file that the pages show
	stamp   Stamp  // taken before any page was filled
	checked int64  // when a stamp last proved the pages right
	epoch   uint64 // moves when stamp does
	drops   uint64 // how often all pages were dropped
}

// page is the state of a frame. It is guarded by the mutex of the mapping that has it in its
// pages; a frame that is in none belongs to who took it.
type page struct {
	at    int64  // when its fill or write was begun
	pins  uint32 // readers that copy out of it
	valid uint16 // bytes that are known, from the start; all 4096, but for the file's last page
	hits  uint8  // since it came, or since eviction last passed, at most maxHits
	busy  bool   // holds bytes that the host has not taken yet: answered to nobody, not evicted
	stale bool   // busy, and to be dropped when the host has answered
	dead  bool   // in no table any more: the last reader frees it
}

// unlock releases m.mu and then frees the frames that were given up under it.
func (m *mapping) unlock() {
	freed := m.freed
	m.freed = nil
	m.mu.Unlock()
	if len(freed) > 0 {
		m.c.free(freed)
	}
}

// put enters a page.
func (m *mapping) put(n int64, i uint32) {
	if m.pages == nil {
		m.pages = map[int64]uint32{}
	}
	m.pages[n] = i
}

// detach takes a page out of the table. Readers finish their copy first.
func (m *mapping) detach(n int64, i uint32) {
	delete(m.pages, n)
	p := &m.c.pages[i]
	if p.pins > 0 {
		p.dead = true
		return
	}
	m.freed = append(m.freed, i)
}

// unpin ends a reader's copy. Called with m.mu.
func (m *mapping) unpin(i uint32) {
	p := &m.c.pages[i]
	if p.pins--; p.pins == 0 && p.dead {
		m.freed = append(m.freed, i)
	}
}

// drop forgets the pages from lo to before hi. One whose bytes are on their way to the host goes
// when they have arrived.
func (m *mapping) drop(lo, hi int64) {
	one := func(n int64, i uint32) {
		if p := &m.c.pages[i]; p.busy {
			p.stale = true
		} else {
			m.detach(n, i)
		}
	}
	if hi-lo < int64(len(m.pages)) {
		for n := lo; n < hi; n++ {
			if i := m.pages[n]; i != 0 {
				one(n, i)
			}
		}
		return
	}
	for n, i := range m.pages {
		if lo <= n && n < hi {
			one(n, i)
		}
	}
}

// dropAll forgets all pages, and those that are being filled.
func (m *mapping) dropAll() {
	m.drops++
	m.drop(0, toEnd)
	m.spoil(0, toEnd)
}

// settle ends a page's time as busy: it stays, if its bytes were taken.
func (m *mapping) settle(n int64, i uint32, taken bool) {
	p := &m.c.pages[i]
	p.busy = false
	if taken && !p.stale || m.c.planted.keepRefused {
		return
	}
	m.detach(n, i)
}

// empty tells whether there are no pages.
func (m *mapping) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pages) == 0
}

// keeps tells whether pages may be kept at all.
func (m *mapping) keeps() bool { return m.mapped == 0 && m.c.frames > 0 }
