// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// benchRing makes n chains as Linux' virtio-fs lays a 4 KiB read: header, arguments, reply header and
// one page, in an indirect table.
func benchRing(tb testing.TB, n uint16) *driver {
	d := newDriver(tb, n, true, 1<<22)
	for h := range n {
		p := d.buf(int(h))
		d.table(p, desc{p + 256, 40, nx, 1}, desc{p + 300, 40, nx, 2}, desc{p + 512, 16, nx | wr, 3},
			desc{d.buf(512), 4096, wr, 0})
		d.set(h, desc{p, 4 * descSize, in, 0})
	}
	return d
}

// roundTrip offers, pops, completes and publishes n requests.
func roundTrip(tb testing.TB, d *driver, q *Queue, n uint16) {
	for h := range n {
		d.offer(h)
	}
	for {
		c, err := q.Pop()
		if err != nil {
			tb.Fatal(err)
		}
		if c == nil {
			break
		}
		c.Done(16)
		q.Returned()
	}
	q.Flush()
	q.Rearm()
	for range n {
		if _, _, ok := d.take(); !ok {
			tb.Fatal("not published")
		}
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, tc := range []struct {
		name  string
		depth uint16
	}{{"depth=1", 1}, {"depth=32", 32}} {
		b.Run(tc.name, func(b *testing.B) {
			d := benchRing(b, 128)
			q, err := NewQueue(d.mem, d.ring.Config)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := 0; i < b.N; i += int(tc.depth) {
				roundTrip(b, d, q, tc.depth)
			}
			b.StopTimer()
			q.Close()
		})
	}
}

// BenchmarkWorkers completes every request as a worker does: published at once, guarded.
func BenchmarkWorkers(b *testing.B) {
	d := benchRing(b, 128)
	q, err := NewQueue(d.mem, d.ring.Config)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		d.offer(0)
		c, err := q.Pop()
		if err != nil {
			b.Fatal(err)
		}
		q.Returned()
		q.Flush()
		c.Done(16)
	}
	b.StopTimer()
	q.Close()
}

// BenchmarkLoop goes through eventfds and the loop, the driver asleep in between.
func BenchmarkLoop(b *testing.B) {
	for _, tc := range []struct {
		name  string
		depth uint16
	}{{"depth=1", 1}, {"depth=32", 32}} {
		b.Run(tc.name, func(b *testing.B) {
			d := benchRing(b, 128)
			start(b, d, func(c *Chain) { c.Done(16) }, Options{})
			b.ReportAllocs()
			for i := 0; i < b.N; i += int(tc.depth) {
				old := d.idx
				for h := range tc.depth {
					d.offer(h)
				}
				if d.kickWanted(old) {
					d.kick()
				}
				for range tc.depth {
					d.next()
				}
			}
		})
	}
}

// No request allocates once the slots are there, on the loop or off it.
func TestNoAllocations(t *testing.T) {
	d := benchRing(t, 128)
	q, err := NewQueue(d.mem, d.ring.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	roundTrip(t, d, q, 32)
	var sink error
	if n := testing.AllocsPerRun(100, func() {
		roundTrip(t, d, q, 32)
		d.offer(0)
		c := mustPop(t, q)
		sink = guestmem.Guard(q.Flush)
		c.Done(0)
		d.take()
	}); n != 0 || sink != nil {
		t.Errorf("%v allocations, %v", n, sink)
	}
}
