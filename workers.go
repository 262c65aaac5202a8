// SPDX-License-Identifier: Apache-2.0

package virtiofs

import (
	"sync"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue"
)

// defaultWorkers bounds the threads that one guest can make the daemon have: each
// blocked system call occupies one.
const defaultWorkers = 64

// maxBacklog bounds the memory of the requests of one VM that wait for a worker, in bytes: some
// 16,000 of them. Rings may hold millions, of many buffers each.
const maxBacklog = 64 << 20

// requestSize is what a request in flight takes, in bytes, beside the lists of its buffers.
const requestSize = 4 << 10

func sizeOf(c *virtqueue.Chain) int { return requestSize + c.Size() }

// workers carries out requests that may block. At most max goroutines run; further
// requests wait in the order in which they came, and when they take too much memory their
// queues wait, too: workers never wait for a queue. A goroutine that finds nothing to do ends,
// so an idle device has none.
type workers struct {
	run  func(*virtqueue.Chain)
	full func() // called when a queue has to wait
	max  int

	mu      sync.Mutex
	room    sync.Cond // with mu: backlog has shrunk
	running int
	queue   fifo
	backlog int // bytes of what is in queue
}

func (w *workers) init(limit int, run func(*virtqueue.Chain), full func()) {
	if limit <= 0 {
		limit = defaultWorkers
	}
	w.max, w.run, w.full = limit, run, full
	w.room.L = &w.mu
}

// submit has run(c) called on a worker. It returns at once, unless too many wait already.
func (w *workers) submit(c *virtqueue.Chain) {
	n := sizeOf(c)
	w.mu.Lock()
	if w.queue.n > 0 && w.backlog+n > maxBacklog {
		w.mu.Unlock()
		w.full()
		w.mu.Lock()
		for w.queue.n > 0 && w.backlog+n > maxBacklog {
			w.room.Wait()
		}
	}
	w.backlog += n
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
		w.backlog -= sizeOf(c)
		w.room.Broadcast()
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
