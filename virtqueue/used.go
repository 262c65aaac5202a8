// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"encoding/binary"
	"fmt"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// The used side, and notifications both ways.
//
// A completion is first noted in Go memory, and written to the ring when it is published, with
// others, by one goroutine that is guarded. So a completion as such cannot fault, and the loop pays
// for guest memory and fences once a batch.
//
// There are two places where a store must be visible before a later load, which needs a full fence:
//   - publish used.idx, then read whether the driver wants to be notified. The driver says that it
//     does, then looks at used.idx: one of the two sees the other's store.
//   - ask to be notified, then look at avail.idx. The same with the parts exchanged.

// Flags by which one side tells the other not to notify it (virtio 1.2 sections 2.7.6 and 2.7.8).
const (
	availNoInterrupt = 1 // VIRTQ_AVAIL_F_NO_INTERRUPT
	usedNoNotify     = 1 // VIRTQ_USED_F_NO_NOTIFY
)

// Done completes the chain; written bytes, counted from the start of Writable, are the answer. It is
// to be called exactly once, from any goroutine. The chain and its buffers are not the caller's any
// more then. Called in Handle, the driver learns of it with the loop's next batch, otherwise at once.
func (c *Chain) Done(written int) {
	if written < 0 || uint64(written) > c.room {
		panic(fmt.Sprintf("virtqueue: %d bytes written to a chain with room for %d", written, c.room))
	}
	if !c.q.finish(c, uint32(written)) {
		panic("virtqueue: chain completed twice")
	}
}

// finish completes a chain; false: it was not in flight. Any goroutine may call it.
func (q *Queue) finish(c *Chain, n uint32) bool {
	if q.mem.LogEnabled() {
		q.report(guestmem.Guard(c.markDirty))
	}
	q.mu.Lock()
	if !c.inflight {
		q.mu.Unlock()
		return false
	}
	mine := c == q.latest
	table := q.retireLocked(c, n)
	q.mu.Unlock()
	if table != nil {
		table.Release()
	}
	if !mine {
		q.report(guestmem.Guard(q.publish))
	}
	return true
}

// retireLocked notes the completion and gives the slot back. It returns a table for the caller to
// release, if c was the last to need it.
func (q *Queue) retireLocked(c *Chain, n uint32) (table *guestmem.Table) {
	q.pending = append(q.pending, usedElem{c.Head, n})
	q.freeLocked(c)
	c.inflight = false
	if q.inflight--; q.inflight == 0 {
		q.idle.Broadcast()
	}
	e := c.epoch
	if e.inflight--; e.inflight == 0 && e.retired {
		return e.table
	}
	return nil
}

// markDirty marks all that the device may have written for c, also beyond the answer: a read that
// failed halfway has left something behind.
func (c *Chain) markDirty() {
	for _, s := range c.spans {
		c.q.mem.MarkDirty(s.gpa, s.n)
	}
}

func (q *Queue) report(err error) {
	if err == nil {
		return
	}
	q.mu.Lock()
	fn := q.fault
	q.mu.Unlock()
	if fn != nil {
		fn(err)
	}
}

// Flush publishes what is completed. From now on the chain that was popped last is one like others:
// its completion is published at once.
func (q *Queue) Flush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.latest = nil
	q.publishLocked()
}

func (q *Queue) publish() {
	q.mu.Lock()
	defer q.mu.Unlock() // deferred, as publishing may fault
	q.publishLocked()
}

// publishLocked writes what is pending to the used ring and notifies the driver if it wants it.
// While the ring is not mapped it stays pending.
func (q *Queue) publishLocked() {
	if len(q.pending) == 0 || q.ring.used == nil {
		return
	}
	idx := q.used
	for _, e := range q.pending {
		off := headSize + usedSize*int(idx&(q.size-1))
		elem := uint64(e.head) | uint64(e.n)<<32 // struct virtq_used_elem: le32 id, le32 len
		binary.LittleEndian.PutUint64(q.ring.used[off:], elem)
		q.logLocked(off, usedSize)
		idx++
	}
	// The driver may use a head again as soon as it sees the index, so it must be free before.
	for _, e := range q.pending {
		q.busy[e.head/64] &^= 1 << (e.head % 64)
	}
	q.pending = q.pending[:0]
	guestmem.StoreRelease16(q.ring.used[idxOffset:], idx)
	q.used = idx
	q.logLocked(idxOffset, 2)
	if q.wantedLocked() && q.notify != nil {
		q.notify()
	}
}

// wantedLocked reports whether the driver wants to hear of what was published since it was last
// asked.
func (q *Queue) wantedLocked() bool {
	guestmem.Fence() // used.idx is visible before the wish is read
	if !q.eventIdx {
		return guestmem.LoadAcquire16(q.ring.avail)&availNoInterrupt == 0
	}
	event := guestmem.LoadAcquire16(q.ring.avail[headSize+2*int(q.size):])
	old, known := q.told, q.toldOnce
	q.told, q.toldOnce = q.used, true
	// Linux vring_need_event: has used.idx passed event since it was old?
	return !known || q.used-event-1 < q.used-old
}

// logLocked marks n bytes at off of the used ring as written.
func (q *Queue) logLocked(off int, n uint64) {
	if q.logUsed && q.mem.LogEnabled() {
		q.mem.MarkDirty(q.logAddr+uint64(off), n)
	}
}

// Suppress tells the driver that it need not notify the device. With EVENT_IDX there is nothing to
// tell: it stays quiet until the index that Rearm asked for has come once more.
func (q *Queue) Suppress() {
	// An error comes again from Pop.
	if q.refresh() != nil || q.eventIdx {
		return
	}
	q.setFlags(usedNoNotify)
}

// Rearm asks the driver to notify the device of the next chain, and reports whether one, or an
// index that makes no sense, is there already: then Pop is due, and no notification may come.
func (q *Queue) Rearm() (more bool) {
	if q.ring.used == nil {
		return false
	}
	if q.eventIdx {
		q.setEvent(q.next)
	} else {
		q.setFlags(0)
	}
	guestmem.Fence() // the wish is visible before avail.idx is read
	more, err := q.look()
	return more || err != nil
}

func (q *Queue) setFlags(flags uint16) {
	q.mu.Lock()
	defer q.mu.Unlock()
	guestmem.StoreRelease16(q.ring.used, flags)
	q.logLocked(0, 2)
}

func (q *Queue) setEvent(idx uint16) {
	off := headSize + usedSize*int(q.size)
	q.mu.Lock()
	defer q.mu.Unlock()
	guestmem.StoreRelease16(q.ring.used[off:], idx)
	q.logLocked(off, 2)
}
