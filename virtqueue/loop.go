// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// ErrStopped says that a loop has been stopped.
var ErrStopped = errors.New("virtqueue: loop is stopped")

// pollInterval is how often a ring without a kick fd is looked at, in milliseconds.
const pollInterval = 1

// Handler carries out requests.
//
// Handle is called on the queue's loop: a locked OS thread, never the process's first one, under
// guestmem.Guard. While it runs, nothing else of this queue is served. It calls c.Done before it
// returns, or hands c on to whoever will. A fault on guest memory in Handle ends it like a panic and
// completes the chain with length 0; so a handler touches the buffers before it hands the chain on,
// or not at all, and holds no lock over them without a deferred unlock. Other goroutines that touch
// buffers need a Guard of their own.
type Handler interface {
	Handle(c *Chain)
}

// Ring is a queue and the file descriptors that go with it. They stay the caller's, and must stay
// open until the Update or Stop that replaces them returns.
type Ring struct {
	Config
	Kick int // readable when the driver has made buffers available; -1: look every millisecond
	Call int // written (8 bytes, the number 1) when buffers were used and the driver asks for it; -1: nobody to tell
	Err  int // written like Call when the ring breaks; -1: nobody to tell
}

// Options are what a Loop reports. Each function may be nil. They are called on the loop, must not
// block, and must not call Update or Stop, which wait for the loop.
type Options struct {
	// OnFault learns that memory of the guest could not be touched. The ring stands still until it
	// is updated or stopped.
	OnFault func(error)
	// OnBroken learns that the ring makes no sense (ErrBroken) or is not mapped any more (ErrConfig).
	// The ring stands still until it is updated or stopped.
	OnBroken func(error)
	// OnBadChain learns of a malformed chain (ErrChain), which was completed with length 0. The
	// driver decides how often: limit the rate of what it causes.
	OnBadChain func(error)
}

// What the loop is asked to do.
const (
	ctlStop   = 1 << iota // leave
	ctlUpdate             // look the ring up again, at cfg
	ctlFault              // a completion has faulted
)

// Loop drains one queue, on a thread of its own. Its methods may be called from any goroutine but
// its own.
//
// Lock order: mu, then fds or the queue's. The loop itself never takes mu, so that Update can wait
// for nothing, and Stop for the loop.
type Loop struct {
	q    *Queue
	h    Handler
	opt  Options
	epfd int           // epoll: wake and the kick fd
	wake int           // eventfd, ours: ctl has changed
	ctl  atomic.Uint32 // what is asked for; set, then wake is written
	done chan struct{} // closed when the loop has ended

	mu      sync.Mutex // one Update or Stop at a time
	stopped bool
	base    uint16 // once stopped

	fds  sync.Mutex // held over any use of these, none of which blocks
	kick kicker
	call int // of the queue's notify function; the queue's lock guards its use
	err  notifier
	cfg  Config // for ctlUpdate
	late error  // for ctlFault: the first one

	broken bool // the loop's, as pace is
	pace   pace
}

// Start looks the ring up and begins to serve it with h. What is in the ring is served at once,
// without a kick.
func Start(mem *guestmem.Memory, r Ring, h Handler, opt Options) (*Loop, error) {
	q, err := NewQueue(mem, r.Config)
	if err != nil {
		return nil, err
	}
	l := &Loop{q: q, h: h, opt: opt, epfd: -1, wake: -1, done: make(chan struct{}), kick: noKick, call: r.Call}
	if err := l.open(r); err != nil {
		q.Close()
		l.closeFDs()
		return nil, err
	}
	q.SetFault(l.lateFault)
	go l.run()
	return l, nil
}

func (l *Loop) open(r Ring) (err error) {
	if l.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd2", err)
	}
	if err := watch(l.epfd, l.wake); err != nil {
		return err
	}
	return l.setFDs(r)
}

func (l *Loop) closeFDs() {
	l.fds.Lock()
	defer l.fds.Unlock()
	for _, fd := range []int{l.epfd, l.wake} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// setFDs makes the fds of r the ones in use. When it returns without an error, the old ones are not
// touched any more; with one, nothing has changed.
func (l *Loop) setFDs(r Ring) error {
	kick, err := newKicker(r.Kick)
	if err != nil {
		return err
	}
	call, err := newNotifier(r.Call)
	if err != nil {
		return err
	}
	errn, err := newNotifier(r.Err)
	if err != nil {
		return err
	}
	l.fds.Lock()
	defer l.fds.Unlock()
	if kick.fd != l.kick.fd {
		if kick.fd >= 0 {
			if err := watch(l.epfd, kick.fd); err != nil {
				return err
			}
		}
		l.kick.unwatch(l.epfd)
	}
	l.q.SetNotify(call.notify)
	if call.fd != l.call {
		// The last notification may have gone where nobody listened any more. One too many is legal.
		call.notify()
	}
	l.kick, l.call, l.err = kick, call.fd, errn
	return nil
}

// Update changes the fds, the logging and the addresses of a running ring, and looks the ring up
// again, also when it is broken. Size and features cannot change; indices stay, whatever r.Base says.
// When it returns without an error, the old fds are not used any more; with one, nothing has changed.
//
// Call it also after a change of the memory, so that an idle queue lets go of the old one.
func (l *Loop) Update(r Ring) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return ErrStopped
	}
	if r.Size != l.q.size || r.EventIdx != l.q.eventIdx {
		return fmt.Errorf("%w: size or features of a running ring changed", ErrConfig)
	}
	table := l.q.mem.Acquire()
	_, err := r.resolve(table)
	table.Release()
	if err != nil {
		return err
	}
	if err := l.setFDs(r); err != nil {
		return err
	}
	l.q.SetLog(r.LogUsed, r.LogAddr)
	l.fds.Lock()
	l.cfg = r.Config
	l.fds.Unlock()
	l.post(ctlUpdate)
	return nil
}

// Stop takes no more requests, waits for the ones in flight, publishes and notifies. It returns the
// index of the next entry of the avail ring to serve. Afterwards no fd of the ring and no guest
// memory is in use. To stop again returns the same.
func (l *Loop) Stop() (base uint16) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return l.base
	}
	l.post(ctlStop)
	<-l.done
	l.base = l.q.Close()
	l.stopped = true
	l.closeFDs()
	return l.base
}

// post tells the loop what to do. The loop need not run any more, but wake must be open.
func (l *Loop) post(what uint32) {
	l.ctl.Or(what)
	wakeUp(l.wake)
}

// lateFault passes a fault in Chain.Done on to the loop. When the loop has ended, nobody is left to
// be told; and Stop, which did not wait for us, as the chain is done, may have closed wake.
func (l *Loop) lateFault(err error) {
	l.fds.Lock()
	defer l.fds.Unlock()
	if l.late == nil {
		l.late = err
	}
	select {
	case <-l.done:
	default:
		l.post(ctlFault)
	}
}

// run is the loop.
func (l *Loop) run() {
	runtime.LockOSThread() // and never unlocked: handlers may leave their mark on the thread
	if unix.Gettid() == unix.Getpid() {
		// The first thread is special: it cannot end, and changing its credentials clears the
		// parent-death signal. Keep it until another thread has taken over.
		taken := make(chan struct{})
		go func() { close(taken); l.run() }()
		<-taken
		runtime.UnlockOSThread()
		return
	}
	defer close(l.done)
	for {
		if !l.broken {
			l.serve()
		}
		ctl := l.ctl.Swap(0)
		if ctl&ctlStop != 0 {
			return
		}
		if ctl&ctlFault != 0 {
			l.takeFault()
		}
		if ctl&ctlUpdate != 0 {
			l.move()
		}
		if ctl == 0 {
			l.wait()
		}
	}
}

// serve drains the ring.
func (l *Loop) serve() {
	var err error
	if fault := guestmem.Guard(func() { err = l.drain() }); fault != nil {
		l.q.Abandon()
		err = fault
	}
	if err != nil {
		l.breakRing(err)
	}
}

// drain serves the ring until it is empty and the driver has been asked for a kick, or until there is
// something else to do.
func (l *Loop) drain() error {
	q := l.q
	q.Suppress()
	for l.ctl.Load() == 0 {
		c, err := q.Pop()
		switch {
		case c != nil:
			l.h.Handle(c)
			q.Returned()
			l.pace.step()
		case err == nil:
			q.Flush()
			if !q.Rearm() {
				return nil
			}
			q.Suppress()
		case errors.Is(err, ErrChain):
			if l.opt.OnBadChain != nil {
				l.opt.OnBadChain(err)
			}
		default:
			return err
		}
	}
	q.Flush()
	return nil
}

// breakRing leaves the ring alone from now on, and says so, once.
func (l *Loop) breakRing(err error) {
	l.broken = true
	// What was completed is published if the ring can still take it.
	_ = guestmem.Guard(l.q.Flush)
	l.fds.Lock()
	l.err.notify()
	l.fds.Unlock()
	tell := l.opt.OnBroken
	if errors.Is(err, guestmem.ErrFault) {
		tell = l.opt.OnFault
	}
	if tell != nil {
		tell(err)
	}
}

func (l *Loop) takeFault() {
	l.fds.Lock()
	err := l.late
	l.late = nil
	l.fds.Unlock()
	if err != nil && !l.broken {
		l.breakRing(err)
	}
}

// move follows an Update.
func (l *Loop) move() {
	l.fds.Lock()
	cfg := l.cfg
	l.fds.Unlock()
	l.broken = false
	if err := l.q.Move(cfg); err != nil {
		l.breakRing(err)
	}
}

// wait sleeps until there may be something to do.
func (l *Loop) wait() {
	l.fds.Lock()
	timeout := -1
	if l.kick.fd < 0 && !l.broken {
		timeout = pollInterval
	}
	l.fds.Unlock()
	var events [2]unix.EpollEvent
	n, err := unix.EpollWait(l.epfd, events[:], timeout)
	if err != nil && err != unix.EINTR {
		panic(fmt.Sprintf("virtqueue: epoll_wait: %v", err))
	}
	for _, e := range events[:max(n, 0)] {
		if int(e.Fd) == l.wake {
			drainEventfd(l.wake)
			continue
		}
		l.fds.Lock()
		l.kick.drain()
		l.fds.Unlock()
	}
}
