// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// lockFS blocks SETLKW and FSYNC until it is cancelled or released, and watches that nobody is inside
// while it is reset.
type lockFS struct {
	fuse.RawFileSystem
	release chan struct{}
	deaf    bool // does not listen to cancel
	inside  atomic.Int32
	resets  atomic.Int32
	broken  atomic.Bool
}

func newLockFS() *lockFS {
	return &lockFS{RawFileSystem: fuse.NewDefaultRawFileSystem(), release: make(chan struct{})}
}

func (f *lockFS) SetLkw(cancel <-chan struct{}, _ *fuse.LkIn) fuse.Status {
	f.inside.Add(1)
	defer f.inside.Add(-1)
	if f.deaf {
		cancel = nil
	}
	select {
	case <-cancel:
		return fuse.EINTR
	case <-f.release:
		return fuse.OK
	}
}

func (f *lockFS) Fsync(cancel <-chan struct{}, _ *fuse.FsyncIn) fuse.Status {
	return f.SetLkw(cancel, nil)
}

func (f *lockFS) GetAttr(<-chan struct{}, *fuse.GetAttrIn, *fuse.AttrOut) fuse.Status {
	f.inside.Add(1)
	f.inside.Add(-1)
	return fuse.OK
}

func (f *lockFS) Reset() {
	if f.inside.Load() != 0 {
		f.broken.Store(true)
	}
	f.resets.Add(1)
}

// pending is a request that a goroutine carries out.
type pending struct {
	done  atomic.Bool
	errno syscall.Errno
}

// launch starts a request on a worker of its own.
func launch(t testing.TB, s *Session, msg []byte, room int) *pending {
	p := new(pending)
	go func() {
		out := make([]byte, room)
		r := &Request{In: [][]byte{msg}, Out: [][]byte{out}}
		n, _ := s.Handle(r, false)
		if n > 0 {
			p.errno = checkReply(t, msg, out, n).errno()
		}
		p.done.Store(true)
	}()
	return p
}

func (p *pending) check(t testing.TB, what string, done bool, errno syscall.Errno) {
	t.Helper()
	if p.done.Load() != done || done && p.errno != errno {
		t.Errorf("%s: done=%v with %v, want %v with %v", what, p.done.Load(), p.errno, done, errno)
	}
}

// startLocked returns a session with two SETLKW in flight, unique ids 100 and 101.
func startLocked(t testing.TB, f *lockFS) (tt *tester, a, b *pending) {
	tt = newStarted(t, f)
	a = launch(t, tt.s, message(t, OpSetlkw, 100, make([]byte, 48)), 16)
	b = launch(t, tt.s, message(t, OpSetlkw, 101, make([]byte, 48)), 16)
	synctest.Wait()
	a.check(t, "SETLKW", false, 0)
	b.check(t, "SETLKW", false, 0)
	return tt, a, b
}

func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tt, a, b := startLocked(t, newLockFS())
		if got, again := tt.try(message(t, OpInterrupt, 9, uint64(101)), 16, true); got.written != 0 || again {
			t.Errorf("INTERRUPT: %d bytes, again=%v", got.written, again)
		}
		synctest.Wait()
		a.check(t, "the other SETLKW", false, 0)
		b.check(t, "the interrupted SETLKW", true, syscall.EINTR)
		if got := tt.send(message(t, OpInterrupt, 9, uint64(101)), 16); got.errno() != syscall.EAGAIN {
			t.Errorf("INTERRUPT of what is over: %v", got.errno())
		}
		tt.s.Interrupt()
		tt.s.Interrupt()
		synctest.Wait()
		a.check(t, "SETLKW after Interrupt", true, syscall.ENOLCK)
	})
}

// TestRequestAfterInterrupt: a Request whose channel was closed gets a new one.
func TestRequestAfterInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLockFS()
		s := newStarted(t, f).s
		msg, out := message(t, OpSetlkw, 100, make([]byte, 48)), make([]byte, 16)
		r := &Request{In: [][]byte{msg}, Out: [][]byte{out}}
		for range 3 {
			var done atomic.Bool
			go func() {
				s.Handle(r, false)
				done.Store(true)
			}()
			synctest.Wait()
			if done.Load() {
				t.Fatal("SETLKW did not wait")
			}
			s.Interrupt()
			synctest.Wait()
			if got := checkReply(t, msg, out, 16).errno(); !done.Load() || got != syscall.ENOLCK {
				t.Fatalf("done=%v, %v", done.Load(), got)
			}
		}
	})
}

// TestLateRequest: a request that saw a session live, and is overtaken by its end before it is
// in flight, does not reach the file system of the next one.
func TestLateRequest(t *testing.T) {
	f := newFullRecorder()
	tt := newStarted(t, f)
	msg, out := message(t, OpGetattr, 8, make([]byte, 16)), make([]byte, 120)
	r := &Request{In: [][]byte{msg}, Out: [][]byte{out}}
	r.start(false)
	r.params = tt.s.live.Load()
	if st := tt.s.enter(r); !st.Ok() || f.last().method != "GetAttr" {
		t.Fatalf("in its own session: %v", st)
	}
	tt.init()
	if st := tt.s.enter(r); st != fuse.EIO || f.last().method != "" {
		t.Errorf("in the next session: %v", st)
	}
}

// TestHurry: who is inside is cancelled, and who comes later too, until it ends.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tt, a, b := startLocked(t, newLockFS())
		setlkw := func() *pending {
			p := launch(t, tt.s, message(t, OpSetlkw, 102, make([]byte, 48)), 16)
			synctest.Wait()
			return p
		}
		end := tt.s.Hurry()
		second := tt.s.Hurry()
		synctest.Wait()
		a.check(t, "SETLKW", true, syscall.ENOLCK)
		b.check(t, "SETLKW", true, syscall.ENOLCK)
		setlkw().check(t, "a later SETLKW", true, syscall.ENOLCK)
		end()
		end()
		setlkw().check(t, "SETLKW while the second Hurry holds", true, syscall.ENOLCK)
		second()
		last := setlkw()
		last.check(t, "SETLKW after the end", false, 0)
		tt.s.Interrupt()
		synctest.Wait()
		last.check(t, "SETLKW", true, syscall.ENOLCK)
	})
}

// TestHurryWaits: who waits for a lock is cancelled, and who comes later to do so, until it ends;
// others are not.
func TestHurryWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLockFS()
		tt, a, b := startLocked(t, f)
		other := launch(t, tt.s, message(t, OpFsync, 102, make([]byte, 16)), 16)
		synctest.Wait()
		end := tt.s.HurryWaits()
		synctest.Wait()
		a.check(t, "SETLKW", true, syscall.ENOLCK)
		b.check(t, "SETLKW", true, syscall.ENOLCK)
		late := launch(t, tt.s, message(t, OpSetlkw, 103, make([]byte, 48)), 16)
		lateOther := launch(t, tt.s, message(t, OpFsync, 104, make([]byte, 16)), 16)
		synctest.Wait()
		late.check(t, "a later SETLKW", true, syscall.ENOLCK)
		other.check(t, "FSYNC", false, 0)
		lateOther.check(t, "a later FSYNC", false, 0)
		end()
		end()
		last := launch(t, tt.s, message(t, OpSetlkw, 105, make([]byte, 48)), 16)
		synctest.Wait()
		last.check(t, "SETLKW after the end", false, 0)
		close(f.release)
		synctest.Wait()
		for _, p := range []*pending{other, lateOther, last} {
			p.check(t, "released", true, 0)
		}
	})
}

// TestEndsWait: INIT and DESTROY cancel what is in flight and wait for it, even when it does
// not listen; requests meanwhile get EIO; the file system is reset with nobody inside.
func TestEndsWait(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Session) *pending{
		"INIT":    func(t *testing.T, s *Session) *pending { return launch(t, s, initWith(t, 7, 41, 0), 80) },
		"DESTROY": func(t *testing.T, s *Session) *pending { return launch(t, s, message(t, OpDestroy, 9), 16) },
	} {
		for _, deaf := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				f := newLockFS()
				f.deaf = deaf
				tt, a, b := startLocked(t, f)
				over := end(t, tt.s)
				synctest.Wait()
				over.check(t, name, !deaf, 0)
				if deaf {
					if got := tt.send(message(t, OpStatfs, 5), 200).errno(); got != syscall.EIO {
						t.Errorf("STATFS while %s waits: %v", name, got)
					}
					close(f.release)
					synctest.Wait()
					over.check(t, name, true, 0)
					a.check(t, "SETLKW", true, 0)
				} else {
					b.check(t, "SETLKW", true, syscall.ENOLCK)
				}
				if f.resets.Load() != 1 || f.broken.Load() {
					t.Errorf("%d resets, broken=%v", f.resets.Load(), f.broken.Load())
				}
			})
		}
	}
}

// TestInitInlineEndsSession: on the loop INIT ends the old session before it asks for a worker,
// as there may be none.
func TestInitInlineEndsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tt, a, b := startLocked(t, newLockFS())
		if _, again := tt.try(initWith(t, 7, 41, 0), 80, true); !again {
			t.Error("INIT was carried out on the loop")
		}
		synctest.Wait()
		a.check(t, "SETLKW", true, syscall.ENOLCK)
		b.check(t, "SETLKW", true, syscall.ENOLCK)
	})
}

// TestResetWaitsForNobody: the file system is reset later, unless an INIT does it first.
func TestResetWaitsForNobody(t *testing.T) {
	for _, withInit := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newLockFS()
			f.deaf = true
			tt, _, _ := startLocked(t, f)
			tt.s.Reset()
			if f.resets.Load() != 0 {
				t.Error("the file system was reset under a request")
			}
			if got := tt.send(message(t, OpStatfs, 5), 200).errno(); got != syscall.EIO {
				t.Errorf("STATFS after Reset: %v", got)
			}
			var again *pending
			if withInit {
				again = launch(t, tt.s, initWith(t, 7, 41, 0), 80)
			}
			close(f.release)
			synctest.Wait()
			if f.resets.Load() != 1 || f.broken.Load() {
				t.Errorf("%d resets, broken=%v", f.resets.Load(), f.broken.Load())
			}
			want := syscall.EIO
			if withInit {
				again.check(t, "INIT", true, 0)
				want = syscall.ENOSYS
			}
			if got := tt.send(message(t, OpStatfs, 5), 200).errno(); got != want {
				t.Errorf("STATFS at the end: %v, want %v", got, want)
			}
		})
	}
}

// TestResetDuringInit: a device reset that comes while INIT still waits has the last word.
func TestResetDuringInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newLockFS()
		f.deaf = true
		tt, _, _ := startLocked(t, f)
		late := launch(t, tt.s, initWith(t, 7, 41, 0), 80)
		synctest.Wait()
		tt.s.Reset()
		close(f.release)
		synctest.Wait()
		late.check(t, "INIT", true, syscall.EIO)
		if got := tt.send(message(t, OpStatfs, 5), 200).errno(); got != syscall.EIO {
			t.Errorf("STATFS: %v", got)
		}
		if f.broken.Load() {
			t.Error("the file system was reset under a request")
		}
	})
}

// TestConcurrency lets many goroutines send everything at once: each reply is well-formed, all
// requests end, and no reset meets a request.
func TestConcurrency(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	f := newLockFS()
	s := NewSession(f, Options{})
	var wg sync.WaitGroup
	for g := range 8 {
		rng := rand.New(rand.NewPCG(seed, uint64(g)))
		wg.Go(func() {
			var r Request
			for i := range 400 {
				switch rng.IntN(80) {
				case 0, 1:
					s.Reset()
				case 2:
					defer s.Hurry()() // until the goroutine ends
				}
				unique := uint64(rng.IntN(20))
				msg := randomMessage(t, rng, unique)
				out := make([]byte, 160)
				r.In, r.Out = cut(rng, msg), cut(rng, out)
				n, again := s.Handle(&r, i%2 == 0)
				if again {
					n, again = s.Handle(&r, false)
				}
				if again {
					t.Error("a worker was told to try again")
				}
				checkReply(t, msg, out, n)
			}
		})
	}
	stop := make(chan struct{})
	go func() { // ends the SETLKWs that nobody interrupts
		for {
			select {
			case f.release <- struct{}{}:
			case <-stop:
				return
			}
		}
	}()
	wg.Wait()
	close(stop)
	if f.broken.Load() {
		t.Error("the file system was reset under a request")
	}
	if !s.inflight.drain(false) {
		t.Error("a request is still in flight")
	}
}

func randomMessage(t testing.TB, rng *rand.Rand, unique uint64) []byte {
	switch rng.IntN(12) {
	case 0:
		return initWith(t, 7, 41, 0)
	case 1:
		return message(t, OpDestroy, unique)
	case 2, 3:
		return message(t, OpInterrupt, unique, uint64(rng.IntN(20)))
	case 4, 5, 6:
		return message(t, OpSetlkw, unique, make([]byte, 48))
	case 7:
		return message(t, OpForget, unique, uint64(1))
	default:
		return message(t, OpGetattr, unique, make([]byte, 16))
	}
}
