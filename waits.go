// SPDX-License-Identifier: Apache-2.0

package virtiofs

import "sync"

// maxWaits bounds how many requests of one VM wait for others: each is a goroutine, of some 10 KB.
const maxWaits = 4096

// waits knows how many requests of one VM wait for other requests of its own, as for a lock. They
// take no worker, and at most half of the descriptors of any ring, so that the request that ends
// their waiting finds a place there.
type waits struct {
	mu    sync.Mutex
	all   int                         // requests
	descs [1 + MaxRequestQueues]int32 // of each ring, that such requests hold
}

// enter takes in a request that holds descs of the size descriptors of a ring; false: there are too
// many. It must leave.
func (w *waits) enter(queue, descs int, size uint16) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= maxWaits || int(w.descs[queue])+descs > int(size)/2 {
		return false
	}
	w.all++
	w.descs[queue] += int32(descs)
	return true
}

func (w *waits) leave(queue, descs int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	w.descs[queue] -= int32(descs)
}
