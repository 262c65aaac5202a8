// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// attackTime is how long an attack that has no end of its own goes on.
const attackTime = 2 * time.Second

// All 65 rings are full all the time, of requests that are answered in place and of chains that are
// none: the daemon never runs out of work for this guest.
func TestBusyRings(t *testing.T) {
	assault(t, func(t *testing.T, d *daemon, sock string) {
		vm, g := guestOn(t, sock, frontend.Options{Queues: 64, RingSize: 64})
		defer vm.Close()
		at := vm.RAM.Page()
		page := vm.RAM.Slice(at, frontend.PageSize)
		n := copy(page, frontend.Samples(1, 0, 0)["GETATTR"].Bytes())
		for i := range 65 {
			q := g.Queue(i)
			for h := range uint16(32) {
				q.SetDesc(2*h, frontend.Desc{Addr: at, Len: uint32(n), Flags: frontend.DescNext, Next: 2*h + 1})
				q.SetDesc(2*h+1, frontend.Desc{Addr: at + 2048, Len: 2048, Flags: frontend.DescWrite})
				q.SetAvail(h, 2*h)
				q.SetAvail(h+32, 2*h) // what is used may be offered again
			}
			if i%4 == 0 { // loops instead
				q.SetDesc(1, frontend.Desc{Addr: at, Len: 8, Flags: frontend.DescNext | frontend.DescWrite, Next: 1})
			}
		}
		start := [65]uint16{}
		for i := range start {
			start[i] = g.Queue(i).UsedIdx()
		}
		for end := time.Now().Add(attackTime); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
			for i := range 65 {
				q := g.Queue(i)
				q.StoreAvail(q.UsedIdx() + 32)
				q.ForceKick()
			}
		}
		for i := range start {
			if i%4 != 0 && g.Queue(i).UsedIdx() == start[i] {
				t.Errorf("queue %d was never served", i)
			}
		}
	})
}

// All of guest memory changes all the time, rings and requests included; they are set right again and
// again so that new requests are read.
func TestMemoryInMotion(t *testing.T) {
	assault(t, func(t *testing.T, d *daemon, sock string) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		v := readyVillain(t, sock)
		defer v.leave()
		stop := v.race()
		defer stop()
		for end := time.Now().Add(attackTime); time.Now().Before(end); {
			kind := requestNames[rnd.IntN(len(requestNames))]
			m := frontend.Samples(pick(v.nodes, byte(rnd.Uint32())), pick(v.handles, byte(rnd.Uint32())), 4000)[kind]
			v.request(1+rnd.IntN(2), m.Op, m.Bytes(), uint32(rnd.IntN(4096)))
			for range 20 {
				v.ram[rnd.IntN(ramSize)] ^= byte(rnd.Uint32())
			}
			if rnd.IntN(10) == 0 {
				v.startRing(uint32(rnd.IntN(rings)))
				v.say(frontend.GetVringBase, frontend.VringState(uint32(rnd.IntN(rings)), 0))
			}
		}
	})
}

// Rings that lie over each other, over their own parts and over requests: what the device writes is
// what it reads next.
func TestRingsOverEachOther(t *testing.T) {
	assault(t, func(t *testing.T, d *daemon, sock string) {
		v := readyVillain(t, sock)
		defer v.leave()
		frame := frontend.Samples(1, 0, 0)["GETATTR"].Bytes()
		for _, a := range []frontend.VringAddr{
			{Desc: 0, Avail: 0, Used: 0},
			{Desc: 0, Avail: ringAvail, Used: ringAvail},        // used over avail
			{Desc: 0, Avail: ringAvail, Used: 0},                // used over descriptors
			{Desc: 0x1000, Avail: ringAvail, Used: ringUsed},    // descriptors of another ring
			{Desc: 0, Avail: 0x1000 + ringUsed, Used: ringUsed}, // avail is another ring's used
			{Desc: 0, Avail: ringAvail, Used: slotsAt},          // used over requests
			{Desc: 0, Avail: ringAvail, Used: slotsAt + slotSize/2 + 16},
		} {
			for _, i := range []uint32{1, 2} {
				a := frontend.VringAddr{Index: i, Desc: ramUser + a.Desc, Avail: ramUser + a.Avail, Used: ramUser + a.Used}
				v.say(frontend.GetVringBase, frontend.VringState(i, 0))
				v.startRing(i)
				v.say(frontend.SetVringAddr, a.Bytes())
			}
			for n := range 200 {
				v.deaf[1] = n > 3
				v.request(1, frontend.OpGetattr, frame, 4096)
				v.kick(2)
			}
		}
	})
}

// A driver that lies about the events that it waits for, and changes its mind without end.
func TestEventIndexLies(t *testing.T) {
	assault(t, func(t *testing.T, d *daemon, sock string) {
		vm, g := guestOn(t, sock, frontend.Options{})
		defer vm.Close()
		q := g.Queue(1)
		avail := vm.RAM.Slice(availOf(vm, q), 6+2*128)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := uint16(0); ; i++ {
				select {
				case <-stop:
					return
				default:
					guestmem.StoreRelease16(avail[4+2*128:], i*0x1235)
					guestmem.StoreRelease16(avail, i)
				}
			}
		}()
		for n := range 3000 {
			// Waited for by looking, as no interrupt may come.
			p := g.Send(frontend.Samples(1, 0, 0)["GETATTR"])
			for end := time.Now().Add(patience); !p.Done(); time.Sleep(10 * time.Microsecond) {
				if q.ForceKick(); time.Now().After(end) {
					t.Fatalf("request %d is not answered", n)
				}
			}
			p.Free()
		}
		close(stop)
		<-stopped
	})
}

// availOf finds a queue's avail ring in guest memory: the queue has been told nothing yet, so a head
// that is written there marks it.
func availOf(vm *frontend.VM, q *frontend.Queue) uint64 {
	const mark = 0x5ab3
	q.SetAvail(100, mark)
	for _, r := range vm.RAM.Regions() {
		mem := vm.RAM.Slice(r.GPA, r.Size)
		for at := uint64(0); at+1 < r.Size; at += 2 {
			if binary.LittleEndian.Uint16(mem[at:]) == mark {
				q.SetAvail(100, 0)
				return r.GPA + at - 4 - 2*100
			}
		}
	}
	panic("the avail ring is not in guest memory")
}

// Everything that a guest can have waiting for long: locks, disks and large copies, on all queues.
func TestEverythingWaits(t *testing.T) {
	assault(t, func(t *testing.T, d *daemon, sock string) {
		vm, g := guestOn(t, sock, frontend.Options{Queues: 16, RingSize: 64, Memory: []frontend.MemSpec{{Size: 64 << 20}}})
		defer vm.Close()
		f, errno := g.Create(frontend.RootID, "big", unix.O_RDWR, 0o600, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		if _, errno := g.Raw(frontend.OpFallocate, f.NodeId, words(f.Fh, 0, 64<<20, 0), 0); errno != 0 {
			t.Fatalf("FALLOCATE: %v", errno)
		}
		var sent []*frontend.Pending
		for i := range 16 {
			c := g.On(i)
			for range 5 {
				sent = append(sent,
					c.Send(frontend.Message{Op: frontend.OpCopyFileRange, Node: f.NodeId, Args: words(f.Fh, 0, f.NodeId, f.Fh, 32<<20, 32<<20, 0), Out: 8}),
					c.Send(frontend.Message{Op: frontend.OpFsync, Node: f.NodeId, Args: words(f.Fh, 0)}),
					c.Send(frontend.Message{Op: frontend.OpSetlkw, Node: f.NodeId, Args: words(f.Fh, uint64(i), 0, 1<<40, uint64(unix.F_WRLCK), 0), Out: 0}),
					c.Send(frontend.Message{Op: frontend.OpSyncfs, Node: frontend.RootID, Args: words(0)}))
			}
		}
		time.Sleep(attackTime / 2)
		answered := 0
		for _, p := range sent {
			if p.Done() {
				answered++
			}
		}
		if answered == 0 {
			t.Error("nothing was answered")
		}
	})
}

func words(ws ...uint64) (b []byte) {
	for _, w := range ws {
		b = binary.NativeEndian.AppendUint64(b, w)
	}
	return b
}
