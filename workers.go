// SPDX-License-Identifier: Apache-2.0

package virtiofs

import (
	"sync"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue"
)

// defaultWorkers bounds the threads that one guest can make the daemon have: each
// blocked system call occupies one.
const defaultWorkers = 64

// workers carries out requests that may block. At most max goroutines run; further
// requests wait in the order in which they came. A guest cannot queue more than its
// rings hold. A goroutine that finds nothing to do ends, so an idle device has none.
type workers struct {
	run func(*virtqueue.Chain)
	max int

	mu      sync.Mutex
	running int
	queue   fifo
}

func (w *workers) init(limit int, run func(*virtqueue.Chain)) {
	if limit <= 0 {
		limit = defaultWorkers
	}
	w.max, w.run = limit, run
}

// submit returns at once; run(c) is called on a worker.
func (w *workers) submit(c *virtqueue.Chain) {
	w.mu.Lock()
	w.queue.push(c)
	start := w.running < w.max
	if start {
		w.running++
	}
	w.mu.Unlock()
	if start {
		go w.work()
	}
}

func (w *workers) work() {
	for {
		w.mu.Lock()
		c := w.queue.pop()
		if c == nil {
			w.running--
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		w.run(c)
	}
}

// fifo is a ring buffer that grows to the most that was ever queued.
type fifo struct {
	buf  []*virtqueue.Chain
	head int
	n    int
}

func (f *fifo) push(c *virtqueue.Chain) {
	if f.n == len(f.buf) {
		grown := make([]*virtqueue.Chain, max(16, 2*f.n))
		for i := range f.n {
			grown[i] = f.buf[(f.head+i)%len(f.buf)]
		}
		f.buf, f.head = grown, 0
	}
	f.buf[(f.head+f.n)%len(f.buf)] = c
	f.n++
}

// pop returns nil when nothing is queued.
func (f *fifo) pop() *virtqueue.Chain {
	if f.n == 0 {
		return nil
	}
	c := f.buf[f.head]
	f.buf[f.head] = nil
	f.head = (f.head + 1) % len(f.buf)
	f.n--
	return c
}
