// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"math"
	"sync"

	"golang.org/x/sys/unix"
)

// toEnd is the end of a range of pages that has none.
const toEnd = math.MaxInt64

// rangeLock is a request's lock of the pages from lo to before hi of a mapping, held or waited for.
// All of a mapping's are in one list, in the order in which they were asked for. One is granted as
// soon as no earlier one overlaps it, held or not: nobody is overtaken by those who came later.
type rangeLock struct {
	lo, hi     int64
	prev, next *rangeLock
	held       bool
	granted    chan struct{} // of capacity 1, made for the first wait
}

var rangeLocks = sync.Pool{New: func() any { return new(rangeLock) }}

func (r *rangeLock) overlaps(lo, hi int64) bool { return r.lo < hi && lo < r.hi }

// ranges is the list. It is guarded by the mapping's mutex.
type ranges struct{ first, last *rangeLock }

func (l *ranges) push(r *rangeLock) {
	r.prev, r.next = l.last, nil
	if l.last == nil {
		l.first = r
	} else {
		l.last.next = r
	}
	l.last = r
}

func (l *ranges) remove(r *rangeLock) {
	if r.prev == nil {
		l.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		l.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
}

// free tells whether nothing before r is in its way.
func (l *ranges) free(r *rangeLock) bool {
	for e := l.first; e != r; e = e.next {
		if e.overlaps(r.lo, r.hi) {
			return false
		}
	}
	return true
}

// covers tells whether the page is in a range that is held.
func (l *ranges) covers(page int64) bool {
	for e := l.first; e != nil; e = e.next {
		if e.held && e.overlaps(page, page+1) {
			return true
		}
	}
	return false
}

// lockRange waits until the pages from lo to before hi are the caller's. EINTR: cancel was closed
// or the cache is being shut down. With nowait: EAGAIN if it would have to wait.
func (m *mapping) lockRange(cancel <-chan struct{}, lo, hi int64, nowait bool) (*rangeLock, error) {
	r := rangeLocks.Get().(*rangeLock)
	r.lo, r.hi, r.held = lo, hi, false
	m.mu.Lock()
	m.ranges.push(r)
	if m.ranges.free(r) {
		m.grant(r)
		m.mu.Unlock()
		return r, nil
	}
	if nowait {
		m.release(r)
		m.mu.Unlock()
		return nil, unix.EAGAIN
	}
	if r.granted == nil {
		r.granted = make(chan struct{}, 1)
	}
	m.mu.Unlock()
	select {
	case <-r.granted:
		return r, nil
	case <-cancel:
	case <-m.c.down:
	}
	m.mu.Lock()
	if r.held { // granted at the same moment
		<-r.granted
	}
	m.release(r)
	m.mu.Unlock()
	return nil, unix.EINTR
}

// grant gives the range to its request: from here on no fill from before may keep these pages.
func (m *mapping) grant(r *rangeLock) {
	r.held = true
	m.spoil(r.lo, r.hi)
}

// release ends a lock or a wait, and lets in those whom it was in the way of. Called with m.mu.
func (m *mapping) release(r *rangeLock) {
	next := r.next
	m.ranges.remove(r)
	for e := next; e != nil; e = e.next {
		if !e.held && e.overlaps(r.lo, r.hi) && m.ranges.free(e) {
			m.grant(e)
			e.granted <- struct{}{}
		}
	}
	rangeLocks.Put(r)
}
