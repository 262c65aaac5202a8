// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// testDevice is the other side of one ring, as plain as can be: it trusts its driver and
// always notifies. answer gets the readable bytes and fills the writable ones; what it shares
// with the test is under mu, as guest memory orders nothing in the eyes of the race detector.
type testDevice struct {
	mu     sync.Mutex
	vm     *VM
	v      *vring
	last   uint16
	answer func(in []byte, out [][]byte) (written uint32)
	stop   chan struct{}
	wg     sync.WaitGroup
}

func startDevice(vm *VM, ring int, answer func(in []byte, out [][]byte) uint32) *testDevice {
	d := &testDevice{vm: vm, v: vm.rings[ring], answer: answer, stop: make(chan struct{})}
	d.wg.Add(1)
	go d.run()
	return d
}

func (d *testDevice) close() {
	close(d.stop)
	signal(d.v.kick)
	d.wg.Wait()
}

func (d *testDevice) run() {
	defer d.wg.Done()
	fds := []unix.PollFd{{Fd: int32(d.v.kick), Events: unix.POLLIN}}
	var b [8]byte
	for {
		select {
		case <-d.stop:
			return
		default:
		}
		d.serve()
		unix.Poll(fds, -1)
		unix.Read(d.v.kick, b[:])
	}
}

func (d *testDevice) serve() {
	r := newRing(d.vm.RAM, d.v)
	for guestmem.LoadAcquire16(r.avail[2:]) != d.last {
		head := binary.LittleEndian.Uint16(r.avail[4+2*int(d.last%r.size):])
		in, out := d.chain(r.desc, head)
		d.mu.Lock()
		n := d.answer(in, out)
		d.mu.Unlock()
		e := r.used[4+8*int(r.UsedIdx()%r.size):]
		binary.LittleEndian.PutUint32(e, uint32(head))
		binary.LittleEndian.PutUint32(e[4:], n)
		d.last++
		guestmem.StoreRelease16(r.used[4+8*int(r.size):], d.last) // avail_event: kick me for the next
		guestmem.StoreRelease16(r.used[2:], r.UsedIdx()+1)
		signal(d.v.call[1])
	}
}

func (d *testDevice) chain(table []byte, i uint16) (in []byte, out [][]byte) {
	for {
		b := table[DescSize*int(i):]
		addr, n := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])
		flags := binary.LittleEndian.Uint16(b[12:])
		mem := d.vm.RAM.Slice(addr, uint64(n))
		switch {
		case flags&DescIndirect != 0:
			table, i = mem, 0
			continue
		case flags&DescWrite != 0:
			out = append(out, mem)
		default:
			in = append(in, mem...)
		}
		if flags&DescNext == 0 {
			return in, out
		}
		i = binary.LittleEndian.Uint16(b[14:])
	}
}

func newTestVM(t interface {
	Fatal(...any)
	Cleanup(func())
}, o Options) *VM {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConn(fds[1], 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s := &scribe{conn: c, done: make(chan error, 1)}
	go func() { s.done <- s.serve() }()
	vm, err := New(fds[0], o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		vm.Close()
		if err := <-s.done; err != nil {
			t.Fatal(err)
		}
	})
	return vm
}

// What goes in is what the device sees, in every layout, at any depth, in any shape.
func TestQueueCarriesBytes(t *testing.T) {
	for name, o := range map[string]Options{
		"linux":                {},
		"direct":               {Direct: true},
		"no event index":       {Decline: FeatureEventIdx},
		"direct, small, plain": {Decline: FeatureEventIdx | FeatureIndirect, RingSize: 16},
		"user-mode linux":      {VMM: UML72},
	} {
		t.Run(name, func(t *testing.T) {
			o.Fail = func(err error) { t.Fatal(err) }
			vm := newTestVM(t, o)
			q := vm.Start().Queue(1)
			var seen [][]byte
			dev := startDevice(vm, 1, func(in []byte, out [][]byte) uint32 {
				seen = append(seen, bytes.Clone(in))
				n := 0
				for _, b := range out {
					for i := range b {
						b[i] = byte(len(seen)) ^ byte(n)
						n++
					}
				}
				return uint32(n)
			})
			defer dev.close()
			rapid.Check(t, func(rt *rapid.T) { checkBatch(rt, dev, q, &seen) })
		})
	}
}

func checkBatch(rt *rapid.T, dev *testDevice, q *Queue, seen *[][]byte) {
	dev.mu.Lock()
	*seen = nil
	dev.mu.Unlock()
	var sent [][]byte
	var pending []*Pending
	var sizes []int
	for range rapid.IntRange(1, 5).Draw(rt, "depth") {
		in := [][]byte{rapid.SliceOfN(rapid.Byte(), 1, 3*PageSize).Draw(rt, "in"), {1, 2, 3}}
		out := []int{rapid.IntRange(1, 16).Draw(rt, "out"), rapid.IntRange(1, 3*PageSize).Draw(rt, "pages")}
		sent = append(sent, bytes.Join(in, nil))
		sizes = append(sizes, out[0]+out[1])
		pending = append(pending, q.Submit(in, out))
	}
	for i := len(pending) - 1; i >= 0; i-- {
		n, err := pending[i].Wait()
		if err != nil || n != sizes[i] {
			rt.Fatalf("request %d: %d bytes, %v; want %d", i, n, err, sizes[i])
		}
		got := make([]byte, n)
		pending[i].Read(got, 0)
		for j, b := range got {
			if b != byte(i+1)^byte(j) {
				rt.Fatalf("request %d: byte %d of the reply is %#x", i, j, b)
			}
		}
		pending[i].Free()
	}
	dev.mu.Lock()
	defer dev.mu.Unlock()
	for i := range sent {
		if !bytes.Equal(sent[i], (*seen)[i]) {
			rt.Fatalf("request %d: the device saw other bytes", i)
		}
	}
}

// Next returns each completion once, with its tag, also those that others have collected, and what
// was sent by Later comes back by itself.
func TestNextAndLater(t *testing.T) {
	vm := newTestVM(t, Options{RingSize: 16, Fail: func(err error) { t.Fatal(err) }})
	c := vm.Start()
	forgets := 0
	answer := func([]byte, [][]byte) uint32 { return 16 }
	dev := startDevice(vm, 1, answer)
	defer dev.close()
	hiprio := startDevice(vm, 0, func([]byte, [][]byte) uint32 { forgets++; return 0 })
	q := c.Queue(1)
	q.Ordered()
	const n = 500
	seen := make([]bool, n)
	for sent, flying := 0, 0; sent < n || flying > 0; {
		if sent < n && flying < 10 {
			q.Add([][]byte{{1}}, []int{16}).Tag = sent
			c.Later(ForgetMessage(1, 1))
			q.Kick()
			sent, flying = sent+1, flying+1
			continue
		}
		p, err := q.Next()
		if err != nil || seen[p.Tag] {
			t.Fatalf("request %d came again, or %v", p.Tag, err)
		}
		seen[p.Tag] = true
		p.Free()
		flying--
	}
	if err := c.d.Settle(); err != nil {
		t.Fatal(err)
	}
	hiprio.close()
	if forgets != n || len(c.d.queues[0].pool) == 0 {
		t.Errorf("%d FORGETs arrived, want %d; %d requests given back", forgets, n, len(c.d.queues[0].pool))
	}
	if q.Signals == 0 || q.Signals < q.Interrupts {
		t.Errorf("%d signals, %d interrupts", q.Signals, q.Interrupts)
	}
}

// reply is a FUSE reply made of parts that may be wrong.
func reply(out [][]byte, length uint32, status int32, unique uint64, written uint32) uint32 {
	b := binary.NativeEndian.AppendUint32(nil, length)
	b = binary.NativeEndian.AppendUint32(b, uint32(status))
	b = binary.NativeEndian.AppendUint64(b, unique)
	copy(out[0], b)
	return written
}

// failure is what f reported to Options.Fail, which was left out.
func failure(f func()) (err error) {
	defer func() { err, _ = recover().(error) }()
	f()
	return nil
}

func TestRepliesAreChecked(t *testing.T) {
	for name, bad := range map[string]func(unique uint64, out [][]byte) uint32{
		"empty":             func(u uint64, out [][]byte) uint32 { return reply(out, 16, 0, u, 0) },
		"length and used":   func(u uint64, out [][]byte) uint32 { return reply(out, 120, 0, u, 119) },
		"other unique":      func(u uint64, out [][]byte) uint32 { return reply(out, 120, 0, u+1, 120) },
		"positive status":   func(u uint64, out [][]byte) uint32 { return reply(out, 16, 5, u, 16) },
		"error with a body": func(u uint64, out [][]byte) uint32 { return reply(out, 120, -5, u, 120) },
		"short body":        func(u uint64, out [][]byte) uint32 { return reply(out, 24, 0, u, 24) },
	} {
		t.Run(name, func(t *testing.T) {
			vm := newTestVM(t, Options{})
			d := vm.Start()
			dev := startDevice(vm, 1, func(in []byte, out [][]byte) uint32 {
				return bad(binary.NativeEndian.Uint64(in[8:]), out)
			})
			defer dev.close()
			if err := failure(func() { d.GetAttr(RootID) }); !errors.Is(err, ErrResponse) {
				t.Errorf("got %v, want ErrResponse", err)
			}
		})
	}
}

func TestGoodRepliesAreTaken(t *testing.T) {
	vm := newTestVM(t, Options{Fail: func(err error) { t.Fatal(err) }})
	d := vm.Start()
	status := int32(0)
	dev := startDevice(vm, 1, func(in []byte, out [][]byte) uint32 {
		n := uint32(120)
		if status != 0 {
			n = 16
		}
		return reply(out, n, status, binary.NativeEndian.Uint64(in[8:]), n)
	})
	defer dev.close()
	if _, errno := d.GetAttr(RootID); errno != 0 {
		t.Errorf("GETATTR: %v", errno)
	}
	dev.mu.Lock()
	status = -int32(syscall.ESTALE)
	dev.mu.Unlock()
	if _, errno := d.GetAttr(RootID); errno != syscall.ESTALE {
		t.Errorf("GETATTR: %v, want ESTALE", errno)
	}
}

// A used entry for a chain that is not in flight is the device's mistake.
func TestForeignUsedEntry(t *testing.T) {
	vm := newTestVM(t, Options{})
	q := vm.Start().Queue(1)
	binary.LittleEndian.PutUint32(q.used[4:], 7)
	guestmem.StoreRelease16(q.used[2:], 1)
	if failure(q.collect) == nil {
		t.Error("a used entry of a free chain was taken")
	}
}

func TestPagesAreScattered(t *testing.T) {
	ram, err := newRAM([]MemSpec{{GPA: 1 << 30, Size: 1 << 20}}, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer ram.Close()
	seen := map[uint64]bool{}
	last := uint64(0)
	for range 200 {
		p := ram.Page()
		if seen[p] || p%PageSize != 0 || p == last+PageSize || p+PageSize == last {
			t.Fatalf("page %#x after %#x", p, last)
		}
		seen[p], last = true, p
		ram.Slice(p, PageSize)
	}
}

func TestParseDir(t *testing.T) {
	entry := func(name string) []byte {
		b := make([]byte, 24, 64)
		binary.NativeEndian.PutUint32(b[16:], uint32(len(name)))
		b = append(b, name...)
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		return b
	}
	es, err := ParseDir(append(entry("a"), entry("longer name")...), false)
	if err != nil || len(es) != 2 || es[0].Name != "a" || es[1].Name != "longer name" {
		t.Errorf("got %v, %v", es, err)
	}
	for name, b := range map[string][]byte{
		"cut header": entry("a")[:20], "cut name": entry("0123456789")[:32], "no name": entry(""),
	} {
		if _, err := ParseDir(b, false); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
