// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"errors"
	"fmt"
	"sync"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// ErrBroken says that the avail ring makes no sense; nothing more can be popped from it.
var ErrBroken = errors.New("virtqueue: broken ring")

// Queue is one split ring.
//
// It has two sides. The avail side belongs to one goroutine, the loop. The used side is guarded by
// mu, so that chains can be completed from any goroutine. Methods are the loop's unless they say
// otherwise.
//
// What touches the ring can fault, and the loop calls it under guestmem.Guard; only Chain.Done and
// Close guard themselves. A fault leaves the queue consistent: nothing is half published.
type Queue struct {
	mem      *guestmem.Memory
	size     uint16
	eventIdx bool

	// The avail side: the loop's.
	cfg     Config
	next    uint16 // avail entry to serve next
	avail   uint16 // avail.idx as last read
	current *Chain // popped, and not yet given back by its handler
	scratch []byte // copy of an indirect table

	// The used side. mu is held over writes to the used ring and over notify, which are short and do
	// not block. Under it only locks of the memory are taken.
	mu       sync.Mutex
	ring     views  // zero: not mapped now. Written by the loop, which may read it without mu
	epoch    *epoch // the table that ring and new chains are in; as ring
	notify   func() // tells the driver of used buffers; nil: nobody to tell
	fault    func(error)
	logUsed  bool
	logAddr  uint64
	used     uint16 // used.idx as published
	told     uint16 // used when the driver's wish to be notified was last looked at ...
	toldOnce bool   // ... if it ever was
	pending  []usedElem
	busy     []uint64 // a bit for each head from Pop until its publication
	inflight int      // chains from Pop until Done
	idle     sync.Cond
	free     []*Chain // slots to use again, the warmest on top
	spare    int      // bytes that they take
	latest   *Chain   // popped last: publishing its completion is left to the loop
}

// usedElem is a completion to be published.
type usedElem struct {
	head uint16
	n    uint32
}

// epoch pins the table that chains were popped from. Counting them under the queue's lock is free,
// unlike a reference for each chain on the table, which all queues share.
type epoch struct {
	table    *guestmem.Table
	inflight int
	retired  bool // the queue has moved on: the last chain releases the table
}

// maxBatch is after how many completions on the loop they are published at the latest. A
// publication costs a fence here and a cache miss there; a long batch costs latency.
const maxBatch = 16

// NewQueue looks the ring up in mem and goes on where used.idx stands. The queue holds mapped memory
// until Close.
func NewQueue(mem *guestmem.Memory, c Config) (*Queue, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	q := &Queue{
		mem: mem, size: c.Size, eventIdx: c.EventIdx, cfg: c, next: c.Base, avail: c.Base,
		logUsed: c.LogUsed, logAddr: c.LogAddr,
		busy: make([]uint64, (int(c.Size)+63)/64),
	}
	q.idle.L = &q.mu
	table := mem.Acquire()
	ring, err := c.resolve(table)
	if err == nil {
		err = guestmem.Guard(func() { q.used = guestmem.LoadAcquire16(ring.used[idxOffset:]) })
	}
	if err != nil {
		table.Release()
		return nil, err
	}
	q.ring, q.epoch = ring, &epoch{table: table}
	return q, nil
}

// SetNotify makes fn what tells the driver of used buffers; nil: nothing. It is called by any
// goroutine, with the queue locked, and must not block. When SetNotify returns, the old one is not
// called any more. Any goroutine may call it.
func (q *Queue) SetNotify(fn func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notify = fn
}

// SetFault makes fn what learns of faults in Chain.Done, in the goroutine that called it. Any
// goroutine may call it.
func (q *Queue) SetFault(fn func(error)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fault = fn
}

// SetLog changes how writes to the used ring are logged (see Config), from the next one on. Any
// goroutine may call it.
func (q *Queue) SetLog(on bool, addr uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.logUsed, q.logAddr = on, addr
}

// Move takes the addresses of the ring from c and looks it up again, also when they are the same.
// Nothing else in c counts. On error the ring is not mapped, until a later Move or change of the
// memory brings it back.
func (q *Queue) Move(c Config) error {
	q.cfg.Desc, q.cfg.Avail, q.cfg.Used = c.Desc, c.Avail, c.Used
	return q.remap()
}

// refresh follows changes of the memory table.
func (q *Queue) refresh() error {
	if q.mem.Generation() == q.epoch.table.Generation() && q.ring.used != nil {
		return nil
	}
	return q.remap()
}

// remap looks the ring up in the current table. The old table is let go with its last chain.
func (q *Queue) remap() error {
	e := &epoch{table: q.mem.Acquire()}
	ring, err := q.cfg.resolve(e.table)
	q.mu.Lock()
	old := q.epoch
	q.epoch, q.ring = e, ring
	old.retired = true
	idle := old.inflight == 0
	q.mu.Unlock()
	if idle {
		old.table.Release()
	}
	return err
}

// Pop takes the next chain off the avail ring. It returns nil and no error when there is none, an
// error that wraps ErrChain for one that was malformed and has been completed with length 0, and
// others (ErrBroken, ErrConfig) when the ring cannot be used as it is.
//
// Completing the chain that was popped last does not publish it, as more may follow at once: a later
// Pop does, when enough have gathered, or Flush.
func (q *Queue) Pop() (*Chain, error) {
	if err := q.refresh(); err != nil {
		return nil, err
	}
	if q.next == q.avail {
		if more, err := q.look(); !more {
			return nil, err
		}
	}
	slot := int(q.next & (q.size - 1))
	head := guestmem.LoadAcquire16(q.ring.avail[headSize+2*slot:])
	if head >= q.size {
		return nil, fmt.Errorf("%w: head %d of %d", ErrBroken, head, q.size)
	}
	c, err := q.claim(head)
	if err != nil {
		return nil, err
	}
	q.next++
	if err := q.walk(c, q.ring.desc, head, false); err != nil {
		q.Returned()
		q.finish(c, 0)
		return nil, err
	}
	return c, nil
}

// look reads avail.idx and reports whether there is anything to pop.
func (q *Queue) look() (more bool, err error) {
	idx := guestmem.LoadAcquire16(q.ring.avail[idxOffset:])
	if ahead := idx - q.next; ahead > q.size {
		return false, fmt.Errorf("%w: avail index %d is %d ahead", ErrBroken, idx, ahead)
	}
	q.avail = idx
	return idx != q.next, nil
}

// claim takes a slot for the chain at head, which is in flight from now on.
func (q *Queue) claim(head uint16) (*Chain, error) {
	q.mu.Lock()
	defer q.mu.Unlock() // deferred, as publishing may fault
	if len(q.pending) >= maxBatch {
		q.publishLocked()
	}
	word, bit := head/64, uint64(1)<<(head%64)
	if q.busy[word]&bit != 0 {
		return nil, fmt.Errorf("%w: head %d is in flight already", ErrBroken, head)
	}
	q.busy[word] |= bit
	c := q.slotLocked()
	c.reset(head, q.epoch)
	q.epoch.inflight++
	q.inflight++
	q.latest, q.current = c, c
	return c, nil
}

func (q *Queue) slotLocked() *Chain {
	n := len(q.free)
	if n == 0 {
		return &Chain{q: q}
	}
	c := q.free[n-1]
	q.free = q.free[:n-1]
	q.spare -= slotSize + c.Size()
	return c
}

// maxSpare is how many bytes of slots are kept to be used again, and slotSize what one takes beside
// its lists, with the Data of its owner. A driver that once had many requests in flight, or long ones,
// does not keep that memory.
const (
	maxSpare = 1 << 20
	slotSize = 4 << 10
)

func (q *Queue) freeLocked(c *Chain) {
	if n := slotSize + c.Size(); q.spare+n <= maxSpare {
		q.spare += n
		q.free = append(q.free, c)
	}
}

// Returned says that the handler of the chain that was popped last has returned.
func (q *Queue) Returned() { q.current = nil }

// Abandon completes, with length 0, the chain whose handler or whose Pop a fault has ended, unless it
// is done. A handler that may fault must not have handed its chain on before.
func (q *Queue) Abandon() {
	if q.current != nil {
		q.finish(q.current, 0) // false when done already: nothing to do then
		q.current = nil
	}
}

// Close waits until all chains are done, publishes and notifies, lets go of the memory, and returns
// the index of the next entry of the avail ring to serve. Nothing may be popped any more.
func (q *Queue) Close() (base uint16) {
	q.mu.Lock()
	for q.inflight > 0 {
		q.idle.Wait()
	}
	q.mu.Unlock()
	// A ring that faults now has nobody who wants to know.
	_ = guestmem.Guard(func() {
		q.Flush()
		q.Rearm() // the driver may go on with another device, which should hear of it
	})
	q.mu.Lock()
	q.ring, q.notify, q.pending = views{}, nil, nil
	q.mu.Unlock()
	q.epoch.table.Release()
	return q.next
}
