// SPDX-License-Identifier: Apache-2.0

package virtiofs

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue"
)

// Every request is carried out exactly once, never more than the limit at a time, and a
// blocked worker does not keep the others waiting.
func TestWorkersBoundAndComplete(t *testing.T) {
	const limit, requests = 3, 1000
	var (
		w          workers
		now, most  atomic.Int32
		mu         sync.Mutex
		seen       = make(map[*virtqueue.Chain]int)
		done       sync.WaitGroup
		release    = make(chan struct{})
		blocked    virtqueue.Chain
		isBlocking = make(chan struct{})
	)
	w.init(limit, func(c *virtqueue.Chain) {
		defer done.Done()
		for n := now.Add(1); ; {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		if c == &blocked {
			close(isBlocking)
			<-release
		}
		mu.Lock()
		seen[c]++
		mu.Unlock()
		now.Add(-1)
	}, func() {})
	done.Add(1)
	w.submit(&blocked)
	<-isBlocking
	chains := make([]virtqueue.Chain, requests)
	done.Add(requests)
	for i := range chains {
		w.submit(&chains[i])
	}
	for finished := 0; finished < requests; {
		mu.Lock()
		finished = len(seen)
		mu.Unlock()
	}
	close(release)
	done.Wait()
	if got := most.Load(); got > limit {
		t.Errorf("%d requests at once, want at most %d", got, limit)
	}
	for c, n := range seen {
		if n != 1 {
			t.Errorf("request %p was carried out %d times", c, n)
		}
	}
}

// Requests wait in the order in which they came, across growth and wrap-around.
func TestFifoOrder(t *testing.T) {
	var f fifo
	chains := make([]virtqueue.Chain, 100)
	in, out := 0, 0
	for out < len(chains) {
		for range 7 {
			if in < len(chains) {
				f.push(&chains[in])
				in++
			}
		}
		for range 5 {
			c := f.pop()
			if c == nil {
				break
			}
			if c != &chains[out] {
				t.Fatalf("request %d came out of order", out)
			}
			out++
		}
	}
	if f.pop() != nil {
		t.Error("an empty queue gave a request")
	}
}

// A queue waits when the requests before it take too much memory, and goes on when a worker is
// done with them.
func TestWorkersBacklog(t *testing.T) {
	const most = maxBacklog / requestSize
	var (
		w       workers
		done    sync.WaitGroup
		started = make(chan struct{}, most+8)
		release = make(chan struct{})
		full    = make(chan struct{}, 8)
	)
	w.init(1, func(*virtqueue.Chain) {
		started <- struct{}{}
		<-release
		done.Done()
	}, func() { full <- struct{}{} })
	chains := make([]virtqueue.Chain, most+3)
	done.Add(len(chains))
	w.submit(&chains[0])
	<-started // it is not in the queue any more
	for i := range most {
		w.submit(&chains[1+i])
	}
	if len(full) != 0 {
		t.Fatalf("a queue had to wait with %d requests that have room", most)
	}
	for i := range 2 {
		go w.submit(&chains[1+most+i])
		<-full
	}
	w.mu.Lock()
	if w.queue.n != most {
		t.Errorf("%d requests wait, want %d", w.queue.n, most)
	}
	w.mu.Unlock()
	close(release)
	done.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.backlog != 0 {
		t.Errorf("%d bytes of nothing", w.backlog)
	}
}

// What requests that wait for others take is bounded, and given back.
func TestWaitsBound(t *testing.T) {
	var w waits
	large := waiting{queue: 1, descs: 1, bytes: maxWaitBytes/2 + 1}
	small := waiting{queue: 2, descs: 1, bytes: requestSize}
	if !w.enter(large, 64) || w.enter(large, 64) {
		t.Fatal("two requests of more than half of the memory each, want one to be let in")
	}
	if !w.enter(small, 2) || w.enter(small, 2) {
		t.Fatal("two requests of half of a ring each, want one to be let in")
	}
	w.leave(large)
	w.leave(small)
	for i := range maxWaits {
		if !w.enter(waiting{queue: i % 65, descs: 1}, 4096) {
			t.Fatalf("request %d is refused", i)
		}
	}
	if w.enter(waiting{queue: 3, descs: 1}, 4096) {
		t.Error("one more than there may be")
	}
}
