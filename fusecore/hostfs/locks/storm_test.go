// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStorm has goroutines of three guests in two spaces do everything at once, also what a guest
// in order would not do: several requests of one owner, FLUSH and RELEASE in the middle of them.
// Afterwards nothing may be left: no lock, no waiter, no fd.
func TestStorm(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	paths := []string{newFile(t), newFile(t)}
	one := NewSpace()
	spaces := []*Space{one, one, NewSpace()}
	var handles []*Handle
	for _, s := range spaces {
		g := s.NewGuest(Options{MaxOwners: 5, MaxRanges: 30, Reopen: reopen})
		for _, path := range paths {
			handles = append(handles, open(t, g, path, unix.O_RDWR), open(t, g, path, unix.O_RDONLY))
		}
	}
	opened := openFDs(t)
	var wg sync.WaitGroup
	for i := range 12 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() { storm(t, rng, handles) })
	}
	wg.Wait()
	for _, h := range handles {
		h.Drop()
	}
	if n := openFDs(t); n != opened {
		t.Errorf("%d fds are left", n-opened)
	}
	for _, s := range spaces {
		if len(s.files) != 0 || len(s.waiting) != 0 {
			t.Errorf("%d files and %d waiters are left", len(s.files), len(s.waiting))
		}
	}
	for _, path := range paths {
		h := open(t, newGuest(t, NewSpace()), path, unix.O_RDWR)
		must(t, "a lock of everything", h.Set(1, writeAll))
		must(t, "LOCK_EX", h.SetFlock(unix.F_WRLCK))
	}
}

// storm does 300 random things.
func storm(t *testing.T, rng *rand.Rand, handles []*Handle) {
	types := []int16{unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK}
	for range 300 {
		h := handles[rng.IntN(len(handles))]
		owner := rng.Uint64N(8)
		a := rng.IntN(points)
		b := a + rng.IntN(points-a)
		l := part(types[rng.IntN(3)], first(a), last(b))
		cancel := make(chan struct{})
		stop := time.AfterFunc(time.Duration(rng.IntN(2000))*time.Microsecond, func() { close(cancel) })
		var err error
		switch rng.IntN(12) {
		case 0, 1, 2:
			err = h.Wait(cancel, owner, l)
		case 3, 4, 5:
			err = h.Set(owner, l)
		case 6:
			err = h.WaitFlock(cancel, l.Type)
		case 7:
			err = h.SetFlock(l.Type)
		case 8, 9:
			h.Flush(owner)
		case 10:
			_, err = h.Get(owner, l)
		case 11:
			if rng.IntN(20) == 0 {
				h.Drop()
			}
		}
		stop.Stop()
		switch err {
		case nil, unix.EAGAIN, unix.EINTR, unix.EDEADLK, unix.ENOLCK, unix.EBADF:
		default:
			t.Errorf("%v", err)
		}
	}
}
