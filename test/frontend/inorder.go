// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// Ordered makes the queue hand out its completions by Next, and by nothing else. It is for
// drivers that keep many requests in flight; call it while none is.
func (q *Queue) Ordered() { q.ordered = true }

// Next waits for a completion that it has not returned yet, sleeping as Linux does: with an
// interrupt asked for, on the call eventfd. They come in the order of the used ring. Errors:
// ErrTimeout, ErrClosed.
func (q *Queue) Next() (*Pending, error) {
	var deadline time.Time
	for q.next == len(q.completed) {
		q.completed, q.next = q.completed[:0], 0
		if q.collect(); len(q.completed) > 0 {
			break
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(q.vm.opt.Timeout)
		}
		if err := q.sleep(deadline); err != nil {
			return nil, err
		}
	}
	q.next++
	return q.completed[q.next-1], nil
}

// Later sends a request without reply on the high priority queue and does not wait, as Linux does
// with FORGETs. The device is asked to signal its completion.
func (c *Client) Later(m Message) {
	c.d.urgent(c.Caller, func(u *Client) {
		p := u.q.Add([][]byte{u.Frame(m)}, nil)
		p.later = true
		u.q.Kick()
		u.q.collect()
		u.q.arm()
	})
}

// Settle waits until the high priority queue has nothing in flight.
func (d *Driver) Settle() error {
	d.hiprio.Lock()
	defer d.hiprio.Unlock()
	q := d.queues[0]
	deadline := time.Now().Add(d.vm.opt.Timeout)
	for q.collect(); q.usedIdx != q.availIdx; q.collect() {
		if err := q.sleep(deadline); err != nil {
			return err
		}
	}
	q.TakeSignals()
	return nil
}

// TakeSignals counts the signals that came while the driver did not sleep.
func (q *Queue) TakeSignals() {
	fds := []unix.PollFd{{Fd: int32(q.vring.call[0]), Events: unix.POLLIN}}
	if n, _ := unix.Poll(fds, 0); n == 1 {
		q.takeSignals()
	}
}

// takeSignals reads a call fd that is readable: an eventfd gives the number of signals as 8
// bytes, a socket what was sent meanwhile.
func (q *Queue) takeSignals() {
	var b [64]byte
	if n, _ := unix.Read(q.vring.call[0], b[:]); n == 8 {
		q.Signals += binary.NativeEndian.Uint64(b[:])
	}
}
