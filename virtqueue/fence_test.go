// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
)

// fenceRounds is enough for a missing fence to show, when there are two CPUs. On amd64 only the one
// in front of reading the driver's wish can: a mutex happens to be unlocked at the other.
const fenceRounds = 25_000

// together runs a and b at the same time, on two threads, in each round, and then check, alone. One
// of them is a little late, from round to round by another amount.
func together(rounds int, a, b func(round int), check func(round int)) {
	var step [2]atomic.Int64
	meet := func(me int, at int64) {
		step[me].Store(at)
		for i := 0; step[1-me].Load() < at; i++ {
			if i > 100 {
				runtime.Gosched()
			}
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r := range rounds {
			meet(1, int64(3*r+1))
			idle(32 - r%64)
			b(r)
			meet(1, int64(3*r+2))
			meet(1, int64(3*r+3))
		}
	}()
	for r := range rounds {
		meet(0, int64(3*r+1))
		idle(r%64 - 32)
		a(r)
		meet(0, int64(3*r+2))
		check(r)
		meet(0, int64(3*r+3))
	}
	<-done
}

// idle takes a few nanoseconds for each of n.
func idle(n int) {
	var x atomic.Uint32
	for range n {
		x.Load()
	}
}

// The driver makes a chain available while the device goes to sleep: the device sees the chain, or the
// driver sees that a kick is wanted.
func TestNoKickIsLost(t *testing.T) {
	for _, event := range []bool{false, true} {
		t.Run(fmt.Sprintf("event=%v", event), func(t *testing.T) {
			d, q := newQueue(t, 8, event)
			defer q.Close()
			var wanted, more bool
			lost := 0
			q.Suppress()
			together(fenceRounds, func(int) {
				old := d.idx
				d.offer(0)
				wanted = d.kickWanted(old)
			}, func(int) {
				more = q.Rearm()
			}, func(int) {
				if !wanted && !more {
					lost++
				}
				q.Suppress()
				mustPop(t, q).Done(0)
				q.Flush()
			})
			if lost > 0 {
				t.Errorf("%d of %d kicks lost", lost, fenceRounds)
			}
		})
	}
}

// The device publishes a chain while the driver goes to sleep: the driver sees the chain, or the device
// sees that a notification is wanted.
func TestNoCallIsLost(t *testing.T) {
	for _, event := range []bool{false, true} {
		t.Run(fmt.Sprintf("event=%v", event), func(t *testing.T) {
			d, q := newQueue(t, 8, event)
			defer q.Close()
			called, more := false, false
			q.SetNotify(func() { called = true })
			lost := 0
			prepare := func() {
				if !event {
					d.setAvailFlags(availNoInterrupt)
				}
				d.offer(0)
				mustPop(t, q).Done(0)
				called = false
			}
			prepare()
			together(fenceRounds, func(int) {
				q.Flush()
			}, func(int) {
				more = d.wantCall()
			}, func(int) {
				if !called && !more {
					lost++
				}
				if _, _, ok := d.take(); !ok {
					t.Error("not published")
				}
				prepare()
			})
			if lost > 0 {
				t.Errorf("%d of %d notifications lost", lost, fenceRounds)
			}
		})
	}
}
