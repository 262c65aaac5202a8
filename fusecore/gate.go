// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"sync"
	"sync/atomic"
)

// gate knows every request that is inside the file system, lets nobody in while it is closed,
// and cancels requests. Requests are spread over shards so that queues do not meet on one lock.
//
// close, drain and open are called by one goroutine at a time (Session.control); all other
// methods by any.
type gate struct {
	last   atomic.Uint32 // shard number given last
	shards [8]gateShard
}

// gateShard is a part of the gate's requests.
type gateShard struct {
	mu     sync.Mutex
	change sync.Cond // with mu: opened, or empty while closed
	// Guarded by mu:
	closed bool
	first  *Request // linked by Request.flight
	_      [64]byte // the next shard's lock is on another cache line
}

// flight is the gate's part of a Request.
type flight struct {
	home       uint32 // number of the shard plus one, 0: none yet; belongs to the request's goroutine
	next, prev *Request
	unique     uint64
	cancelled  bool // cancel is closed
	// cancel is closed when the request is interrupted. It is made by the request's own
	// goroutine in enter, and kept for later requests until it was used.
	cancel chan struct{}
}

func newGate() *gate {
	g := new(gate)
	for i := range g.shards {
		g.shards[i].change.L = &g.shards[i].mu
	}
	return g
}

func (g *gate) shard(r *Request) *gateShard {
	if r.flight.home == 0 {
		r.flight.home = g.last.Add(1)%uint32(len(g.shards)) + 1
	}
	return &g.shards[r.flight.home-1]
}

// enter lets r in, which must leave again. A closed gate is waited for when wait is set;
// without it enter returns false.
func (g *gate) enter(r *Request, unique uint64, wait bool) bool {
	s := g.shard(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.closed {
		if !wait {
			return false
		}
		s.change.Wait()
	}
	f := &r.flight
	if f.cancel == nil || f.cancelled {
		f.cancel, f.cancelled = make(chan struct{}), false
	}
	f.unique = unique
	f.next, f.prev = s.first, nil
	if f.next != nil {
		f.next.flight.prev = r
	}
	s.first = r
	return true
}

// leave takes r out.
func (g *gate) leave(r *Request) {
	s := g.shard(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &r.flight
	if f.next != nil {
		f.next.flight.prev = f.prev
	}
	if f.prev != nil {
		f.prev.flight.next = f.next
	} else {
		s.first = f.next
	}
	f.next, f.prev = nil, nil
	if s.closed && s.first == nil {
		s.change.Broadcast()
	}
}

// close lets nobody in from now on.
func (g *gate) close() { g.setClosed(true) }

// open ends close.
func (g *gate) open() { g.setClosed(false) }

func (g *gate) setClosed(closed bool) {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		s.closed = closed
		s.change.Broadcast()
		s.mu.Unlock()
	}
}

// drain reports whether a closed gate has nobody inside; with wait it waits until then.
func (g *gate) drain(wait bool) bool {
	for i := range g.shards {
		if !g.shards[i].drain(wait) {
			return false
		}
	}
	return true
}

func (s *gateShard) drain(wait bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.first != nil {
		if !wait {
			return false
		}
		s.change.Wait()
	}
	return true
}

// cancelAll interrupts everybody inside.
func (g *gate) cancelAll() {
	g.cancel(func(*flight) bool { return true })
}

// cancelUnique interrupts the requests with this unique id and reports whether there were any.
func (g *gate) cancelUnique(unique uint64) bool {
	return g.cancel(func(f *flight) bool { return f.unique == unique })
}

func (g *gate) cancel(match func(*flight) bool) (found bool) {
	for i := range g.shards {
		if g.shards[i].cancel(match) {
			found = true
		}
	}
	return found
}

func (s *gateShard) cancel(match func(*flight) bool) (found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := s.first; r != nil; r = r.flight.next {
		if !match(&r.flight) {
			continue
		}
		found = true
		if !r.flight.cancelled {
			r.flight.cancelled = true
			close(r.flight.cancel)
		}
	}
	return found
}
