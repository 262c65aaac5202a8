// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestWords(t *testing.T) {
	b := []byte{0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa}
	for i := 0; i <= 4; i += 2 {
		StoreRelease16(b[i:], 0x1234+uint16(i))
	}
	want := [6]byte{0x34, 0x12, 0x36, 0x12, 0x38, 0x12}
	if [6]byte(b) != want {
		t.Errorf("stored % x, want % x", b, want)
	}
	StoreRelease16(b[2:], 0xfffe)
	if got := LoadAcquire16(b[2:]); got != 0xfffe || b[1] != 0x12 || b[4] != 0x38 {
		t.Errorf("loaded %#x from % x", got, b)
	}
	for _, fn := range []func(){
		func() { LoadAcquire16(b[5:]) }, func() { StoreRelease16(b[:1], 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("an access beyond the slice")
				}
			}()
			fn()
		}()
	}
}

func TestAligned(t *testing.T) {
	m := New()
	defer m.Reset()
	mustAdd(t, m, Region{Size: 0x800, FileOffset: 6}, memfd(t, "odd", 0x1000))
	tab := m.Acquire()
	defer tab.Release()
	b, err := tab.Slice(0, 8)
	if err != nil {
		t.Fatal(err)
	}
	if !Aligned(b, 2) || Aligned(b, 4) || Aligned(b[1:], 2) || !Aligned(b[2:], 8) {
		t.Error("wrong alignment")
	}
}

// Two threads each store to their own word and then load the other's. With a full fence between, at
// least one sees the other's store; without, x86 and ARM both let each pass the other by.
func TestFence(t *testing.T) {
	const rounds = 60_000
	words := make([]byte, 256)
	mine := func(i int) []byte { return words[i*128:] } // a cache line each
	var saw [2]uint16
	var turn [2]atomic.Uint32
	var wg sync.WaitGroup
	var bad atomic.Int64
	for i := range 2 {
		wg.Go(func() {
			runtime.LockOSThread()
			for r := uint32(1); r <= rounds; r++ {
				meet(&turn[i], &turn[1-i], 3*r)
				StoreRelease16(mine(i), 1)
				Fence()
				saw[i] = LoadAcquire16(mine(1 - i))
				meet(&turn[i], &turn[1-i], 3*r+1)
				if i == 0 && saw[0] == 0 && saw[1] == 0 {
					bad.Add(1)
				}
				meet(&turn[i], &turn[1-i], 3*r+2)
				StoreRelease16(mine(i), 0)
			}
		})
	}
	wg.Wait()
	if n := bad.Load(); n > 0 {
		t.Errorf("in %d of %d rounds neither saw the other's store", n, rounds)
	}
}

// meet waits until both have come to step n.
func meet(mine, other *atomic.Uint32, n uint32) {
	mine.Store(n)
	for i := 0; other.Load() < n; i++ {
		if i > 100 {
			runtime.Gosched()
		}
	}
}
