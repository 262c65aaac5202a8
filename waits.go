// SPDX-License-Identifier: Apache-2.0

package virtiofs

import (
	"sync"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue"
)

// maxWaits bounds how many requests of one VM wait for others: each is a goroutine, of some 10 KB. And
// maxWaitBytes bounds the memory that they take beside that.
const (
	maxWaits     = 4096
	maxWaitBytes = 32 << 20
)

// waits knows how many requests of one VM wait for other requests of its own, as for a lock. They
// take no worker, and at most half of the descriptors of any ring, so that the request that ends
// their waiting finds a place there.
type waits struct {
	mu    sync.Mutex
	all   int                         // requests
	bytes int                         // that they take
	descs [1 + MaxRequestQueues]int32 // of each ring, that such requests hold
}

// waiting is what a request counts for. The request itself may be another one's when it leaves.
type waiting struct{ queue, descs, bytes int }

func newWaiting(queue int, c *virtqueue.Chain) waiting { return waiting{queue, c.Descs, sizeOf(c)} }

// enter takes in a request of a ring of size descriptors; false: there are too many. It must leave.
func (w *waits) enter(r waiting, size uint16) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= maxWaits || w.bytes+r.bytes > maxWaitBytes || int(w.descs[r.queue])+r.descs > int(size)/2 {
		return false
	}
	w.all++
	w.bytes += r.bytes
	w.descs[r.queue] += int32(r.descs)
	return true
}

func (w *waits) leave(r waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	w.bytes -= r.bytes
	w.descs[r.queue] -= int32(r.descs)
}
