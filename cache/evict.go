// SPDX-License-Identifier: Apache-2.0

package cache

// Eviction is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023):
// a page comes into a small queue, a tenth of all, and leaves the cache from there unless it was
// hit meanwhile. Then it moves to the main queue, where it lives as long as it is hit. One that
// comes again soon after it was thrown out goes to the main queue at once. So a scan passes
// through the small queue and leaves the rest alone, and a hit only counts.
//
// Each tenant has these two queues for itself, and tenant.go says in whose a place is made.

// queueName is the queue that a frame is in.
type queueName uint8

const (
	noQueue    queueName = 0
	freeQueue  queueName = 1
	smallQueue queueName = 2
	mainQueue  queueName = 3
)

const (
	// maxHits is how often a page at most is spared for its hits.
	maxHits = 3
	// maxLooks is at how many pages eviction looks before it gives up, as it holds Cache.mu.
	maxLooks = 64
)

// queue is a doubly linked list of frames. It is guarded by Cache.mu.
type queue struct {
	first, last uint32
	len         int
}

func (c *Cache) pushFront(name queueName, i uint32) {
	l := &c.links[i]
	l.queue = name
	q := c.queueOf(l)
	l.prev, l.next = 0, q.first
	if q.first == 0 {
		q.last = i
	} else {
		c.links[q.first].prev = i
	}
	q.first = i
	q.len++
}

func (c *Cache) unlink(i uint32) {
	l := &c.links[i]
	q := c.queueOf(l)
	if l.prev == 0 {
		q.first = l.next
	} else {
		c.links[l.prev].next = l.next
	}
	if l.next == 0 {
		q.last = l.prev
	} else {
		c.links[l.next].prev = l.prev
	}
	l.queue, l.prev, l.next = noQueue, 0, 0
	q.len--
}

// queueOf is the queue that l is in.
func (c *Cache) queueOf(l *link) *queue {
	switch l.queue {
	case smallQueue:
		return &c.all[l.tenant].small
	case mainQueue:
		return &c.all[l.tenant].main
	}
	return &c.unused
}

// evict takes a page out of the cache, for t, and returns its frame, unlinked, or 0.
func (c *Cache) evict(t *Tenant) uint32 {
	t = c.payer(t)
	for range maxLooks {
		name, q := mainQueue, &t.main
		if t.small.len > t.frames()/10 || t.main.len == 0 {
			name, q = smallQueue, &t.small
		}
		i := q.last
		if i == 0 {
			return 0
		}
		m, n := c.owners[c.links[i].owner], c.links[i].page
		v := m.sacrifice(n, i, name == mainQueue)
		c.unlink(i)
		switch {
		case v == gone:
			if name == smallQueue {
				c.ghosts.add(pageHash(m, n))
			}
			c.losing(i)
			return i
		case v == wanted:
			name = mainQueue
		}
		c.pushFront(name, i)
	}
	return 0
}

// verdict is what sacrifice says of a page.
type verdict uint8

const (
	gone   verdict = 0
	wanted verdict = 1 // it was hit
	inUse  verdict = 2
)

// sacrifice takes page n in frame i out of the table, unless it was hit or is in use. Called with Cache.mu.
// No mapping: it has ended, and who took the page out is about to free the frame.
func (m *mapping) sacrifice(n int64, i uint32, spend bool) verdict {
	if m == nil {
		return inUse
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := &m.c.pages[i]
	switch {
	case m.pages[n] != i, p.busy, p.pins > 0: // or on its way in or out
		return inUse
	case p.hits > 0:
		p.hits--
		if !spend {
			p.hits = 0
		}
		return wanted
	}
	if !spend {
		m.worth.read(-1)
	}
	delete(m.pages, n)
	return gone
}

// evictIdle takes all pages out. Called with Cache.mu.
func (c *Cache) evictIdle() {
	for _, t := range c.all {
		for _, q := range []*queue{&t.small, &t.main} {
			c.evictQueue(q)
		}
	}
}

func (c *Cache) evictQueue(q *queue) {
	for i := q.last; i != 0; {
		before := c.links[i].prev
		l := c.links[i]
		v := c.owners[l.owner].sacrifice(l.page, i, true)
		if v == gone {
			c.losing(i)
			c.unlink(i)
			c.pushFront(freeQueue, i)
		}
		i = before
	}
}

// ghosts remembers the pages that were thrown out last, by their hashes.
type ghosts struct {
	seen []uint64 // by the hash's low bits
	mask uint64
}

func (g *ghosts) init(frames int) {
	n := 1
	for n < frames {
		n *= 2
	}
	g.seen, g.mask = make([]uint64, n), uint64(n-1)
}

func (g *ghosts) add(h uint64) { g.seen[h&g.mask] = h }

func (g *ghosts) remove(h uint64) bool {
	if g.seen[h&g.mask] != h {
		return false
	}
	g.seen[h&g.mask] = 0
	return true
}
