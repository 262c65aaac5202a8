// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// quietSpace is a space whose requests wait for owners of ours only: a wake-up that is lost is not
// made good by a poll.
func quietSpace() *Space {
	s := NewSpace()
	s.poll = never
	return s
}

// ranges waits for a lock of bytes.
func ranges(h *Handle, owner uint64, l Lock) func(<-chan struct{}) error {
	return func(cancel <-chan struct{}) error { return h.Wait(cancel, owner, l) }
}

func files(h *Handle, typ int16) func(<-chan struct{}) error {
	return func(cancel <-chan struct{}) error { return h.WaitFlock(cancel, typ) }
}

// TestReleasesWake: whatever ends a lock lets the one that waits for it go on at once.
func TestReleasesWake(t *testing.T) {
	tests := map[string]struct {
		take, give func(h *Handle) error
		flock      bool
	}{
		"unlock":           {setAll, func(h *Handle) error { return h.Set(1, freeAll) }, false},
		"downgrade":        {setAll, func(h *Handle) error { return h.Set(1, readAll) }, false},
		"FLUSH":            {setAll, func(h *Handle) error { h.Flush(1); return nil }, false},
		"RELEASE":          {setAll, func(h *Handle) error { h.Drop(); return nil }, false},
		"reset":            {setAll, func(h *Handle) error { h.guest.Reset(); return nil }, false},
		"flock: unlock":    {flockAll, func(h *Handle) error { return h.SetFlock(unix.F_UNLCK) }, true},
		"flock: downgrade": {flockAll, func(h *Handle) error { return h.SetFlock(unix.F_RDLCK) }, true},
		"flock: RELEASE":   {flockAll, func(h *Handle) error { h.Drop(); return nil }, true},
		"flock: reset":     {flockAll, func(h *Handle) error { h.guest.Reset(); return nil }, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, path := quietSpace(), newFile(t)
			holder := open(t, newGuest(t, s), path, unix.O_RDWR)
			other := open(t, newGuest(t, s), path, unix.O_RDWR)
			must(t, "the lock", tt.take(holder))
			wait := ranges(other, 1, readAll)
			if tt.flock {
				wait = files(other, unix.F_RDLCK)
			}
			_, got := waiting(t, other, wait)
			must(t, "giving it up", tt.give(holder))
			come(t, "the one that waits", got, nil)
		})
	}
}

func setAll(h *Handle) error   { return h.Set(1, writeAll) }
func flockAll(h *Handle) error { return h.SetFlock(unix.F_WRLCK) }

// TestFailedChangeWakes: a change of an flock lock that fails has given the old lock up.
func TestFailedChangeWakes(t *testing.T) {
	s, path := quietSpace(), newFile(t)
	var h [3]*Handle
	for i := range h {
		h[i] = open(t, newGuest(t, s), path, unix.O_RDONLY)
	}
	must(t, "LOCK_SH", h[0].SetFlock(unix.F_RDLCK))
	must(t, "LOCK_SH", h[1].SetFlock(unix.F_RDLCK))
	_, got := waiting(t, h[2], files(h[2], unix.F_WRLCK))
	must(t, "LOCK_UN", h[0].SetFlock(unix.F_UNLCK))
	must(t, "LOCK_SH of another", h[0].SetFlock(unix.F_RDLCK))
	still(t, "LOCK_EX", got)
	want(t, "LOCK_EX beside LOCK_SH", h[1].SetFlock(unix.F_WRLCK), unix.EAGAIN)
	must(t, "LOCK_UN", h[0].SetFlock(unix.F_UNLCK))
	come(t, "LOCK_EX, when the other has lost its lock", got, nil)
}

// TestLine: those that wait get a lock in the order in which they came.
func TestLine(t *testing.T) {
	const n = 100
	s, path := quietSpace(), newFile(t)
	g := newGuest(t, s)
	h := open(t, g, path, unix.O_RDWR)
	must(t, "the first lock", h.Set(0, writeAll))
	granted := make(chan uint64, n)
	for id := uint64(1); id <= n; id++ {
		waiting(t, h, func(cancel <-chan struct{}) error {
			err := h.Wait(cancel, id, writeAll)
			granted <- id
			return err
		})
	}
	for id := uint64(0); id < n; id++ {
		must(t, "unlock", h.Set(id, freeAll))
		if next := <-granted; next != id+1 {
			t.Fatalf("after owner %d came %d", id, next)
		}
	}
}

// TestCancel: who gives up hands the turn that it may have on.
func TestCancel(t *testing.T) {
	s, path := quietSpace(), newFile(t)
	g := newGuest(t, s)
	h := open(t, g, path, unix.O_RDWR)
	for range 200 {
		must(t, "the lock", h.Set(1, writeAll))
		cancel, first := waiting(t, h, ranges(h, 2, writeAll))
		_, second := waiting(t, h, ranges(h, 3, writeAll))
		go cancel()
		must(t, "unlock", h.Set(1, freeAll))
		switch err := <-first; err {
		case nil:
			must(t, "unlock", h.Set(2, freeAll))
		case unix.EINTR:
		default:
			t.Fatal(err)
		}
		come(t, "the second", second, nil)
		must(t, "unlock", h.Set(3, freeAll))
	}
	if n := len(s.waiting); n != 0 || lined(h) != 0 {
		t.Errorf("%d owners still wait", n)
	}
}

// TestForeignHolder: what a process of the host or another daemon has is waited for, too.
func TestForeignHolder(t *testing.T) {
	path := newFile(t)
	host := startHostProcess(t, path)
	mine := open(t, newGuest(t, NewSpace()), path, unix.O_RDWR)
	theirs := open(t, newGuest(t, NewSpace()), path, unix.O_RDWR)

	must(t, "the host's lock", host.set(span{3, 5, unix.F_WRLCK}))
	_, got := waiting(t, mine, ranges(mine, 1, part(unix.F_RDLCK, 5, 9)))
	must(t, "the host's unlock", host.set(unlocked))
	come(t, "a lock after the host's", got, nil)
	want(t, "the host beside it", host.set(span{7, 7, unix.F_WRLCK}), unix.EAGAIN)

	_, got = waiting(t, theirs, ranges(theirs, 1, writeAll))
	must(t, "unlock", mine.Set(1, freeAll))
	come(t, "a lock after another daemon's", got, nil)

	must(t, "LOCK_EX", mine.SetFlock(unix.F_WRLCK))
	_, got = waiting(t, theirs, files(theirs, unix.F_RDLCK))
	mine.Drop()
	come(t, "LOCK_SH after another daemon's", got, nil)
}

// TestPollTime: the sleep grows, and not beyond its bound.
func TestPollTime(t *testing.T) {
	last := time.Duration(0)
	for tries := range 1000 {
		d := pollTime(tries)
		if d < last || d < pollFirst || d > pollLast {
			t.Fatalf("%v after %v", d, last)
		}
		last = d
	}
	if last != pollLast {
		t.Errorf("at most %v, not %v", last, pollLast)
	}
}

// TestDropWhileWaiting: RELEASE of a handle ends what waits through it, and takes nobody else's.
func TestDropWhileWaiting(t *testing.T) {
	s, path := quietSpace(), newFile(t)
	g := newGuest(t, s)
	holder := open(t, g, path, unix.O_RDWR)
	must(t, "the lock", holder.Set(1, writeAll))
	a, b := open(t, g, path, unix.O_RDWR), open(t, g, path, unix.O_RDWR)
	_, first := waiting(t, a, ranges(a, 2, writeAll))
	_, second := waiting(t, b, ranges(b, 2, writeAll))
	must(t, "LOCK_EX", holder.SetFlock(unix.F_WRLCK))
	_, third := waiting(t, a, files(a, unix.F_RDLCK))
	a.Drop()
	come(t, "flock through the handle", third, unix.EBADF)
	come(t, "through the handle", first, unix.EBADF)
	still(t, "the same owner through another handle", second)
	want(t, "a new request", a.Set(2, readAll), unix.EBADF)
	must(t, "unlock", holder.Set(1, freeAll))
	come(t, "the same owner through another handle", second, nil)
	holder.Flush(2)
	must(t, "the owner closed the file", holder.Set(1, writeAll))
}

// TestDeadlock: of owners that wait in a circle one is told, and the others go on.
func TestDeadlock(t *testing.T) {
	for n := uint64(2); n <= 5; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := quietSpace()
			g := newGuest(t, s)
			paths := []*Handle{open(t, g, newFile(t), unix.O_RDWR), open(t, g, newFile(t), unix.O_RDWR)}
			at := func(i uint64) (*Handle, Lock) {
				return paths[i%2], part(unix.F_WRLCK, int64(i%n), int64(i%n))
			}
			var results []chan error
			for i := range n {
				h, l := at(i)
				if i == n-1 && n%2 == 1 {
					h = paths[0]
				}
				must(t, "a lock", h.Set(i, l))
			}
			for i := range n - 1 {
				h, l := at(i + 1)
				if i+1 == n-1 && n%2 == 1 {
					h = paths[0]
				}
				_, got := waiting(t, h, ranges(h, i, l))
				results = append(results, got)
			}
			h, l := at(0)
			want(t, "the last of the circle", h.Wait(nil, n-1, l), unix.EDEADLK)
			for i := n - 1; i > 0; i-- {
				for _, h := range paths {
					h.Flush(i)
				}
				come(t, "who waited for it", results[i-1], nil)
			}
		})
	}
}

// TestNoDeadlock: owners of different guests have nothing to do with each other, nor has who waits
// for a free one.
func TestNoDeadlock(t *testing.T) {
	s, path := quietSpace(), newFile(t)
	h := open(t, newGuest(t, s), path, unix.O_RDWR)
	other := open(t, newGuest(t, s), path, unix.O_RDWR)
	must(t, "a lock", h.Set(1, part(unix.F_WRLCK, 0, 0)))
	must(t, "a lock", other.Set(2, part(unix.F_WRLCK, 1, 1)))
	must(t, "a lock", h.Set(2, part(unix.F_WRLCK, 2, 2)))
	_, a := waiting(t, other, ranges(other, 2, part(unix.F_WRLCK, 2, 2)))
	_, b := waiting(t, h, ranges(h, 1, part(unix.F_WRLCK, 1, 1)))
	// Owner 2 of the one guest is not owner 2 of the other.
	h.Flush(2)
	come(t, "the other guest", a, nil)
	other.Flush(2)
	come(t, "this guest", b, nil)
}

// TestExclusion has many owners of guests in two spaces, as in two daemons, take a write lock
// again and again, some giving up: one at a time has it, and all get it.
func TestExclusion(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, spaces := range []int{1, 2} {
		for _, whole := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d spaces, flock %v", spaces, whole), func(t *testing.T) {
				exclusion(t, spaces, whole, seed)
			})
		}
	}
}

func exclusion(t *testing.T, spaces int, flock bool, seed uint64) {
	path := newFile(t)
	var inside, turns atomic.Int32
	var wg sync.WaitGroup
	for i := range spaces {
		s := NewSpace()
		if spaces == 1 {
			s.poll = never
		}
		for j := range 2 {
			g := newGuest(t, s)
			for k := range 4 {
				h := open(t, g, path, unix.O_RDWR)
				rng := rand.New(rand.NewPCG(seed, uint64(i*100+j*10+k)))
				wg.Go(func() { contend(t, h, flock, rng, &inside, &turns) })
			}
		}
	}
	wg.Wait()
	if turns.Load() == 0 {
		t.Error("nobody ever got the lock")
	}
}

// contend takes a lock 50 times.
func contend(t *testing.T, h *Handle, flock bool, rng *rand.Rand, inside, turns *atomic.Int32) {
	take, give := ranges(h, h.id, writeAll), func() error { return h.Set(h.id, freeAll) }
	if flock {
		take, give = files(h, unix.F_WRLCK), func() error { return h.SetFlock(unix.F_UNLCK) }
	}
	for i := 0; i < 50; {
		cancel := make(chan struct{})
		if rng.IntN(4) == 0 {
			time.AfterFunc(time.Duration(rng.IntN(300))*time.Microsecond, func() { close(cancel) })
		}
		switch err := take(cancel); err {
		case nil:
		case unix.EINTR:
			continue
		default:
			t.Errorf("a lock: %v", err)
			return
		}
		if n := inside.Add(1); n != 1 {
			t.Errorf("%d owners have the lock", n)
		}
		turns.Add(1)
		inside.Add(-1)
		if err := give(); err != nil {
			t.Errorf("unlock: %v", err)
		}
		i++
	}
}

// TestReleaseDuringTurn: what is given up while somebody has the turn is not lost for those before
// it in the line.
func TestReleaseDuringTurn(t *testing.T) {
	s, path := quietSpace(), newFile(t)
	h := open(t, newGuest(t, s), path, unix.O_RDWR)
	must(t, "a lock", h.Set(1, part(unix.F_WRLCK, 0, 1)))
	_, first := waiting(t, h, ranges(h, 2, part(unix.F_WRLCK, 0, 0)))
	_, second := waiting(t, h, ranges(h, 3, part(unix.F_WRLCK, 1, 1)))
	o := h.guest.find(h.key, ownerID{h.guest, posix, 3})
	o.call.Lock() // its try takes as long as the test likes
	must(t, "unlock", h.Set(1, part(unix.F_UNLCK, 1, 1)))
	must(t, "unlock", h.Set(1, part(unix.F_UNLCK, 0, 0)))
	o.call.Unlock()
	h.guest.leave(o, false)
	come(t, "the second", second, nil)
	come(t, "the first", first, nil)
}

// TestDropDuringRequest: a request that was let in before its handle was closed takes nothing after.
func TestDropDuringRequest(t *testing.T) {
	path := newFile(t)
	g := newGuest(t, NewSpace())
	h := open(t, g, path, unix.O_RDWR)
	o, err := h.enter(ownerID{g, posix, 1})
	must(t, "a request", err)
	h.Drop()
	want(t, "what it asks for", o.set(h, writeAll.span(), 1), unix.EBADF)
	g.leave(o, false)
	if len(g.owners) != 0 {
		t.Error("the owner is still there")
	}
}
