// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// requests are one of each kind that asks the host, on a file of four pages.
var requests = map[string]func(b *bench, cancel <-chan struct{}) (int64, error){
	"read": func(b *bench, c <-chan struct{}) (int64, error) {
		n, err := b.f.ReadAt(c, [][]byte{make([]byte, 2*PageSize)}, 0, 0)
		return int64(n), err
	},
	"direct read": func(b *bench, c <-chan struct{}) (int64, error) {
		n, err := b.f.ReadAt(c, [][]byte{make([]byte, 2*PageSize)}, 0, ReadDirect)
		return int64(n), err
	},
	"write": func(b *bench, c <-chan struct{}) (int64, error) {
		n, err := b.f.WriteAt(c, [][]byte{make([]byte, 2*PageSize)}, 0, 0)
		return int64(n), err
	},
	"direct write": func(b *bench, c <-chan struct{}) (int64, error) {
		n, err := b.f.WriteAt(c, [][]byte{make([]byte, 2*PageSize)}, 0, WriteDirect)
		return int64(n), err
	},
	"append": func(b *bench, c <-chan struct{}) (int64, error) {
		n, err := b.f.WriteAt(c, [][]byte{make([]byte, 2*PageSize)}, 0, WriteAppend)
		return int64(n), err
	},
	"truncate": func(b *bench, c <-chan struct{}) (int64, error) { return 0, b.f.Truncate(c, 5) },
	"allocate": func(b *bench, c <-chan struct{}) (int64, error) { return 0, b.f.Allocate(c, 0, 0, 5) },
	"copy":     func(b *bench, c <-chan struct{}) (int64, error) { return b.f.CopyTo(c, b.f, 0, PageSize, 5) },
	"sync":     func(b *bench, c <-chan struct{}) (int64, error) { return 0, b.f.Sync(c, false) },
}

// TestCancelBelow: a host call that ends with EINTR because its request was canceled is not made again,
// and nothing stays locked.
func TestCancelBelow(t *testing.T) {
	for name, request := range requests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 8, pattern(1, 4*PageSize))
			b.read(3*PageSize, PageSize)
			cancel, calls := make(chan struct{}), 0
			b.h.before = func(op string, _ int64, _ int) (int, error) {
				if op == "stat" {
					return -1, nil
				}
				if calls++; calls == 1 {
					close(cancel)
				}
				return 0, unix.EINTR
			}
			if n, err := request(b, cancel); n != 0 || err != unix.EINTR || calls != 1 {
				t.Errorf("%d, %v after %d calls; want EINTR after one", n, err, calls)
			}
			b.h.before = nil
			if b.f.m.ranges.first != nil || b.f.m.fills != nil || b.f.m.changing != 0 {
				t.Error("something is still under way")
			}
			b.checkPages()
			if got := b.read(0, 8*PageSize); !bytes.Equal(got, b.h.content()) {
				t.Error("reads differ from the host")
			}
		})
	}
}

// TestCancelHalfWay: what the host took before a write was canceled counts.
func TestCancelHalfWay(t *testing.T) {
	b := newBench(t, 8, pattern(1, 4*PageSize))
	cancel := make(chan struct{})
	first := true
	b.h.before = func(op string, _ int64, _ int) (int, error) {
		switch {
		case op != "write":
			return -1, nil
		case first:
			first = false
			return PageSize + 5, nil
		}
		close(cancel)
		return 0, unix.EINTR
	}
	if n, err := b.f.WriteAt(cancel, [][]byte{pattern(2, 3*PageSize)}, 0, 0); n != PageSize+5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	checkPresent(t, b, []int64{0})
	b.checkPages()
}

// TestInterruptedForEver: a host that says nothing but EINTR is not asked for ever.
func TestInterruptedForEver(t *testing.T) {
	for name, request := range requests {
		b := newBench(t, 8, pattern(1, 4*PageSize))
		calls := 0
		b.h.before = func(op string, _ int64, _ int) (int, error) {
			if op == "stat" {
				return -1, nil
			}
			calls++
			return 0, unix.EINTR
		}
		if n, err := request(b, nil); n != 0 || err != unix.EIO || calls != maxInterrupts+1 {
			t.Errorf("%s: %d, %v after %d calls", name, n, err, calls)
		}
	}
}

// TestErrorBehindBytes: a host call can end with bytes and an error.
func TestErrorBehindBytes(t *testing.T) {
	b := newBench(t, 8, pattern(1, 4*PageSize))
	h := &halfHost{fakeHost: b.h}
	b.f.Close()
	b.f = b.c.Open(testKey, Handle{Host: h, Mode: ModeAlways})
	if n, err := b.write(0, pattern(2, 2*PageSize), 0); n != 100 || err != nil {
		t.Errorf("write: %d, %v; want what the host took", n, err)
	}
	if n, err := b.write(0, pattern(2, 2*PageSize), WriteSync); n != 0 || err != unix.EIO {
		t.Errorf("synchronous write: %d, %v", n, err)
	}
	if n, err := b.f.ReadAt(nil, [][]byte{make([]byte, PageSize)}, 0, 0); n != 0 || err != unix.EIO {
		t.Errorf("read: %d, %v", n, err)
	}
	checkPresent(t, b, nil)
}

// halfHost moves up to 100 bytes, and then fails.
type halfHost struct{ *fakeHost }

func (h *halfHost) ReadAt(c <-chan struct{}, dst [][]byte, off int64, nowait bool) (int, error) {
	from := cursor{bufs: dst}
	n, _ := h.fakeHost.ReadAt(c, from.appendTo(nil, 100), off, nowait)
	return n, unix.EIO
}

func (h *halfHost) WriteAt(c <-chan struct{}, src [][]byte, off int64, fl WriteFlags) (int, error) {
	from := cursor{bufs: src}
	n, _ := h.fakeHost.WriteAt(c, from.appendTo(nil, 100), off, fl)
	return n, unix.EIO
}

// TestNowaitWrites: a write that may not wait for a range lock says so and does nothing.
func TestNowaitWrites(t *testing.T) {
	b := newBench(t, 8, pattern(1, 4*PageSize))
	b.read(0, 4*PageSize)
	hangs, release := make(chan struct{}), make(chan struct{})
	b.h.before = func(op string, off int64, _ int) (int, error) {
		if op == "write" && off == 0 {
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
	b.h.taken()
	for _, fl := range []WriteFlags{0, WriteSync, WriteDirect, WriteCache, WriteCache | WriteSync} {
		if n, err := b.write(5, pattern(3, 9), fl|WriteNowait); n != 0 || err != unix.EAGAIN {
			t.Errorf("flags %d: %d, %v; want EAGAIN", fl, n, err)
		}
	}
	if calls := b.h.taken(); len(calls) > 0 {
		t.Errorf("host calls %q", calls)
	}
	checkPresent(t, b, []int64{1, 2, 3}) // but for the page that is being written
	if n, err := b.write(7, pattern(3, 9), WriteAppend|WriteNowait); n != 9 || err != nil {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if n, err := b.write(2*PageSize, pattern(3, 9), WriteNowait); n != 9 || err != nil {
		t.Errorf("elsewhere: %d, %v", n, err)
	}
	close(release)
	<-done
	b.h.before = nil
	if n, err := b.write(5, pattern(3, 9), WriteNowait); n != 9 || err != nil {
		t.Errorf("afterwards: %d, %v", n, err)
	}
	b.checkPages()
}

// TestWritesWithoutPages: a small write to a file that has no pages is one host call and leaves no
// page; one that has some keeps them, and gets new ones.
func TestWritesWithoutPages(t *testing.T) {
	b := newBench(t, 8, pattern(1, 4*PageSize))
	b.c.eager = false
	for _, tt := range []struct {
		off   int64
		n     int
		flags WriteFlags
		want  string
	}{
		{PageSize, PageSize, 0, "write 4096+4096"},
		{PageSize + 1, 2 * PageSize, 0, "write 4097+8192"},
		{3, 5, 0, "write 3+5"},
		{PageSize + 1, 2 * PageSize, WriteSync, "dsync 4097+8192"},
		{0, 2 * PageSize, WriteCache, "write 0+8192"},
	} {
		if n, err := b.write(tt.off, pattern(2, tt.n), tt.flags); n != tt.n || err != nil {
			t.Errorf("%s: %d, %v", tt.want, n, err)
		}
		if calls := b.h.taken(); !slices.Equal(calls, []string{tt.want}) {
			t.Errorf("host calls %q, want %q", calls, tt.want)
		}
		checkPresent(t, b, nil)
	}
	b.read(3*PageSize, PageSize)
	b.h.taken()
	if n, err := b.write(0, pattern(3, PageSize), 0); n != PageSize || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if calls := b.h.taken(); !slices.Equal(calls, []string{"stat", "write 0+4096", "stat"}) {
		t.Errorf("with a page elsewhere: host calls %q", calls)
	}
	checkPresent(t, b, []int64{0, 3})
	b.checkPages()
}
