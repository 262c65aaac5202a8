// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeHost is a file of a host, in memory. It writes down every call, and can fail.
type fakeHost struct {
	mu    sync.Mutex
	data  []byte
	mtime int64
	clock *fakeClock
	calls []string // recorded when record is set
	tick  int64    // moves times on with every change

	record bool
	// before is asked at the start of every call, outside of mu. It may hang. A result other
	// than (-1, nil) is a count to cut the call short at, or its error.
	before func(op string, off int64, n int) (int, error)
	// changed is told of every change, under mu: bytes from off on were old and are now new;
	// nil entries past the end of file.
	changed func(off int64, old, new []byte, foreign bool)
	after   func() // at the end of every call, outside of mu
}

type fakeClock struct{ ns atomic.Int64 }

func newClock() *fakeClock {
	c := new(fakeClock)
	c.ns.Store(1_000_000 * int64(time.Second))
	return c
}

func (c *fakeClock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *fakeClock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func (h *fakeHost) done() {
	if h.after != nil {
		h.after()
	}
}

func (h *fakeHost) call(op string, off int64, n int) (int, error) {
	if h.before == nil {
		return -1, nil
	}
	return h.before(op, off, n)
}

func (h *fakeHost) note(format string, args ...any) {
	if h.record {
		h.calls = append(h.calls, fmt.Sprintf(format, args...))
	}
}

// taken returns what was recorded since the last call.
func (h *fakeHost) taken() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.calls
	h.calls = nil
	return c
}

// writes is taken without reads and statx.
func (h *fakeHost) writes() []string {
	return slices.DeleteFunc(h.taken(), func(s string) bool { return s == "stat" || s[:4] == "read" })
}

func (h *fakeHost) ReadAt(_ <-chan struct{}, dst [][]byte, off int64, nowait bool) (int, error) {
	want := size(dst)
	defer h.done()
	cut, err := h.call("read", off, want)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("read %d+%d", off, want)
	if err != nil {
		return 0, err
	}
	n := 0
	to := cursor{bufs: dst}
	if off < int64(len(h.data)) {
		b := h.data[off:min(off+int64(want), int64(len(h.data)))]
		if cut >= 0 && cut < len(b) {
			b = b[:cut]
		}
		n = len(b)
		if err := to.scatter(b); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (h *fakeHost) WriteAt(_ <-chan struct{}, src [][]byte, off int64, fl WriteFlags) (int, error) {
	want := size(src)
	defer h.done()
	cut, err := h.call("write", off, want)
	h.mu.Lock()
	defer h.mu.Unlock()
	name := "write"
	if fl&WriteAppend != 0 {
		name = "append"
		h.note("append +%d", want)
		off = int64(len(h.data))
	} else {
		if fl&syncFlags != 0 {
			name = "dsync"
		}
		h.note("%s %d+%d", name, off, want)
	}
	if err != nil {
		return 0, err
	}
	if cut >= 0 {
		want = min(want, cut)
	}
	b := make([]byte, want)
	from := cursor{bufs: src}
	if err := from.gather(b); err != nil {
		return 0, err
	}
	h.set(off, b, false)
	return want, nil
}

// set changes bytes. Called with mu.
func (h *fakeHost) set(off int64, b []byte, foreign bool) {
	if len(b) == 0 {
		return
	}
	start, old := min(off, int64(len(h.data))), int64(len(h.data))
	end := off + int64(len(b))
	was := slices.Clone(h.data[start:min(max(end, start), old)])
	if end > old {
		h.data = append(h.data, make([]byte, end-old)...)
	}
	copy(h.data[off:], b)
	h.touch(start, was, h.data[start:end], foreign)
}

func (h *fakeHost) resize(size int64, foreign bool) {
	old := int64(len(h.data))
	if size < old {
		was := slices.Clone(h.data[size:])
		h.data = h.data[:size:size]
		h.touch(size, was, nil, foreign)
		return
	}
	h.data = append(h.data, make([]byte, size-old)...)
	h.touch(old, nil, h.data[old:], foreign)
}

func (h *fakeHost) touch(off int64, old, now []byte, foreign bool) {
	h.tick++
	h.mtime = h.clock.ns.Load() + h.tick%1000
	if h.changed != nil {
		h.changed(off, old, now, foreign)
	}
}

func (h *fakeHost) Truncate(_ <-chan struct{}, size int64) error {
	defer h.done()
	_, err := h.call("truncate", size, 0)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("truncate %d", size)
	if err != nil {
		return err
	}
	h.resize(size, false)
	return nil
}

// Allocate knows the plain mode, and punching holes.
func (h *fakeHost) Allocate(_ <-chan struct{}, mode uint32, off, n int64) error {
	defer h.done()
	_, err := h.call("allocate", off, int(n))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("allocate %d %d+%d", mode, off, n)
	if err != nil {
		return err
	}
	if mode&unix.FALLOC_FL_PUNCH_HOLE != 0 {
		if end := min(off+n, int64(len(h.data))); end > off {
			h.set(off, make([]byte, end-off), false)
		}
		return nil
	}
	if off+n > int64(len(h.data)) {
		h.resize(off+n, false)
	}
	return nil
}

func (h *fakeHost) Sync(_ <-chan struct{}, dataOnly bool) error {
	defer h.done()
	_, err := h.call("sync", 0, 0)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("sync %v", dataOnly)
	return err
}

func (h *fakeHost) Flush(<-chan struct{}) error {
	defer h.done()
	_, err := h.call("flush", 0, 0)
	return err
}

// CopyTo copies within one file, or from a constant one.
func (h *fakeHost) CopyTo(_ <-chan struct{}, dst HostFile, off, dstOff, n int64) (int64, error) {
	defer h.done()
	_, err := h.call("copy", dstOff, int(n))
	d := dst.(*fakeHost)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("copy %d+%d to %d", off, n, dstOff)
	if err != nil {
		return 0, err
	}
	if h != d {
		h.mu.Lock()
		defer h.mu.Unlock()
	}
	if off >= int64(len(h.data)) {
		return 0, nil
	}
	b := slices.Clone(h.data[off:min(off+n, int64(len(h.data)))])
	d.set(dstOff, b, false)
	return int64(len(b)), nil
}

func (h *fakeHost) Stat(<-chan struct{}) (Stamp, error) {
	defer h.done()
	_, err := h.call("stat", 0, 0)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("stat")
	return Stamp{Size: int64(len(h.data)), Mtime: h.mtime, Ctime: h.mtime}, err
}

func (h *fakeHost) stamp() (Stamp, error) { return h.Stat(nil) }

// foreign changes bytes as another process does.
func (h *fakeHost) foreign(off int64, b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set(off, b, true)
}

// content returns a copy of the file.
func (h *fakeHost) content() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.data)
}

// bench is a cache with one file in it.
type bench struct {
	t     *testing.T
	c     *Cache
	h     *fakeHost
	f     *File
	clock *fakeClock
}

var testKey = Key{Dev: 1, Ino: 2, Born: 3}

func newBench(t *testing.T, frames int, data []byte) *bench {
	t.Helper()
	b := &bench{t: t, clock: newClock()}
	b.h = &fakeHost{clock: b.clock, data: slices.Clone(data), record: true}
	b.h.mtime = b.clock.ns.Load() - int64(time.Hour)
	c := newTestCache(frames, b.clock, true)
	b.c = c
	b.f = c.Open(testKey, Handle{Host: b.h, Mode: ModeAlways})
	t.Cleanup(func() {
		b.f.Close()
		c.Forget(testKey)
		b.checkLeaks()
		c.mem = nil
		_ = c.Close()
	})
	return b
}

// use opens the file anew, under another mode. Its pages stay.
func (b *bench) use(mode Mode) {
	old := b.f
	b.f = b.c.Open(testKey, Handle{Host: b.h, Mode: mode})
	old.Close()
}

// newTestCache makes a cache. Frames on the heap are seen by the race detector.
func newTestCache(frames int, clock *fakeClock, heap bool) *Cache {
	c, err := New(Options{Size: int64(frames) * PageSize, Now: clock.now})
	if err != nil {
		panic(err)
	}
	c.eager = true
	if frames > 0 && heap {
		_ = unix.Munmap(c.mem)
		c.mem = make([]byte, frames*PageSize)
	}
	return c
}

// checkLeaks: without mappings all frames are free.
func (b *bench) checkLeaks() {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	if n := b.c.unused.len; n != b.c.frames {
		b.t.Errorf("%d of %d frames are free when no file is open", n, b.c.frames)
	}
	if len(b.c.mappings) != 0 {
		b.t.Errorf("%d mappings are left", len(b.c.mappings))
	}
}

// pages tells which pages there are: their number of bytes by page.
func (b *bench) pages() map[int64]int {
	m := b.f.m
	m.mu.Lock()
	defer m.mu.Unlock()
	r := map[int64]int{}
	for n, i := range m.pages {
		if !b.c.pages[i].busy {
			r[n] = int(b.c.pages[i].valid)
		}
	}
	return r
}

// checkPages: at rest every page holds what the host file does.
func (b *bench) checkPages() {
	b.t.Helper()
	data := b.h.content()
	m := b.f.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for n, i := range m.pages {
		p := b.c.pages[i]
		if p.busy || p.pins != 0 {
			b.t.Errorf("page %d is in use at rest: %+v", n, p)
		}
		for k, v := range b.c.frame(i)[:p.valid] {
			if off := n*PageSize + int64(k); off >= int64(len(data)) || data[off] != v {
				b.t.Errorf("page %d, byte %d is %#x; the file has %d bytes", n, k, v, len(data))
				break
			}
		}
	}
}

func (b *bench) read(off int64, n int) []byte {
	b.t.Helper()
	buf := make([]byte, n)
	got, err := b.f.ReadAt(nil, split(buf), off, 0)
	if err != nil {
		b.t.Fatalf("read %d+%d: %v", off, n, err)
	}
	return buf[:got]
}

func (b *bench) write(off int64, data []byte, fl WriteFlags) (int, error) {
	return b.f.WriteAt(nil, split(data), off, fl)
}

// split cuts a buffer into pieces, as a guest's chain is.
func split(b []byte) [][]byte {
	if len(b) < 3 {
		return [][]byte{b}
	}
	k := 1 + len(b)/3
	return [][]byte{b[:k], {}, b[k:]}
}

// pattern returns n bytes that differ from those of other seeds.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i%13)*17
	}
	return b
}
