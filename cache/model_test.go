// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// world is one file behind a cache, used by many goroutines at once, and the history of what the
// host held: the model that every answer is held against.
type world struct {
	cfg   worldConfig
	c     *Cache
	h     *fakeHost
	clock *fakeClock
	files []*File
	other *File // of another inode, for eviction
	calm  bool  // few changes: the pages are worth to be kept; set between rounds
	rolls atomic.Uint64
	ops   atomic.Int64

	// Guarded by h.mu.
	log    []entry
	base   int   // number of the first entry in log
	active []int // by goroutine: the number of the first entry that it needs

	mu       sync.Mutex
	findings []string
}

type worldConfig struct {
	seed       uint64
	frames     int
	goroutines int
	foreign    bool // host-side changes, and a clock that moves
	errors     bool // the host fails and cuts short
	lazy       bool // as in life: writes make no pages in a mapping that has none, and pages have to pay
	planted    planted
	heap       bool
}

// entry is a change of the host file: bytes from off on. Where a list is shorter than the other,
// the file ended.
type entry struct {
	off      int64
	old, new []byte
	foreign  bool
	at       int64 // by the clock
}

// cell returns a byte of old or new, and whether it was in the file.
func cell(b []byte, i int64) (byte, bool) {
	if 0 <= i && i < int64(len(b)) {
		return b[i], true
	}
	return 0, false
}

func (e *entry) covers(off int64) bool {
	return e.off <= off && off < e.off+int64(max(len(e.old), len(e.new)))
}

func newWorld(cfg worldConfig) *world {
	w := &world{cfg: cfg, clock: newClock(), active: make([]int, cfg.goroutines)}
	w.h = &fakeHost{clock: w.clock, data: pattern(1, 6*PageSize+100)}
	w.h.mtime = w.clock.ns.Load() - int64(time.Hour)
	w.h.before, w.h.after = w.before, w.delay
	w.h.changed = func(off int64, old, now []byte, foreign bool) {
		w.log = append(w.log, entry{off: off, old: old, new: slices.Clone(now), foreign: foreign, at: w.clock.ns.Load()})
	}
	w.c = newTestCache(cfg.frames, w.clock, cfg.heap)
	w.c.planted, w.c.eager = cfg.planted, !cfg.lazy
	for _, mode := range []Mode{ModeAlways, ModeAlways, ModeAuto, ModeNever} {
		w.files = append(w.files, w.c.Open(testKey, Handle{Host: w.h, Mode: mode}))
	}
	otherHost := &fakeHost{clock: w.clock, data: pattern(3, 4*PageSize)}
	w.other = w.c.Open(Key{Dev: 1, Ino: 9}, Handle{Host: otherHost, Mode: ModeAlways})
	return w
}

func (w *world) close() {
	for _, f := range append(w.files, w.other) {
		f.Close()
	}
	w.c.Forget(testKey)
	w.c.Forget(Key{Dev: 1, Ino: 9})
	if n := w.c.unused.len; n != w.c.frames {
		w.finding("%d of %d frames are free at the end", n, w.c.frames)
	}
	if w.cfg.heap {
		w.c.mem = nil
	}
	_ = w.c.Close()
}

func (w *world) finding(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.findings) < 20 {
		w.findings = append(w.findings, fmt.Sprintf(format, args...))
	}
}

func (w *world) found() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.findings)
}

// roll is a random number for host calls, which come from all goroutines.
func (w *world) roll(n uint64) uint64 {
	x := w.cfg.seed*0x9e3779b97f4a7c15 + w.rolls.Add(1)*0xbf58476d1ce4e5b9
	x ^= x >> 31
	x *= 0x94d049bb133111eb
	return (x ^ x>>29) % n
}

// delay gives others a chance.
func (w *world) delay() {
	for range w.roll(3) {
		runtime.Gosched()
	}
	if w.roll(300) == 0 {
		time.Sleep(time.Duration(w.roll(60)) * time.Microsecond)
	}
}

func (w *world) before(op string, _ int64, n int) (int, error) {
	w.delay()
	if !w.cfg.errors {
		return -1, nil
	}
	x := w.roll(100)
	switch {
	case op == "stat" && x < 1, x < 4 && op != "stat":
		return 0, []error{unix.EIO, unix.ENOSPC, unix.EDQUOT}[x%3]
	case (op == "write" || op == "read") && x < 6:
		return 0, unix.EINTR
	case op == "write" && x < 7:
		return 0, nil
	case (op == "write" || op == "read") && x < 16 && n > 1:
		return 1 + int(w.roll(uint64(n-1))), nil
	}
	return -1, nil
}

// start notes that goroutine g begins a request: what is before from off on, and the number of
// the next change.
func (w *world) start(g int, off int64, n int) (was []byte, at int64) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	w.active[g] = w.base + len(w.log)
	if size := int64(len(w.h.data)); off < size {
		was = slices.Clone(w.h.data[off:min(off+int64(n), size)])
	}
	return was, w.clock.ns.Load()
}

// checkRead holds what a read returned against what was in the file while it ran.
func (w *world) checkRead(g int, off int64, want int, got, was []byte, began int64, what string) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	for i := range got {
		if i < len(was) && was[i] == got[i] {
			continue
		}
		if !w.held(g, off+int64(i), got[i], began) {
			w.finding("%s read %d+%d: byte %d is %#x, which the file never held meanwhile", what, off, want, i, got[i])
			return
		}
	}
	if len(got) < want && len(was) > len(got) && !w.ended(g, off+int64(len(got))) {
		w.finding("%s read %d+%d: ends after %d bytes, where the file never ended meanwhile", what, off, want, len(got))
	}
}

// held tells whether the file held byte v at off since goroutine g began, or, before a foreign
// change, within the trust period.
func (w *world) held(g int, off int64, v byte, began int64) bool {
	first := w.active[g] - w.base
	for i := range w.log[first:] {
		e := &w.log[first+i]
		if b, there := cell(e.new, off-e.off); there && b == v && e.covers(off) {
			return true
		}
	}
	for i := first - 1; i >= 0; i-- {
		e := &w.log[i]
		if !e.covers(off) {
			continue
		}
		if !e.foreign || e.at < began-int64(trust) {
			return false
		}
		if b, there := cell(e.old, off-e.off); there && b == v {
			return true
		}
	}
	return false
}

// ended tells whether the file ended at or before off since goroutine g began.
func (w *world) ended(g int, off int64) bool {
	for _, e := range w.log[w.active[g]-w.base:] {
		if _, there := cell(e.new, off-e.off); e.covers(off) && !there {
			return true
		}
	}
	return false
}

// checkTaken: every byte that was acknowledged has reached the host since goroutine g began.
func (w *world) checkTaken(g int, off int64, data []byte) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	done := make([]bool, len(data))
	left := len(data)
	for i := range w.log[w.active[g]-w.base:] {
		e := &w.log[w.active[g]-w.base+i]
		for k := max(off, e.off); k < min(off+int64(len(data)), e.off+int64(len(e.new))); k++ {
			if !done[k-off] && data[k-off] == e.new[k-e.off] {
				done[k-off] = true
				left--
			}
		}
	}
	if left > 0 {
		w.finding("write %d+%d: %d of the bytes have not reached the host", off, len(data), left)
	}
}

// forget trims the history. No request is under way.
func (w *world) forget() {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	keep := len(w.log)
	for keep > 0 && w.log[keep-1].at >= w.clock.ns.Load()-2*int64(trust) && len(w.log)-keep < 5000 {
		keep--
	}
	w.base += keep
	w.log = slices.Clone(w.log[keep:])
}

// atRest checks what must hold when no request is under way.
func (w *world) atRest() {
	m := w.files[0].m
	began := w.clock.ns.Load()
	for g := range w.active {
		w.start(g, 0, 0)
	}
	data := w.h.content()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ranges.first != nil || m.fills != nil || m.changing != 0 {
		w.finding("at rest there are range locks, fills or %d changes", m.changing)
	}
	trusted := m.vouched && fresh(m.checked, began)
	for n, i := range m.pages {
		p := &w.c.pages[i]
		if p.busy || p.pins != 0 || p.dead || p.valid == 0 {
			w.finding("page %d at rest: %+v", n, *p)
		}
		for k, v := range w.c.frame(i)[:p.valid] {
			off := n*PageSize + int64(k)
			if now, there := cell(data, off); trusted && (!there || now != v) && !w.heldLocked(off, v, began) {
				w.finding("at rest byte %d of page %d is %#x, in the file %#x (%v)", k, n, v, now, there)
				break
			}
		}
	}
}

func (w *world) heldLocked(off int64, v byte, began int64) bool {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	return w.held(0, off, v, began)
}

// round runs n operations in each goroutine and checks what is left. False: they got stuck.
func (w *world) round(number uint64, n int) bool {
	var wg sync.WaitGroup
	w.calm = w.cfg.lazy && number&4 != 0
	for g := range w.cfg.goroutines {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(w.cfg.seed, number<<8|uint64(g)))
			for range n {
				w.operation(g, r)
				w.ops.Add(1)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(stuck):
		w.finding("requests wait for each other")
		w.c.Shutdown()
		<-done
		return false
	}
	w.atRest()
	w.forget()
	return true
}

// stuck is for how long nobody waits for good reasons.
var stuck = 60 * time.Second

// run does n operations, or fewer if there is something to tell.
func (w *world) run(n int) []string {
	for i := uint64(0); w.ops.Load() < int64(n) && len(w.found()) == 0; i++ {
		if !w.round(i, 40) {
			break
		}
	}
	w.close()
	return w.found()
}
