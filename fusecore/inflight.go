// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"sync"
	"sync/atomic"
)

// inflight knows every request that is inside the file system, so that it can cancel them and
// wait for them, and those on their way there from the loop to another goroutine, which an INTERRUPT
// must find, too. Requests are spread over shards so that queues do not meet on one lock.
type inflight struct {
	last   atomic.Uint32 // shard number given last
	hurry  atomic.Int32  // above 0: who enters is cancelled at once
	rush   atomic.Int32  // above 0: so is who enters to wait for others
	shards [8]inflightShard
}

// inflightShard is a part of the requests.
type inflightShard struct {
	mu    sync.Mutex
	empty sync.Cond // with mu: inside became 0
	// Guarded by mu.
	first  *Request // linked by Request.flight
	inside int      // requests that are linked and not on their way

	_ [64]byte // the next shard's lock is on another cache line
}

// flight is inflight's part of a Request. All but home and cancel is guarded by the shard's
// lock; onWay is written by the request's goroutine alone, which reads it without.
type flight struct {
	home       uint32 // number of the shard plus one, 0: none yet; belongs to the request's goroutine
	onWay      bool   // linked, but not inside yet
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

// start takes in r, which is on its way to another goroutine: it must enter or turn back.
func (g *inflight) start(r *Request, unique uint64) {
	s := g.shard(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.flight.onWay { // else its last one never arrived
		s.link(r)
	}
	r.flight.unique, r.flight.onWay, r.flight.asked = unique, true, false
}

// turnBack takes r out if it is still on its way.
func (g *inflight) turnBack(r *Request) {
	if !r.flight.onWay {
		return
	}
	s := g.shard(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	r.flight.onWay = false
	s.unlink(r)
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
	if f.onWay {
		f.onWay = false
	} else {
		f.asked = false
		s.link(r)
	}
	s.inside++
	f.unique, f.waits = unique, r.WaitsForOthers()
	// Whoever sets one of these cancels those that are linked after that, so one of us sees the other.
	if f.asked || g.hurry.Load() > 0 || g.rush.Load() > 0 && f.waits {
		f.interrupt()
	}
}

// link puts r first. mu is held.
func (s *inflightShard) link(r *Request) {
	f := &r.flight
	f.next, f.prev = s.first, nil
	if f.next != nil {
		f.next.flight.prev = r
	}
	s.first = r
}

// unlink takes r out of the list. mu is held.
func (s *inflightShard) unlink(r *Request) {
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
	s.unlink(r)
	if s.inside--; s.inside == 0 {
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
	for s.inside > 0 {
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

// cancelUnique interrupts the requests with this unique id, those on their way as soon as they are
// inside, and reports whether there were any.
func (g *inflight) cancelUnique(unique uint64) (found bool) {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		for r := s.first; r != nil; r = r.flight.next {
			if f := &r.flight; f.unique == unique {
				found, f.asked = true, true
				if !f.onWay {
					f.interrupt()
				}
			}
		}
		s.mu.Unlock()
	}
	return found
}

// cancel interrupts those inside that match.
func (g *inflight) cancel(match func(*flight) bool) {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		for r := s.first; r != nil; r = r.flight.next {
			if f := &r.flight; !f.onWay && match(f) {
				f.interrupt()
			}
		}
		s.mu.Unlock()
	}
}
