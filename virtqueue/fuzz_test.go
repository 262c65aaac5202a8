// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// What the fuzzer fills: 8 descriptors at 0x1000 of the file, which is the first guest address, the
// avail ring behind them, indirect tables and data further on; a second region follows at once.
const (
	fuzzSize   = 8
	fuzzStart  = 0x1000 // of guest memory in the file
	fuzzBorder = 0x1800 // guest address where the second region begins
	fuzzEnd    = 0x1c03 // first guest address that is not memory
	fuzzAvail  = fuzzStart + fuzzSize*descSize
	fuzzUsed   = fuzzStart + 0x100
	fuzzFile   = 0x3000
)

// FuzzChain lets the driver write anything: descriptors, tables and the avail ring. Every walk ends,
// what it yields is guest memory, and every head comes back exactly once or the ring is broken. With
// scribble, the device's answers overwrite the ring on the way.
func FuzzChain(f *testing.F) {
	for _, seed := range fuzzSeeds() {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(fuzzChain)
}

// fuzzSeeds are a ring with chains of each kind, and damaged ones.
func fuzzSeeds() [][]byte {
	b := make([]byte, 0x400)
	put := func(at int, es ...desc) {
		for i, e := range es {
			putDesc(b[at+i*descSize:], e)
		}
	}
	put(0, desc{0x1300, 40, nx, 1}, desc{0x17f0, 32, wr, 0}, desc{0x1200, 48, in, 0}, desc{0x1c00, 3, wr, 0},
		desc{0x1300, 1, nx, 4}, desc{0x1200, 17, in, 0}, desc{0, 0, 0, 0}, desc{0x1bff, 5, 0, 0})
	put(0x200, desc{0x1300, 8, nx, 2}, desc{0x1400, 8, wr, 0}, desc{0x1310, 8, nx, 1})
	heads := []uint16{0, 2, 3, 4, 5, 6, 7}
	binary.LittleEndian.PutUint16(b[fuzzSize*descSize+idxOffset:], uint16(len(heads)))
	for i, h := range heads {
		binary.LittleEndian.PutUint16(b[fuzzSize*descSize+headSize+2*i:], h)
	}
	twice := slices.Clone(b)
	binary.LittleEndian.PutUint16(twice[fuzzSize*descSize+headSize+2:], 0)
	return [][]byte{b, twice, b[:100], {}}
}

func fuzzChain(t *testing.T, data []byte, scribble bool) {
	file, err := unix.MemfdCreate("fuzz", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(file)
	if err := unix.Ftruncate(file, fuzzFile); err != nil {
		t.Fatal(err)
	}
	data = data[:min(len(data), fuzzEnd-fuzzStart)]
	if _, err := unix.Pwrite(file, data, fuzzStart); err != nil {
		t.Fatal(err)
	}
	mem := guestmem.New()
	defer mem.Reset()
	for _, r := range []guestmem.Region{
		{GPA: fuzzStart, Size: fuzzBorder - fuzzStart, FileOffset: fuzzStart},
		{GPA: fuzzBorder, Size: fuzzEnd - fuzzBorder, FileOffset: fuzzBorder},
	} {
		fd, err := unix.FcntlInt(uintptr(file), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := mem.Add(r, fd); err != nil {
			t.Fatal(err)
		}
	}
	q, err := NewQueue(mem, Config{Size: fuzzSize, Desc: fuzzStart, Avail: fuzzAvail, Used: fuzzUsed, EventIdx: true})
	if err != nil {
		t.Fatal(err)
	}
	start := q.used
	heads := popAll(t, q, scribble)
	q.Close()
	if !scribble {
		checkUsed(t, file, start, heads)
	}
	checkAround(t, file)
}

// popAll completes all that there is, every other chain late, and returns heads and lengths in the
// order of completion.
func popAll(t *testing.T, q *Queue, scribble bool) (done []usedElem) {
	var late []*Chain
	finish := func(c *Chain) {
		n := 0
		for _, b := range c.Writable {
			n += len(b)
			if scribble {
				for i := range b {
					b[i] ^= byte(i)
				}
			}
		}
		done = append(done, usedElem{c.Head, uint32(n)})
		c.Done(n)
	}
	more := true
	for step := 0; more && step < 64; step++ { // answers can make more available, without end
		c, err := q.Pop()
		switch {
		case errors.Is(err, ErrChain):
			slot := headSize + 2*int((q.next-1)%fuzzSize)
			done = append(done, usedElem{binary.LittleEndian.Uint16(q.ring.avail[slot:]), 0})
		case err == nil && c == nil, errors.Is(err, ErrBroken):
			more = false
		case err != nil:
			t.Fatal(err)
		case step%2 == 0:
			q.Returned()
			late = append(late, c)
		default:
			q.Returned()
			finish(c)
		}
	}
	for _, c := range late {
		finish(c)
	}
	return done
}

// checkUsed looks for exactly what was completed in the used ring.
func checkUsed(t *testing.T, file int, start uint16, done []usedElem) {
	var b [headSize + fuzzSize*usedSize]byte
	if _, err := unix.Pread(file, b[:], fuzzUsed); err != nil {
		t.Fatal(err)
	}
	if idx := binary.LittleEndian.Uint16(b[idxOffset:]); idx-start != uint16(len(done)) {
		t.Fatalf("used index went from %d to %d, completed %v", start, idx, done)
	}
	seen := map[uint16]bool{}
	for i, e := range done {
		off := headSize + usedSize*int((start+uint16(i))%fuzzSize)
		head, n := binary.LittleEndian.Uint32(b[off:]), binary.LittleEndian.Uint32(b[off+4:])
		if head != uint32(e.head) || n != e.n || seen[e.head] {
			t.Fatalf("element %d: head %d, %d bytes, completed %v", i, head, n, done)
		}
		seen[e.head] = true
	}
}

// checkAround sees that nothing outside guest memory was written.
func checkAround(t *testing.T, file int) {
	var b [fuzzFile]byte
	if _, err := unix.Pread(file, b[:], 0); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		if (i < fuzzStart || i >= fuzzEnd) && b[i] != 0 {
			t.Fatalf("byte at %#x is %#x", i, b[i])
		}
	}
}
