// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReads: which host calls a read becomes, and what is kept of it.
func TestReads(t *testing.T) {
	const p = PageSize
	for _, tt := range []struct {
		name     string
		size     int // of the file
		uptodate []int64
		off, n   int64
		flags    ReadFlags
		calls    []string
		pages    []int64 // afterwards
	}{
		{"one page", 8 * p, nil, p, p, 0, []string{"read 4096+4096"}, []int64{1}},
		{"again", 8 * p, []int64{1}, p, p, 0, nil, []int64{1}},
		{"part of a page", 8 * p, nil, p + 5, 100, 0, []string{"read 4101+100"}, nil},
		{"part of a page that is there", 8 * p, []int64{1}, p + 5, 100, 0, nil, []int64{1}},
		{"over two that are there", 8 * p, []int64{1, 2}, 2*p - 5, 10, 0, nil, []int64{1, 2}},
		{"the first is there", 8 * p, []int64{1}, p, 3 * p, 0, []string{"read 8192+8192"}, []int64{1, 2, 3}},
		{"the second is there", 8 * p, []int64{2}, p, 3 * p, 0, []string{"read 4096+12288"}, []int64{1, 2, 3}},
		{"the last is there", 8 * p, []int64{3}, p, 3 * p, 0, []string{"read 4096+12288"}, []int64{1, 2, 3}},
		{"unaligned", 8 * p, nil, p + 1, 3 * p, 0, []string{"read 4097+12288"}, []int64{2, 3}},
		{"end of file", p + 100, nil, 0, 2 * p, 0, []string{"read 0+8192", "read 4196+3996"}, []int64{0, 1}},
		{"end of file again", p + 100, []int64{0, 1}, 0, 2 * p, 0, []string{"read 4196+3996"}, []int64{0, 1}},
		{"up to the end", p + 100, []int64{0, 1}, 0, p + 100, 0, nil, []int64{0, 1}},
		{"behind the end", 100, nil, p, p, 0, []string{"read 4096+4096"}, nil},
		{"direct", 8 * p, []int64{1}, p, p, ReadDirect, []string{"read 4096+4096"}, []int64{1}},
		{"stream", 20 * p, []int64{1}, 0, 17 * p, 0, []string{"read 0+69632"}, []int64{1}},
		{"nothing", 8 * p, []int64{1}, p, 0, 0, nil, []int64{1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, 64, pattern(1, tt.size))
			for _, n := range tt.uptodate {
				b.read(n*p, p)
			}
			if len(tt.uptodate) == 0 {
				b.read(0, 1) // takes the stamp
			}
			b.h.taken()
			buf := make([]byte, tt.n)
			n, err := b.f.ReadAt(nil, split(buf), tt.off, tt.flags)
			end := min(tt.off+tt.n, int64(tt.size))
			if want := pattern(1, tt.size)[min(tt.off, end):end]; err != nil || !bytes.Equal(buf[:n], want) {
				t.Errorf("%d, %v; want %d bytes as in the file", n, err, len(want))
			}
			if got := b.h.taken(); !slices.Equal(got, tt.calls) {
				t.Errorf("host calls %q, want %q", got, tt.calls)
			}
			checkPresent(t, b, tt.pages)
			b.checkPages()
		})
	}
}

// TestReadErrors: a read that the host cuts short is continued, and short only at the end of file.
func TestReadErrors(t *testing.T) {
	b := newBench(t, 8, pattern(1, 4*PageSize))
	var answers []answer
	b.h.before = func(op string, _ int64, _ int) (int, error) {
		if op != "read" || len(answers) == 0 {
			return -1, nil
		}
		a := answers[0]
		answers = answers[1:]
		return a.n, a.err
	}
	answers = []answer{{n: 1}, {err: unix.EINTR}, {n: PageSize}, {n: 5}}
	if got := b.read(0, 3*PageSize); !bytes.Equal(got, pattern(1, 4*PageSize)[:3*PageSize]) {
		t.Errorf("a read in pieces returns %d bytes", len(got))
	}
	checkPresent(t, b, []int64{0, 1, 2})
	b.c.DropAll()
	answers = []answer{{n: PageSize}, {err: unix.EIO}}
	if n, err := b.f.ReadAt(nil, [][]byte{make([]byte, 2*PageSize)}, 0, 0); n != 0 || err != unix.EIO {
		t.Errorf("a read that fails half-way: %d, %v", n, err)
	}
	checkPresent(t, b, nil)
	for _, off := range []int64{-1, 1<<63 - 5} {
		if _, err := b.f.ReadAt(nil, [][]byte{make([]byte, 10)}, off, 0); err != unix.EINVAL {
			t.Errorf("a read at %d: %v", off, err)
		}
		if _, err := b.write(off, make([]byte, 10), 0); err != unix.EINVAL {
			t.Errorf("a write at %d: %v", off, err)
		}
	}
}

// TestFaults: memory that is not there ends a request with EFAULT, and no page keeps what came of it.
func TestFaults(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	gone, err := unix.Mmap(-1, 0, 2*PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(gone)
	if err := unix.Mprotect(gone[PageSize:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, 8, pattern(1, 4*PageSize))
	b.read(0, 2*PageSize)
	b.h.taken()
	if n, err := b.f.WriteAt(nil, [][]byte{gone}, 0, 0); n != 0 || err != unix.EFAULT {
		t.Errorf("a write from memory that is half there: %d, %v", n, err)
	}
	if w := b.h.writes(); len(w) > 0 {
		t.Errorf("it reached the host: %q", w)
	}
	checkPresent(t, b, nil)
	if n, err := b.f.WriteAt(nil, [][]byte{gone}, PageSize/2, 0); n != PageSize/2 || err != nil {
		t.Errorf("the same in two batches: %d, %v", n, err)
	}
	b.read(0, 2*PageSize)
	for _, there := range []bool{true, false} {
		if n, err := b.f.ReadAt(nil, [][]byte{gone}, 0, 0); n != 0 || err != unix.EFAULT {
			t.Errorf("a read, pages there: %v: %d, %v", there, n, err)
		}
		b.c.DropAll()
	}
	b.checkPages()
	if b.f.m.ranges.first != nil {
		t.Error("a range lock is left")
	}
}

// TestReadersWaitForNobody: while the host hangs in a write, readers of the same page get what the
// host has, others their pages, and writers elsewhere go on.
func TestReadersWaitForNobody(t *testing.T) {
	b := newBench(t, 8, pattern(1, 4*PageSize))
	b.read(0, 4*PageSize)
	hangs, release := make(chan struct{}), make(chan struct{})
	b.h.before = func(op string, off int64, _ int) (int, error) {
		if op == "write" && off < PageSize {
			close(hangs)
			<-release
		}
		return -1, nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if n, err := b.write(0, pattern(2, PageSize), 0); n != PageSize || err != nil {
			t.Errorf("the write: %d, %v", n, err)
		}
	}()
	<-hangs
	if got := b.read(0, 4*PageSize); !bytes.Equal(got, pattern(1, 4*PageSize)) {
		t.Error("a reader gets bytes that the host has not taken")
	}
	if n, err := b.write(2*PageSize, pattern(3, 10), 0); n != 10 || err != nil {
		t.Errorf("a write to another page: %d, %v", n, err)
	}
	cancel := make(chan struct{})
	time.AfterFunc(time.Millisecond, func() { close(cancel) })
	if err := b.f.Truncate(cancel, 0); err != unix.EINTR {
		t.Errorf("a truncate that is interrupted: %v", err)
	}
	b.c.DropAll()
	close(release)
	<-done
	checkPresent(t, b, nil) // it was dropped while it was on its way
	b.checkPages()
	if got := b.read(0, PageSize); !bytes.Equal(got, pattern(2, PageSize)) {
		t.Error("the write is not seen")
	}
}

// TestNowait passes the host's word on and keeps nothing.
func TestNowait(t *testing.T) {
	b := newBench(t, 8, pattern(1, 4*PageSize))
	b.h.before = func(op string, _ int64, _ int) (int, error) {
		if op == "read" {
			return 0, unix.EAGAIN
		}
		return -1, nil
	}
	if n, err := b.f.ReadAt(nil, [][]byte{make([]byte, PageSize)}, 0, ReadNowait); n != 0 || err != unix.EAGAIN {
		t.Errorf("%d, %v", n, err)
	}
	b.h.before = nil
	b.read(0, PageSize)
	b.h.before = func(op string, _ int64, _ int) (int, error) { return 0, unix.EIO }
	if n, err := b.f.ReadAt(nil, [][]byte{make([]byte, PageSize)}, 0, ReadNowait); n != PageSize || err != nil {
		t.Errorf("from the pages: %d, %v", n, err)
	}
}
