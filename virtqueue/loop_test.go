// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// handlerFunc is a Handler.
type handlerFunc func(c *Chain)

func (f handlerFunc) Handle(c *Chain) { f(c) }

// echo completes a chain with all the room that it has.
func echo(c *Chain) {
	n := 0
	for _, b := range c.Writable {
		n += len(b)
	}
	c.Done(n)
}

// newLoopDriver returns a driver whose heads all are one writable buffer of 64 bytes.
func newLoopDriver(t testing.TB, n uint16, event bool) *driver {
	t.Helper()
	d := newDriver(t, n, event, 1<<20)
	for i := range n {
		d.set(i, desc{d.buf(int(i)), 64, wr, 0})
	}
	return d
}

func start(t testing.TB, d *driver, h handlerFunc, opt Options) *Loop {
	t.Helper()
	l, err := Start(d.mem, d.ring, h, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Stop() })
	return l
}

// next waits on the call fd until there is a used element, and returns it.
func (d *driver) next() (head, n uint32) {
	d.tb.Helper()
	for {
		if head, n, ok := d.take(); ok {
			return head, n
		}
		if !d.wantCall() {
			await(d.tb, d.ring.Call)
		}
	}
}

func TestServe(t *testing.T) {
	for _, event := range []bool{false, true} {
		d := newLoopDriver(t, 8, event)
		d.offer(5) // before the start, and without a kick
		threads := make(chan int, 100)
		l := start(t, d, func(c *Chain) { threads <- unix.Gettid(); echo(c) }, Options{})
		if head, n := d.next(); head != 5 || n != 64 {
			t.Errorf("used %d, %d bytes", head, n)
		}
		for i := range uint16(20) {
			d.offer(i % 8)
			d.kick()
			if head, _ := d.next(); head != uint32(i%8) {
				t.Errorf("used %d, want %d", head, i%8)
			}
		}
		if base := l.Stop(); base != 21 {
			t.Errorf("base %d, want 21", base)
		}
		if l.Stop() != 21 || !errors.Is(l.Update(d.ring), ErrStopped) {
			t.Error("stopped, and not stopped")
		}
		first := <-threads
		for len(threads) > 0 {
			if tid := <-threads; tid != first || tid == unix.Getpid() {
				t.Errorf("thread %d, then %d, process %d", first, tid, unix.Getpid())
			}
		}
	}
}

// Kinds of kick fds. None is ever waited for, and pipes and sockets do not fill up.
func TestKickKinds(t *testing.T) {
	pipe, socket := make([]int, 2), [2]int{}
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	socket, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	blocking, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{pipe[0], pipe[1], socket[0], socket[1], blocking} {
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	for name, fds := range map[string][2]int{
		"pipe": {pipe[0], pipe[1]}, "socket": {socket[0], socket[1]},
		"blocking eventfd": {blocking, blocking}, "none": {-1, -1},
	} {
		t.Run(name, func(t *testing.T) {
			d := newLoopDriver(t, 8, true)
			d.ring.Kick = fds[0]
			start(t, d, echo, Options{})
			const kicks = 20_000 // more than a pipe holds
			for i := range kicks {
				if i%1000 == 0 {
					d.offer(1)
				}
				if fds[1] >= 0 {
					signal(t, fds[1])
				}
				if i%1000 == 0 {
					d.next()
				}
			}
		})
	}
}

// An eventfd is never read, so its event must be the edge: else the loop would never sleep again.
func TestWatchesEdges(t *testing.T) {
	d := newLoopDriver(t, 8, true)
	l := start(t, d, echo, Options{})
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", l.epfd))
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	var events uint32
	for line := range strings.Lines(string(info)) {
		if n, _ := fmt.Sscanf(line, "tfd: %d events: %x", &fd, &events); n == 2 && fd == d.ring.Kick {
			break
		}
	}
	if fd != d.ring.Kick || events&unix.EPOLLET == 0 || events&unix.EPOLLIN == 0 {
		t.Errorf("kick fd %d is watched like this:\n%s", d.ring.Kick, info)
	}
}

// A file cannot be watched: that is an error, not a ring that sleeps for ever.
func TestKickFile(t *testing.T) {
	d := newLoopDriver(t, 8, true)
	d.ring.Kick = d.file
	if _, err := Start(d.mem, d.ring, handlerFunc(echo), Options{}); !errors.Is(err, unix.EPERM) {
		t.Errorf("%v, want EPERM", err)
	}
	d.ring.Kick = 1 << 20
	if _, err := Start(d.mem, d.ring, handlerFunc(echo), Options{}); !errors.Is(err, unix.EBADF) {
		t.Errorf("%v, want EBADF", err)
	}
}

// Kinds of call fds, each of them full: the daemon never waits, and leaves their mode alone.
func TestCallKinds(t *testing.T) {
	pipe := make([]int, 2)
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	socket, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{pipe[0], pipe[1], socket[0], socket[1], event} {
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	full := [8]byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for name, tc := range map[string]struct{ read, write int }{
		"pipe": {pipe[0], pipe[1]}, "socket": {socket[0], socket[1]}, "eventfd": {event, event},
	} {
		t.Run(name, func(t *testing.T) {
			d := newLoopDriver(t, 8, false)
			d.ring.Call = tc.write
			start(t, d, echo, Options{})
			d.offer(0)
			d.kick()
			await(t, tc.read)
			d.take()
			if tc.read == tc.write {
				if _, err := unix.Write(tc.write, full[:]); err != nil {
					t.Fatal(err)
				}
			} else {
				for writable(tc.write) {
					if _, err := unix.Write(tc.write, make([]byte, 4096)); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 100 {
				d.offer(1)
				d.kick()
				for _, _, ok := d.take(); !ok; _, _, ok = d.take() {
					runtime.Gosched() // nobody can tell us now
				}
			}
			if flags, err := unix.FcntlInt(uintptr(tc.write), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
				t.Errorf("mode changed to %#x, %v", flags, err)
			}
		})
	}
}

// Update changes fds at once, also while the handler is busy.
func TestUpdate(t *testing.T) {
	d := newLoopDriver(t, 8, false)
	busy, release := make(chan struct{}), make(chan struct{})
	l := start(t, d, func(c *Chain) {
		if c.Head == 7 {
			close(busy)
			<-release
		}
		echo(c)
	}, Options{})
	d.offer(0)
	d.kick()
	d.next()
	d.offer(7)
	d.kick()
	<-busy
	old := d.ring
	d.ring.Kick, d.ring.Call = eventfd(t), eventfd(t)
	if err := l.Update(d.ring); err != nil {
		t.Fatal(err)
	}
	count(t, old.Call)
	await(t, d.ring.Call) // whoever listens to the new one is told once
	close(release)
	if head, _ := d.next(); head != 7 {
		t.Errorf("used %d, want 7", head)
	}
	for i := range uint16(100) {
		d.offer(i % 7)
		d.kick()
		d.next()
	}
	if n := count(t, old.Call); n != 0 {
		t.Errorf("the old call fd was written %d times", n)
	}
	// A kick that came only while nobody watched is made up for.
	d.offer(1)
	d.ring.Kick = eventfd(t)
	if err := l.Update(d.ring); err != nil {
		t.Fatal(err)
	}
	d.next()
}

func TestUpdateRefused(t *testing.T) {
	d := newLoopDriver(t, 8, true)
	l := start(t, d, echo, Options{})
	for name, change := range map[string]func(r *Ring){
		"size":      func(r *Ring) { r.Size = 4 },
		"event idx": func(r *Ring) { r.EventIdx = false },
		"address":   func(r *Ring) { r.Used = 0 },
		"kick":      func(r *Ring) { r.Kick = d.file },
		"call":      func(r *Ring) { r.Call = 1 << 20 },
		"err":       func(r *Ring) { r.Err = 1 << 20 },
	} {
		r := d.ring
		r.Kick = eventfd(t)
		change(&r)
		if l.Update(r) == nil {
			t.Errorf("%s: accepted", name)
		}
		d.offer(1)
		d.kick() // the old one still counts
		d.next()
	}
}

// The ring moves to other addresses, with its indices.
func TestMoveRing(t *testing.T) {
	d := newLoopDriver(t, 8, true)
	l := start(t, d, echo, Options{})
	for range 5 {
		d.offer(2)
		d.kick()
		d.next()
	}
	copy(d.at(d.buf(20)), d.at(ramBase)[:d.bufs])
	delta := d.buf(20) - ramBase
	d.ring.Desc, d.ring.Avail, d.ring.Used = d.ring.Desc+delta, d.ring.Avail+delta, d.ring.Used+delta
	if err := l.Update(d.ring); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		d.offer(3)
		d.kick()
		if head, n := d.next(); head != 3 || n != 64 {
			t.Fatalf("used %d, %d bytes", head, n)
		}
	}
	if base := l.Stop(); base != 25 {
		t.Errorf("base %d, want 25", base)
	}
}

// Stop waits for what is in flight, and publishes it.
func TestStopWaits(t *testing.T) {
	d := newLoopDriver(t, 8, true)
	held := make(chan *Chain, 8)
	l := start(t, d, func(c *Chain) { held <- c }, Options{})
	d.offer(0, 1, 2)
	d.kick()
	chains := []*Chain{<-held, <-held, <-held}
	stopped := make(chan uint16, 1)
	go func() { stopped <- l.Stop() }()
	<-l.done // the loop has gone; Stop waits for us
	for i, c := range chains {
		select {
		case <-stopped:
			t.Fatal("Stop did not wait")
		default:
		}
		c.Done(i)
	}
	if base := <-stopped; base != 3 {
		t.Errorf("base %d, want 3", base)
	}
	for i := range uint32(3) {
		if head, n, ok := d.take(); head != i || n != i || !ok {
			t.Errorf("used %d, %d bytes, %v", head, n, ok)
		}
	}
}

// A broken ring stands still and says so once; Update sets it going again.
func TestLoopBreaks(t *testing.T) {
	d := newLoopDriver(t, 8, true)
	broken := make(chan error, 10)
	l := start(t, d, echo, Options{OnBroken: func(err error) { broken <- err }})
	for range 3 {
		d.setIdx(d.idx + 9)
		d.kick()
		if n := await(t, d.ring.Err); n != 1 {
			t.Errorf("err fd written %d times", n)
		}
		if err := <-broken; !errors.Is(err, ErrBroken) {
			t.Errorf("%v, want ErrBroken", err)
		}
		d.setIdx(d.idx)
		d.offer(1)
		for range 10 {
			d.kick()
		}
		if _, _, ok := d.take(); ok {
			t.Error("a broken ring was served")
		}
		if err := l.Update(d.ring); err != nil {
			t.Fatal(err)
		}
		if head, _ := d.next(); head != 1 {
			t.Errorf("used %d, want 1", head)
		}
	}
	if n := count(t, d.ring.Err); n != 0 || len(broken) > 0 {
		t.Errorf("told %d times too often", n)
	}
}

func TestBadChainsOnLoop(t *testing.T) {
	d := newLoopDriver(t, 8, true)
	var bad atomic.Int64
	start(t, d, echo, Options{OnBadChain: func(err error) {
		if errors.Is(err, ErrChain) {
			bad.Add(1)
		}
	}})
	d.set(1, desc{0, 1, wr, 0})
	for range 50 {
		d.offer(1, 2)
		d.kick()
		for _, want := range [][2]uint32{{1, 0}, {2, 64}} {
			if head, n := d.next(); head != want[0] || n != want[1] {
				t.Fatalf("used %d, %d bytes, want %d", head, n, want)
			}
		}
	}
	if bad.Load() != 50 {
		t.Errorf("%d bad chains reported, want 50", bad.Load())
	}
}

// The file behind the memory shrinks: wherever that is noticed, it is reported, and Stop still works.
func TestFaults(t *testing.T) {
	touch := func(c *Chain) { c.Writable[0][0] = 1; c.Done(1) }
	for name, tc := range map[string]struct {
		keep    int64 // what is left of the file
		handler func(done chan<- *Chain) handlerFunc
	}{
		"in the handler": {0x1000, func(chan<- *Chain) handlerFunc { return touch }},
		"in the ring":    {0, func(chan<- *Chain) handlerFunc { return touch }},
		"in a worker":    {0, func(held chan<- *Chain) handlerFunc { return func(c *Chain) { held <- c } }},
	} {
		t.Run(name, func(t *testing.T) {
			d := newLoopDriver(t, 8, true)
			held, faults := make(chan *Chain, 1), make(chan error, 10)
			l := start(t, d, tc.handler(held), Options{
				OnFault:  func(err error) { faults <- err },
				OnBroken: func(err error) { t.Errorf("broken: %v", err) },
			})
			d.offer(0)
			inFlight := name == "in a worker"
			if inFlight {
				d.kick()
				c := <-held
				truncate(t, d, tc.keep)
				c.Done(0)
			} else {
				truncate(t, d, tc.keep)
				d.kick()
			}
			if err := <-faults; !errors.Is(err, guestmem.ErrFault) {
				t.Errorf("%v, want ErrFault", err)
			}
			await(t, d.ring.Err)
			if base := l.Stop(); inFlight && base != 1 {
				t.Errorf("base %d, want 1", base)
			}
			if len(faults) > 0 {
				t.Errorf("reported again: %v", <-faults)
			}
		})
	}
}

func truncate(t *testing.T, d *driver, size int64) {
	t.Helper()
	if err := unix.Ftruncate(d.file, size); err != nil {
		t.Fatal(err)
	}
}
