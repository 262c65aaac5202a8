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
	})
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
