// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// queueUp asks for a range and waits until it is in the list.
func queueUp(m *mapping, lo, hi int64, cancel <-chan struct{}) <-chan *rangeLock {
	count := func() (n int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for e := m.ranges.first; e != nil; e = e.next {
			n++
		}
		return n
	}
	before := count()
	got := make(chan *rangeLock, 1)
	go func() {
		r, err := m.lockRange(cancel, lo, hi, false)
		if err != nil {
			close(got)
			return
		}
		got <- r
	}()
	for count() == before {
		time.Sleep(10 * time.Microsecond)
	}
	return got
}

func (m *mapping) unlockRange(r *rangeLock) {
	m.mu.Lock()
	m.release(r)
	m.mu.Unlock()
}

func held(r *rangeLock, m *mapping) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return r.held
}

// TestRangeLocksAreFair: first come, first served, also for one that overlaps only a waiting one;
// one that overlaps nobody does not wait.
func TestRangeLocksAreFair(t *testing.T) {
	b := newBench(t, 0, nil)
	m := b.f.m
	first := <-queueUp(m, 0, 10, nil)
	whole := queueUp(m, 5, toEnd, nil)
	behind := queueUp(m, 20, 30, nil) // overlaps only one that waits
	left := queueUp(m, 0, 5, nil)
	time.Sleep(time.Millisecond)
	if len(whole)+len(behind)+len(left) > 0 {
		t.Error("a range was granted that overlaps an earlier one")
	}
	m.unlockRange(first)
	w, l := <-whole, <-left
	if !held(w, m) || len(behind) > 0 {
		t.Error("not in order")
	}
	m.unlockRange(w)
	m.unlockRange(<-behind)
	m.unlockRange(l)
	if m.ranges.first != nil || m.ranges.last != nil {
		t.Error("a range lock is left")
	}
}

// TestRangeLockWaitsEnd: by cancel and by Shutdown; those behind go on.
func TestRangeLockWaitsEnd(t *testing.T) {
	b := newBench(t, 0, nil)
	m := b.f.m
	first := <-queueUp(m, 0, 10, nil)
	cancel := make(chan struct{})
	second := queueUp(m, 5, 20, cancel)
	third := queueUp(m, 15, 30, nil)
	close(cancel)
	if r, ok := <-second; ok {
		t.Errorf("a canceled wait got %v", r)
	}
	m.unlockRange(<-third)
	fourth := queueUp(m, 0, 1, nil)
	b.c.Shutdown()
	if r, ok := <-fourth; ok {
		t.Errorf("a wait got %v at shutdown", r)
	}
	m.unlockRange(first)
	if err := b.f.Truncate(nil, 0); err != nil {
		t.Errorf("a range that is free, at shutdown: %v", err)
	}
}

// TestRangeLocksExclude: random ranges, random cancels; nobody ever shares a page.
func TestRangeLocksExclude(t *testing.T) {
	b := newBench(t, 0, nil)
	m := b.f.m
	var mu sync.Mutex
	var owner [16]int
	var wg sync.WaitGroup
	for g := 1; g <= 16; g++ {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g)))
			for range 500 {
				lo := int64(r.IntN(15))
				hi := lo + 1 + int64(r.IntN(int(15-lo)))
				var cancel chan struct{}
				if r.IntN(3) == 0 {
					cancel = make(chan struct{})
					time.AfterFunc(time.Duration(r.IntN(50))*time.Microsecond, func() { close(cancel) })
				}
				l, err := m.lockRange(cancel, lo, hi, false)
				if err != nil {
					continue
				}
				mu.Lock()
				for i := lo; i < hi; i++ {
					if owner[i] != 0 {
						t.Errorf("page %d belongs to %d and %d", i, owner[i], g)
					}
					owner[i] = g
				}
				mu.Unlock()
				mu.Lock()
				clear(owner[lo:hi])
				mu.Unlock()
				m.unlockRange(l)
			}
		})
	}
	wg.Wait()
	if m.ranges.first != nil {
		t.Error("a range lock is left")
	}
}

// TestWritesAreAtomic: 64 goroutines write unaligned overlapping ranges to a slow host. What
// is left of any two that write the same range is the one or the other, and nobody gets stuck.
func TestWritesAreAtomic(t *testing.T) {
	const writers, rounds = 64, 10
	for _, frames := range []int{0, 1, 3, 64} {
		w := newWorld(worldConfig{seed: 7, frames: frames, goroutines: writers, heap: true})
		for round := range rounds {
			var wg sync.WaitGroup
			off, n := int64(PageSize-1-round*7), 2*PageSize+round*5
			for g := range writers {
				wg.Go(func() {
					f := w.files[g%len(w.files)]
					if g%8 == 7 { // others around them, that leave the range itself alone
						_, _ = f.WriteAt(nil, [][]byte{make([]byte, 50)}, off-50, 0)
						_, _ = f.WriteAt(nil, [][]byte{make([]byte, 50)}, off+int64(n), 0)
						return
					}
					src := slices.Repeat([]byte{byte(g + 1)}, n)
					if k, err := f.WriteAt(nil, split(src), off, 0); k != n || err != nil {
						t.Errorf("write: %d, %v", k, err)
					}
				})
			}
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			select {
			case <-done:
			case <-time.After(stuck):
				t.Fatal("requests wait for each other")
			}
			part := w.h.content()[off : off+int64(n)]
			if part[0] == 0 || slices.ContainsFunc(part, func(b byte) bool { return b != part[0] }) {
				t.Errorf("%d frames: the range holds bytes of two writes", frames)
			}
			w.atRest()
		}
		w.close()
		for _, s := range w.found() {
			t.Error(s)
		}
	}
}

// TestAppends: an append lands at the end of the file wherever that is by then, and what is cached
// there goes.
func TestAppends(t *testing.T) {
	b := newBench(t, 32, pattern(1, 10*PageSize))
	b.read(0, 10*PageSize)
	b.h.mu.Lock()
	b.h.resize(10, true) // not seen by the daemon
	b.h.mu.Unlock()
	if n, err := b.write(0, pattern(2, PageSize), WriteAppend); n != PageSize || err != nil {
		t.Fatal(n, err)
	}
	want := append(pattern(1, 10*PageSize)[:10], pattern(2, PageSize)...)
	if got := b.read(0, 3*PageSize); string(got) != string(want) {
		t.Error("after the file was cut off, an append does not show")
	}
	// The file is cut off between the daemon's look and its append.
	b.read(0, 2*PageSize)
	_, _ = b.write(5*PageSize, pattern(3, 3*PageSize), 0)
	b.h.before = func(op string, _ int64, _ int) (int, error) {
		if op == "write" {
			b.h.mu.Lock()
			b.h.resize(20, true)
			b.h.mu.Unlock()
		}
		return -1, nil
	}
	if n, err := b.write(0, pattern(4, 100), WriteAppend); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	checkPresent(t, b, nil)
	b.h.before = func(op string, _ int64, _ int) (int, error) {
		if op == "write" {
			return 0, unix.ENOSPC
		}
		return -1, nil
	}
	if n, err := b.write(0, pattern(4, 100), WriteAppend); n != 0 || err != unix.ENOSPC {
		t.Error(n, err)
	}
	b.checkPages()
}
