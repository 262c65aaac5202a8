// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

const (
	next     = frontend.DescNext
	writable = frontend.DescWrite
	indirect = frontend.DescIndirect
)

// bench is what a hand-made chain is made of: reserved ring descriptors, a GETATTR frame, room
// for its reply, and a page for an indirect table.
type bench struct {
	g     *guest
	q     *frontend.Queue
	h     []uint16 // reserved heads
	size  uint16
	in    uint64 // guest address of the frame
	inLen uint32
	out   uint64 // guest address of a page
	table uint64 // guest address of room for an indirect table
	mem   []byte // the table's memory
	end   uint64 // the first guest address after the memory
}

func newBench(g *guest, size uint16) *bench {
	ram := g.vm.RAM
	b := &bench{g: g, q: g.Client.Queue(), size: size, in: ram.Page(), out: ram.Page(), table: ram.Run(64 << 10)}
	b.mem = ram.Slice(b.table, 64<<10)
	for range 8 {
		b.h = append(b.h, b.q.TakeHead())
	}
	for _, r := range ram.Regions() {
		b.end = max(b.end, r.GPA+r.Size)
	}
	b.frame()
	return b
}

// frame writes the request anew.
func (b *bench) frame() {
	f := b.g.Frame(frontend.Message{Op: frontend.OpGetattr, Node: root, Args: make([]byte, 16)})
	b.inLen = uint32(len(f))
	copy(b.g.vm.RAM.Slice(b.in, uint64(len(f))), f)
}

func (b *bench) set(i int, d frontend.Desc)   { b.q.SetDesc(b.h[i], d) }
func (b *bench) entry(i int, d frontend.Desc) { d.Put(b.mem, i) }

// tableOf makes head 0 point to the indirect table of n bytes.
func (b *bench) tableOf(n uint32) {
	b.set(0, frontend.Desc{Addr: b.table, Len: n, Flags: indirect})
}

// request makes a good chain out of table entries i and i+1.
func (b *bench) request(i int) {
	b.entry(i, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: uint16(i + 1)})
	b.entry(i+1, frontend.Desc{Addr: b.out, Len: 4096, Flags: writable})
}

// badChains are chains that the device must not carry out.
var badChains = map[string]func(b *bench){
	"self loop": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: b.h[0]})
	},
	"loop of two": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: b.h[1]})
		b.set(1, frontend.Desc{Addr: b.out, Len: 4096, Flags: writable | next, Next: b.h[0]})
	},
	"loop of empty descriptors": func(b *bench) {
		b.set(0, frontend.Desc{Flags: next, Next: b.h[1]})
		b.set(1, frontend.Desc{Flags: next, Next: b.h[0]})
	},
	"next outside the ring": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: b.size})
	},
	"next far outside the ring": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: 0xffff})
	},
	"address outside the memory": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.end, Len: 56})
	},
	"address far outside the memory": func(b *bench) {
		b.set(0, frontend.Desc{Addr: 1 << 60, Len: 56})
	},
	"end outside the memory": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.end - 10, Len: 56})
	},
	"address and length overflow": func(b *bench) {
		b.set(0, frontend.Desc{Addr: 1<<64 - 10, Len: 56})
	},
	"4 GiB": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.in, Len: 1<<32 - 1})
	},
	"reply outside the memory": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: b.h[1]})
		b.set(1, frontend.Desc{Addr: b.end - 8, Len: 4096, Flags: writable})
	},
	"writable before readable": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.out, Len: 4096, Flags: writable | next, Next: b.h[1]})
		b.set(1, frontend.Desc{Addr: b.in, Len: b.inLen})
	},
	"readable between writable": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: b.h[1]})
		b.set(1, frontend.Desc{Addr: b.out, Len: 64, Flags: writable | next, Next: b.h[2]})
		b.set(2, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: b.h[3]})
		b.set(3, frontend.Desc{Addr: b.out + 64, Len: 4032, Flags: writable})
	},
	"empty": func(b *bench) { b.set(0, frontend.Desc{Addr: b.in}) },
	"empty and outside the memory": func(b *bench) {
		b.set(0, frontend.Desc{Addr: 1 << 60})
	},

	"indirect table of no bytes": func(b *bench) { b.tableOf(0) },
	"indirect table of 15 bytes": func(b *bench) { b.request(0); b.tableOf(15) },
	"indirect table of 33 bytes": func(b *bench) { b.request(0); b.tableOf(33) },
	"indirect table of 1 GiB":    func(b *bench) { b.request(0); b.tableOf(1 << 30) },
	"indirect table of more entries than the ring has, all in use": func(b *bench) {
		n := int(b.size) + 1
		for i := range n {
			b.entry(i, frontend.Desc{Addr: b.in, Len: 1, Flags: next, Next: uint16(i + 1)})
		}
		b.entry(n-1, frontend.Desc{Addr: b.out, Len: 4096, Flags: writable})
		b.tableOf(uint32(n * frontend.DescSize))
	},
	"indirect table outside the memory": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.end, Len: 32, Flags: indirect})
	},
	"indirect table that ends outside the memory": func(b *bench) {
		b.set(0, frontend.Desc{Addr: b.end - 16, Len: 32, Flags: indirect})
	},
	"indirect table that overflows": func(b *bench) {
		b.set(0, frontend.Desc{Addr: 1<<64 - 16, Len: 32, Flags: indirect})
	},
	"indirect table that goes on in the ring": func(b *bench) {
		b.request(0)
		b.set(0, frontend.Desc{Addr: b.table, Len: 32, Flags: indirect | next, Next: b.h[1]})
		b.set(1, frontend.Desc{Addr: b.out, Len: 4096, Flags: writable})
	},
	"indirect in indirect": func(b *bench) {
		b.request(1)
		b.entry(0, frontend.Desc{Addr: b.table + frontend.DescSize, Len: 32, Flags: indirect})
		b.tableOf(16)
	},
	"indirect table that is its own entry": func(b *bench) {
		b.entry(0, frontend.Desc{Addr: b.table, Len: 16, Flags: indirect})
		b.tableOf(16)
	},
	"loop in an indirect table": func(b *bench) {
		b.entry(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: 1})
		b.entry(1, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: 0})
		b.tableOf(32)
	},
	"next outside the indirect table": func(b *bench) {
		b.entry(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: 2})
		b.tableOf(32)
	},
	"more than 4 GiB in all": func(b *bench) {
		n := 100
		for i := range n {
			b.entry(i, frontend.Desc{Addr: b.in &^ 0xffffff, Len: 48 << 20, Flags: next, Next: uint16(i + 1)})
		}
		b.entry(n, frontend.Desc{Addr: b.out, Len: 4096, Flags: writable})
		b.tableOf(uint32((n + 1) * frontend.DescSize))
	},
}

// A chain that is not one is given back with nothing written, and the ring goes on.
func TestBadChains(t *testing.T) {
	for name, build := range badChains {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, frontend.Options{})
			b := newBench(g, 128)
			for range 3 { // what is left of one must not spoil the next
				b.frame()
				build(b)
				p := b.q.Push(b.h[0])
				if n, err := p.Wait(); err != nil || n != 0 {
					t.Errorf("came back with %d bytes written, %v", n, err)
				}
				g.alive()
			}
		})
	}
}

// Chains that are unusual but right are carried out.
func TestOddChains(t *testing.T) {
	for name, build := range map[string]func(b *bench){
		"indirect": func(b *bench) { b.request(0); b.tableOf(32) },
		"indirect table with unused entries": func(b *bench) {
			b.request(0)
			b.tableOf(64)
		},
		"indirect table in any order": func(b *bench) {
			b.entry(0, frontend.Desc{Addr: b.in, Len: 40, Flags: next, Next: 3})
			b.entry(3, frontend.Desc{Addr: b.in + 40, Len: b.inLen - 40, Flags: next, Next: 1})
			b.entry(1, frontend.Desc{Addr: b.out, Len: 4096, Flags: writable})
			b.tableOf(64)
		},
		"write flag on the indirect descriptor": func(b *bench) {
			b.request(0)
			b.set(0, frontend.Desc{Addr: b.table, Len: 32, Flags: indirect | writable})
		},
		"chain and then a table": func(b *bench) {
			b.entry(0, frontend.Desc{Addr: b.out, Len: 4096, Flags: writable})
			b.set(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: b.h[1]})
			b.set(1, frontend.Desc{Addr: b.table, Len: 16, Flags: indirect})
		},
		"as many descriptors as the ring has": func(b *bench) {
			n := int(b.size)
			for i := range n {
				b.entry(i, frontend.Desc{Addr: b.in + uint64(i), Len: 1, Flags: next, Next: uint16(i + 1)})
			}
			b.entry(int(b.inLen), frontend.Desc{Addr: b.out, Len: 4096 - uint32(n), Flags: writable | next, Next: uint16(b.inLen + 1)})
			for i := int(b.inLen) + 1; i < n; i++ {
				b.entry(i, frontend.Desc{Addr: b.out + 4096 - uint64(i), Len: 1, Flags: writable | next, Next: uint16(i + 1)})
			}
			b.entry(n-1, frontend.Desc{Addr: b.out + 4095, Len: 1, Flags: writable})
			b.tableOf(uint32(n * frontend.DescSize))
		},
		"the last byte of memory": func(b *bench) {
			b.set(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: b.h[1]})
			b.set(1, frontend.Desc{Addr: b.end - 4096, Len: 4096, Flags: writable})
		},
		"reply over the request": func(b *bench) {
			b.set(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: next, Next: b.h[1]})
			b.set(1, frontend.Desc{Addr: b.in, Len: 4096, Flags: writable})
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, frontend.Options{})
			b := newBench(g, 128)
			build(b)
			if n, err := b.q.Push(b.h[0]).Wait(); err != nil || n != 16+104 {
				t.Errorf("came back with %d bytes written, %v; want %d", n, err, 16+104)
			}
			g.alive()
		})
	}
}

// A head that the ring does not have, or an index that runs away, breaks the ring: the device
// says so on the error eventfd, other rings go on, and a reset brings the ring back.
func TestBrokenRing(t *testing.T) {
	for name, breakIt := range map[string]func(b *bench){
		"index too far ahead": func(b *bench) { b.q.StoreAvail(b.q.AvailIdx() + b.size + 1) },
		"index behind":        func(b *bench) { b.q.StoreAvail(b.q.AvailIdx() - 1) },
		"index half around":   func(b *bench) { b.q.StoreAvail(b.q.AvailIdx() + 0x8000) },
		"head outside the ring": func(b *bench) {
			b.q.SetAvail(b.q.AvailIdx(), b.size)
			b.q.StoreAvail(b.q.AvailIdx() + 1)
		},
		"head far outside the ring": func(b *bench) {
			b.q.SetAvail(b.q.AvailIdx(), 0xffff)
			b.q.StoreAvail(b.q.AvailIdx() + 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuest(t, frontend.Options{Queues: 2})
			b := newBench(g, 128)
			g.alive()
			breakIt(b)
			b.q.ForceKick()
			other := g.On(1)
			_, errno := other.GetAttr(root)
			ok(t, "GETATTR on the other queue", errno)
			waitFor(t, "a signal on the ring's error eventfd", func() bool { return g.vm.ErrSignals(1) > 0 })
			if err := g.vm.Conn.Alive(); err != nil {
				t.Fatal(err)
			}
			g.vm.Reset()
			g.boot()
			g.alive()
		})
	}
}

// The driver makes a chain available that is still in flight. The device may refuse it or
// break the ring; it must not do anything twice with the same buffers.
func TestHeadInFlightTwice(t *testing.T) {
	slow := newSlowFS()
	checkLeaks(t)
	g := attach(t, slow, frontend.Options{Queues: 2})
	b := newBench(g, 128)
	f := g.Frame(frontend.Message{Op: frontend.OpFsync, Node: root, Args: make([]byte, 16)})
	copy(g.vm.RAM.Slice(b.in, uint64(len(f))), f)
	b.set(0, frontend.Desc{Addr: b.in, Len: uint32(len(f)), Flags: next, Next: b.h[1]})
	b.set(1, frontend.Desc{Addr: b.out, Len: 64, Flags: writable})
	b.q.Push(b.h[0])
	slow.waitEntered(t, 1)
	b.q.Push(b.h[0])
	other := g.On(1)
	if _, errno := other.GetAttr(root); errno != 0 {
		t.Errorf("GETATTR on the other queue: %v", errno)
	}
	slow.release()
	waitFor(t, "the completion", func() bool { return b.q.UsedIdx() > 0 })
	g.vm.Reset()
	g.boot()
	if _, errno := g.GetAttr(root); errno != 0 {
		t.Errorf("GETATTR after a reset: %v", errno)
	}
}

// Descriptors and frames that change while the device looks at them.
func TestChangingChains(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	b := newBench(g, 128)
	frame := g.vm.RAM.Slice(b.in, uint64(b.inLen))
	good := append([]byte(nil), frame...)
	stop, stopped := make(chan struct{}), make(chan struct{})
	b.request(0)
	b.tableOf(32)
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			binary.NativeEndian.PutUint32(frame, []uint32{b.inLen, 1 << 31}[i%2])
			binary.NativeEndian.PutUint32(frame[4:], uint32(i%54))
			b.entry(1, frontend.Desc{Addr: []uint64{b.out, 1 << 60}[i%2], Len: []uint32{4096, 1<<32 - 1, 8}[i%3], Flags: writable})
			b.entry(0, frontend.Desc{Addr: b.in, Len: b.inLen, Flags: []uint16{next, next | indirect, 0}[i%3], Next: []uint16{1, 0, 9}[i/2%3]})
		}
	}()
	for range 20_000 {
		if _, err := b.q.Push(b.h[0]).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-stopped
	copy(frame, good)
	// An opcode 38 among them has ended the session.
	g.MustInit()
	g.alive()
}
