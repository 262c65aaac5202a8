// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"runtime/debug"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// onItsWay returns a SETLKW of this unique id that the loop has to hand to another goroutine, and its
// message and reply.
func onItsWay(t *testing.T, s *Session, unique uint64) (r *Request, msg, out []byte) {
	t.Helper()
	msg, out = message(t, OpSetlkw, unique, make([]byte, 48)), make([]byte, 16)
	r = &Request{In: [][]byte{msg}, Out: [][]byte{out}}
	if _, again := s.Handle(r, true); !again {
		t.Fatal("SETLKW was carried out on the loop")
	}
	return r, msg, out
}

// interrupt sends an INTERRUPT and checks what becomes of it.
func (tt *tester) interrupt(unique uint64, want syscall.Errno) {
	tt.t.Helper()
	got, again := tt.try(message(tt.t, OpInterrupt, unique|1, unique), 16, true)
	if again || got.errno() != want || want == 0 && got.written != 0 {
		tt.t.Errorf("INTERRUPT: %d bytes, %v, again=%v; want %v", got.written, got.errno(), again, want)
	}
}

// TestInterruptOnTheWay: an INTERRUPT that comes between the loop and the goroutine that carries out the
// request counts, for this request alone.
func TestInterruptOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tt := newStarted(t, newLockFS())
		r, msg, out := onItsWay(t, tt.s, 100)
		other, otherMsg, otherOut := onItsWay(t, tt.s, 102)
		tt.interrupt(100, 0)
		tt.s.Handle(r, false)
		if got := checkReply(t, msg, out, 16).errno(); got != syscall.EINTR {
			t.Errorf("the interrupted SETLKW: %v", got)
		}
		tt.interrupt(100, syscall.EAGAIN)
		go tt.s.Handle(other, false)
		time.Sleep(time.Hour)
		tt.interrupt(102, 0)
		synctest.Wait()
		if got := checkReply(t, otherMsg, otherOut, 16).errno(); got != syscall.EINTR {
			t.Errorf("the other SETLKW: %v", got)
		}
		// The mark goes with the request.
		tt.init()
		go tt.s.Handle(r, false)
		synctest.Wait()
		tt.interrupt(100, 0)
		synctest.Wait()
	})
}

// TestOnTheWayEnds: a request that is on its way and is refused, overtaken by the end of its session or cut
// off by a memory fault is not known any more; nobody waits for one that has not arrived.
func TestOnTheWayEnds(t *testing.T) {
	f := newLockFS()
	tt := newStarted(t, f)
	r, msg, out := onItsWay(t, tt.s, 100)
	if n := tt.s.Refuse(r, fuse.Status(syscall.ENOLCK)); checkReply(t, msg, out, n).errno() != syscall.ENOLCK {
		t.Error("Refuse has not answered")
	}
	tt.interrupt(100, syscall.EAGAIN)

	r, msg, out = onItsWay(t, tt.s, 102)
	if got := tt.send(message(t, OpDestroy, 9), 16); got.errno() != 0 || f.resets.Load() != 1 {
		t.Errorf("DESTROY beside a request on its way: %v, %d resets", got.errno(), f.resets.Load())
	}
	if n, _ := tt.s.Handle(r, false); checkReply(t, msg, out, n).errno() != syscall.EIO {
		t.Error("a request of an ended session was carried out")
	}
	tt.interrupt(102, syscall.EAGAIN)

	tt.init()
	r, _, _ = onItsWay(t, tt.s, 104)
	r.In = [][]byte{unreadable(t)[:80]}
	func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if p := recover(); !isMemoryFault(p) {
				t.Errorf("the panic is %v", p)
			}
		}()
		tt.s.Handle(r, false)
	}()
	tt.interrupt(104, syscall.EAGAIN)
	if !tt.s.inflight.drain(false) {
		t.Error("a request is still in flight")
	}
}
