// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// Queue is one virtqueue as the guest's driver uses it. It is for one goroutine. Requests are
// sent with Submit, or with Add and Kick to send several at once; each gives a Pending to wait
// for, in any order.
//
// The embedded ring and TakeHead, Push and Kick are for chains that no driver would write.
type Queue struct {
	ring
	vm       *VM
	vring    *vring
	index    int
	indirect bool
	eventIdx bool

	availIdx uint16 // next available index
	usedIdx  uint16 // next used index to look at
	kickedAt uint16 // available index at the last decision to kick
	free     []uint16
	byHead   []*Pending
	pool     []*Pending

	ordered   bool       // completions go to completed, for Next
	completed []*Pending // from next on
	next      int

	// Kicks counts the notifications of the device, Interrupts how often the driver was woken by
	// one of its, and Signals how many those were: several can come before the driver looks.
	Kicks, Interrupts, Signals uint64
}

func newQueue(vm *VM, v *vring) *Queue {
	q := &Queue{
		ring: newRing(vm.RAM, v), vm: vm, vring: v, index: v.index,
		indirect: vm.Features()&FeatureIndirect != 0 && !vm.opt.Direct,
		eventIdx: vm.Features()&FeatureEventIdx != 0,
		byHead:   make([]*Pending, v.size),
	}
	for i := int(v.size) - 1; i >= 0; i-- {
		q.free = append(q.free, uint16(i))
	}
	q.quiet()
	return q
}

// Index is the queue's number: 0 is the high priority queue.
func (q *Queue) Index() int { return q.index }

// AvailIdx is the next available index.
func (q *Queue) AvailIdx() uint16 { return q.availIdx }

// Submit sends a request: the readable buffers are copied into guest memory, for the writable
// ones room of the given lengths is made there. A buffer is one descriptor; one that is larger
// than a page is one descriptor for each page that it covers.
//
// It waits while the ring is full. The Pending is to be given back with Free.
func (q *Queue) Submit(readable [][]byte, writable []int) *Pending {
	p := q.Add(readable, writable)
	q.Kick()
	return p
}

// Add is Submit without the notification.
func (q *Queue) Add(readable [][]byte, writable []int) *Pending {
	p := q.take()
	for _, b := range readable {
		p.addReadable(b)
	}
	for _, n := range writable {
		p.addWritable(n)
	}
	q.link(p)
	q.byHead[p.head] = p
	q.SetAvail(q.availIdx, p.head)
	q.availIdx++
	q.StoreAvail(q.availIdx)
	return p
}

// link puts the request's descriptors into the ring: one that points to an indirect table, or
// a chain.
func (q *Queue) link(p *Pending) {
	if q.indirect && len(p.descs) > 1 {
		heads := q.takeHeads(p, 1)
		table, gpa := p.table()
		for i, d := range p.descs {
			d.Put(table, i)
		}
		q.SetDesc(heads[0], Desc{Addr: gpa, Len: uint32(DescSize * len(p.descs)), Flags: DescIndirect})
		return
	}
	heads := q.takeHeads(p, len(p.descs))
	for i, d := range p.descs {
		if i+1 < len(heads) {
			d.Next = heads[i+1]
		}
		q.SetDesc(heads[i], d)
	}
}

// takeHeads reserves n descriptors of the ring for p and waits for them if need be.
func (q *Queue) takeHeads(p *Pending, n int) []uint16 {
	if n == 0 || n > int(q.size) {
		panic(fmt.Sprintf("frontend: a chain of %d descriptors in a ring of %d", n, q.size))
	}
	deadline := time.Now().Add(q.vm.opt.Timeout)
	for q.collect(); len(q.free) < n; q.collect() {
		if err := q.sleep(deadline); err != nil {
			q.vm.fail(fmt.Errorf("full ring %d: %w", q.index, err))
		}
	}
	p.heads = append(p.heads[:0], q.free[len(q.free)-n:]...)
	q.free = q.free[:len(q.free)-n]
	p.head = p.heads[0]
	return p.heads
}

// TakeHead reserves a descriptor of the ring for good, for chains made by hand.
func (q *Queue) TakeHead() uint16 {
	h := q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	return h
}

// Push makes the chain at a head of TakeHead available and notifies. The Pending tells how
// many bytes came back; it has no buffers.
func (q *Queue) Push(head uint16) *Pending {
	p := &Pending{q: q, head: head}
	if int(head) < len(q.byHead) {
		q.byHead[head] = p
	}
	q.SetAvail(q.availIdx, head)
	q.availIdx++
	q.StoreAvail(q.availIdx)
	q.Kick()
	return p
}

// Kick notifies the device of what was added, if it wants to be.
func (q *Queue) Kick() {
	guestmem.Fence()
	old := q.kickedAt
	q.kickedAt = q.availIdx
	want := q.usedFlags()&1 == 0
	if q.eventIdx {
		want = needEvent(q.availEvent(), q.availIdx, old)
	}
	if want {
		q.ForceKick()
	}
}

// ForceKick notifies the device whether it wants to be or not.
func (q *Queue) ForceKick() {
	q.Kicks++
	signal(q.vring.kick)
}

// collect takes the used entries that are there.
func (q *Queue) collect() {
	for end := q.UsedIdx(); q.usedIdx != end; q.usedIdx++ {
		head, written := q.UsedEntry(q.usedIdx)
		if head >= uint32(q.size) || q.byHead[head] == nil {
			q.vm.fail(fmt.Errorf("ring %d: used entry %d is for chain %d, which is not in flight", q.index, q.usedIdx, head))
		}
		p := q.byHead[head]
		q.byHead[head] = nil
		p.done, p.written = true, written
		q.free = append(q.free, p.heads...)
		p.heads = p.heads[:0]
		switch {
		case p.later:
			p.Free()
		case q.ordered:
			q.completed = append(q.completed, p)
		}
	}
}

// quiet asks for no notifications: with event index the event stays behind, as it does while
// Linux processes the ring.
func (q *Queue) quiet() {
	if !q.eventIdx {
		q.setAvailFlags(1)
	}
}

// arm asks for a notification of the next used entry. It is false when there is one already.
func (q *Queue) arm() bool {
	if q.eventIdx {
		q.setUsedEvent(q.usedIdx)
	} else {
		q.setAvailFlags(0)
	}
	guestmem.Fence()
	return q.UsedIdx() == q.usedIdx
}

// sleep waits until the device has published used entries.
func (q *Queue) sleep(deadline time.Time) error {
	if !q.arm() {
		q.quiet()
		return nil
	}
	fds := []unix.PollFd{
		{Fd: int32(q.vring.call[0]), Events: unix.POLLIN},
		{Fd: int32(q.vm.Conn.fd), Events: unix.POLLRDHUP},
	}
	left := time.Until(deadline).Milliseconds() + 1
	n, err := unix.Poll(fds, int(max(left, 0)))
	switch {
	case err == unix.EINTR:
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("%w: available index %d, used index %d", ErrTimeout, q.availIdx, q.UsedIdx())
	case fds[0].Revents != 0:
		q.takeSignals()
		q.Interrupts++
	default:
		return ErrClosed
	}
	q.quiet()
	return nil
}
