// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"sync"
	"sync/atomic"
)

// inflight knows every request that is inside the file system, so that it can cancel them and
// wait for them. Requests are spread over shards so that queues do not meet on one lock.
type inflight struct {
	last   atomic.Uint32 // shard number given last
	hurry  atomic.Int32  // above 0: who enters is cancelled at once
	rush   atomic.Int32  // above 0: so is who enters to wait for others
	shards [8]inflightShard
}

// inflightShard is a part of the requests.
type inflightShard struct {
	mu    sync.Mutex
	empty sync.Cond // with mu: first became nil
	first *Request  // linked by Request.flight; guarded by mu
	_     [64]byte  // the next shard's lock is on another cache line
}

// flight is inflight's part of a Request. All but home and cancel is guarded by the shard's
// lock.
type flight struct {
	home       uint32 // number of the shard plus one, 0: none yet; belongs to the request's goroutine
	next, prev *Request
	unique     uint64
	waits      bool // may wait for others
	cancelled  bool // cancel is closed
	asked      bool // ... by an INTERRUPT of the guest's
	// cancel is closed when the request is interrupted. The request's own goroutine makes it
	// in enter, and keeps it for later requests until it was used.
	cancel chan struct{}
}

func newInflight() *inflight {
	g := new(inflight)
	for i := range g.shards {
		g.shards[i].empty.L = &g.shards[i].mu
	}
	return g
}

func (g *inflight) shard(r *Request) *inflightShard {
	if r.flight.home == 0 {
		r.flight.home = g.last.Add(1)%uint32(len(g.shards)) + 1
	}
	return &g.shards[r.flight.home-1]
}

// enter takes r in; it must leave again.
func (g *inflight) enter(r *Request, unique uint64) {
	s := g.shard(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &r.flight
	if f.cancel == nil || f.cancelled {
		f.cancel, f.cancelled = make(chan struct{}), false
	}
	f.unique, f.waits, f.asked = unique, r.WaitsForOthers(), false
	f.next, f.prev = s.first, nil
	if f.next != nil {
		f.next.flight.prev = r
	}
	s.first = r
	// Whoever sets one of these cancels those that are linked after that, so one of us sees the other.
	if g.hurry.Load() > 0 || g.rush.Load() > 0 && f.waits {
		f.interrupt()
	}
}

// interrupt closes cancel. The shard's lock is held.
func (f *flight) interrupt() {
	if !f.cancelled {
		f.cancelled = true
		close(f.cancel)
	}
}

// leave takes r out.
func (g *inflight) leave(r *Request) {
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
	if s.first == nil {
		s.empty.Broadcast()
	}
}

// asked reports whether the guest has interrupted r, which is inside.
func (g *inflight) asked(r *Request) bool {
	s := g.shard(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.flight.asked
}

// drain reports whether nobody is inside; with wait it waits until everybody who was has left.
// The caller has seen to it that nobody enters any more.
func (g *inflight) drain(wait bool) bool {
	for i := range g.shards {
		if !g.shards[i].drain(wait) {
			return false
		}
	}
	return true
}

func (s *inflightShard) drain(wait bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.first != nil {
		if !wait {
			return false
		}
		s.empty.Wait()
	}
	return true
}

// cancelAll interrupts everybody inside.
func (g *inflight) cancelAll() {
	g.cancel(func(*flight) bool { return true })
}

// cancelWaits interrupts those that wait for others.
func (g *inflight) cancelWaits() {
	g.cancel(func(f *flight) bool { return f.waits })
}

// cancelUnique interrupts the requests with this unique id and reports whether there were any.
func (g *inflight) cancelUnique(unique uint64) bool {
	return g.cancel(func(f *flight) bool {
		f.asked = f.asked || f.unique == unique
		return f.unique == unique
	})
}

func (g *inflight) cancel(match func(*flight) bool) (found bool) {
	for i := range g.shards {
		if g.shards[i].cancel(match) {
			found = true
		}
	}
	return found
}

func (s *inflightShard) cancel(match func(*flight) bool) (found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := s.first; r != nil; r = r.flight.next {
		if match(&r.flight) {
			found = true
			r.flight.interrupt()
		}
	}
	return found
}
