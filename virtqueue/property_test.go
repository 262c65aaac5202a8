// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// A driver and a device run against each other at random: chains of all shapes, some completed on the
// loop and some by workers, late and out of order, while the ring is updated and its memory replaced.
// The driver sleeps whenever it has nothing to do, until it is notified. So each request must come
// back once, with its own answer, and no notification may be lost either way.
func TestDriverAgainstDevice(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for _, n := range []uint16{1, 2, 8, 128} {
		for _, event := range []bool{false, true} {
			for run := range 3 {
				s := seed + uint64(run)
				t.Run(fmt.Sprintf("size=%d/event=%v/seed=%d", n, event, s), func(t *testing.T) {
					againstDevice(t, n, event, rand.New(rand.NewPCG(s, 0)))
				})
			}
		}
	}
}

func againstDevice(t *testing.T, n uint16, event bool, rnd *rand.Rand) {
	d := newDriver(t, n, event, 1<<21)
	base := uint16(rnd.Uint32())
	d.idx, d.seen, d.ring.Base = base, base, base
	d.setIdx(base)
	guestmem.StoreRelease16(d.at(d.ring.Used+idxOffset), base)

	var workers sync.WaitGroup
	work := make(chan *Chain, n)
	for range 3 {
		workers.Go(func() {
			for c := range work {
				for range c.Head % 5 {
					runtime.Gosched()
				}
				answer(c)
			}
		})
	}
	l := start(t, d, func(c *Chain) {
		if question(c)%3 == 0 {
			answer(c)
		} else {
			work <- c
		}
	}, Options{
		OnFault:    func(err error) { t.Error(err) },
		OnBroken:   func(err error) { t.Error(err) },
		OnBadChain: func(err error) { t.Error(err) },
	})
	m := &model{d: d, rnd: rnd, want: make(map[uint16]uint64), uses: make(map[uint16][]uint16)}
	for h := range n {
		m.free = append(m.free, h)
	}
	for m.sent < 3000 || len(m.want) > 0 {
		m.step(t, l)
	}
	if got := l.Stop(); got != base+uint16(m.sent) {
		t.Errorf("base %d, want %d", got, base+uint16(m.sent))
	}
	close(work)
	workers.Wait()
}

// question is the number that a request carries, answer sends it back changed.
func question(c *Chain) uint64 {
	var b [8]byte
	n := 0
	for _, r := range c.Readable {
		n += copy(b[n:], r)
	}
	return binary.LittleEndian.Uint64(b[:])
}

func answer(c *Chain) {
	b := binary.LittleEndian.AppendUint64(nil, ^question(c))
	for _, w := range c.Writable {
		b = b[copy(w, b):]
	}
	c.Done(8)
}

// model is a driver that knows what it has asked.
type model struct {
	d    *driver
	rnd  *rand.Rand
	free []uint16            // descriptors
	want map[uint16]uint64   // by head: the question
	uses map[uint16][]uint16 // by head: its descriptors of the ring
	sent int
}

func (m *model) step(t *testing.T, l *Loop) {
	old := m.d.idx
	for m.sent < 3000 && len(m.free) > 0 && m.rnd.IntN(4) > 0 {
		m.send()
		if m.rnd.IntN(3) == 0 {
			m.kick(&old)
		}
	}
	m.kick(&old)
	if m.rnd.IntN(200) == 0 {
		m.change(t, l)
	}
	got := false
	for m.receive(t) {
		got = true
	}
	if got || len(m.want) == 0 {
		return
	}
	if !m.d.wantCall() {
		await(t, m.d.ring.Call) // for ever, if a notification is lost
	}
	if !m.d.event {
		m.d.setAvailFlags(availNoInterrupt)
	}
}

func (m *model) kick(old *uint16) {
	if m.d.idx != *old && m.d.kickWanted(*old) {
		m.d.kick()
	}
	*old = m.d.idx
}

// change does to the running ring what a VMM may do.
func (m *model) change(t *testing.T, l *Loop) {
	r := guestmem.Region{GPA: ramBase, Size: uint64(len(m.d.ram)), UserAddr: ramBase}
	if m.rnd.IntN(2) == 0 {
		if err := m.d.mem.Replace([]guestmem.Region{r}, []int{m.d.dup()}); err != nil {
			t.Error(err)
		}
	}
	m.d.ring.Kick, m.d.ring.Call = eventfd(t), eventfd(t)
	if err := l.Update(m.d.ring); err != nil {
		t.Error(err)
	}
}

// send asks a question of 8 bytes with room for the answer: in one indirect table, or in two to four
// descriptors of the ring, as far as there are any.
func (m *model) send() {
	q := m.rnd.Uint64()
	head := m.free[len(m.free)-1]
	base := m.d.buf(int(head))
	binary.LittleEndian.PutUint64(m.d.at(base), q)
	clear(m.d.at(base + 64)[:8])
	cut := uint32(m.rnd.IntN(9))
	parts := []desc{
		{base, cut, nx, 1}, {base + uint64(cut), 8 - cut, nx, 2},
		{base + 64, cut, nx | wr, 3}, {base + 64 + uint64(cut), 8 - cut, wr, 0},
	}
	if len(m.free) < len(parts) || m.rnd.IntN(2) == 0 {
		switch { // a table may not be longer than the ring
		case m.d.n == 1:
			q = 0 // no room for a question
			parts = []desc{{base + 64, 8, wr, 0}}
		case m.d.n < 4:
			parts = []desc{{base, 8, nx, 1}, {base + 64, 8, wr, 0}}
		}
		m.d.table(base+128, parts...)
		m.d.set(head, desc{base + 128, uint32(len(parts)) * descSize, in, 0})
		m.offer(head, q, 1)
		return
	}
	last := len(m.free) - 1
	for i, p := range parts {
		if p.flags&nx != 0 {
			p.next = m.free[last-i-1]
		}
		m.d.set(m.free[last-i], p)
	}
	m.offer(head, q, len(parts))
}

// offer sends a chain of the n descriptors on top of the free ones.
func (m *model) offer(head uint16, q uint64, n int) {
	rest := len(m.free) - n
	m.uses[head] = append(m.uses[head][:0], m.free[rest:]...)
	m.free = m.free[:rest]
	m.want[head] = q
	m.sent++
	m.d.offer(head)
}

func (m *model) receive(t *testing.T) bool {
	head, n, ok := m.d.take()
	if !ok {
		return false
	}
	q, asked := m.want[uint16(head)]
	if !asked || n != 8 {
		t.Fatalf("head %d with %d bytes, asked: %v", head, n, asked)
	}
	if got := binary.LittleEndian.Uint64(m.d.at(m.d.buf(int(head)) + 64)); got != ^q {
		t.Fatalf("head %d: answer %#x to question %#x", head, got, q)
	}
	delete(m.want, uint16(head))
	m.free = append(m.free, m.uses[uint16(head)]...)
	return true
}
