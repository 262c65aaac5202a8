// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"math"

	"golang.org/x/sys/unix"
)

// WriteAt writes src, which may be memory of a guest, at off, or at the end of the file with
// WriteAppend. It returns how many bytes the host took: if not all, the host refused the next one,
// src is not there, or cancel was closed. An error means that none was taken, or, for WriteSync,
// WriteDSync, WriteCache and WriteWhole, that not all were. EINTR: cancel was closed before the host took
// any, or all.
func (f *File) WriteAt(cancel <-chan struct{}, src [][]byte, off int64, fl WriteFlags) (int, error) {
	if fl&WriteCache != 0 {
		fl &= WriteCache | WriteNowait
	}
	n := size(src)
	switch {
	case off < 0 || off > math.MaxInt64-PageSize-int64(n):
		return 0, unix.EINVAL
	case n == 0:
		return 0, nil
	}
	w := write{f: f, cancel: cancel, s: getScratch(), host: f.host, from: cursor{bufs: src}, off: off, end: off + int64(n), flags: fl}
	defer w.s.put()
	if fl&WriteCache != 0 {
		w.host = f.buffered
	}
	var err error
	switch {
	case fl&WriteAppend != 0:
		err = w.appending()
	case fl&WriteDirect != 0, !f.mode.keeps(), n > maxPages*PageSize:
		err = w.whole(0)
	default:
		err = w.whole(through)
	}
	return w.answer(n, err)
}

// write is a write that is under way.
type write struct {
	f      *File
	cancel <-chan struct{}
	s      *scratch
	host   HostFile
	from   cursor
	off    int64 // what comes next
	end    int64
	flags  WriteFlags
	began  int64 // Cache.Now
	took   int   // bytes that the host took
}

// answer is the result for the guest.
func (w *write) answer(n int, err error) (int, error) {
	if err != nil && w.flags&syncFlags != 0 {
		switch err {
		case unix.EFAULT, unix.EINTR, unix.EAGAIN: // nothing that the host has said
		default:
			return 0, w.f.failed(err)
		}
	}
	whole := w.flags&(WriteCache|WriteWhole) != 0
	switch {
	case whole && w.took < n && err == nil, w.took == 0 && err == nil:
		return 0, unix.EIO // the host took nothing and said nothing
	case whole && err != nil, w.took == 0:
		return 0, err
	}
	return w.took, nil
}

// begin is mapping.begin for a write.
func (w *write) begin(lo, hi int64, how beginning) (change, error) {
	if w.flags&WriteNowait != 0 {
		how |= nowait
	}
	return w.f.m.begin(w.cancel, w.host, lo, hi, how)
}

// whole writes at its place: through the pages in batches, if how says so and there are some, or
// past them in one.
func (w *write) whole(how beginning) error {
	lo, hi := w.off/PageSize, (w.end-1)/PageSize+1
	if p := &w.f.m.c.planted; p.noDirectLock && how == 0 || p.noWriteLock && how == through {
		lo, hi = 0, 0
	}
	ch, err := w.begin(lo, hi, how)
	if err != nil {
		return err
	}
	defer ch.end()
	if ch.through {
		return w.through(&ch)
	}
	return w.all()
}

// appending writes at the end of the file, wherever that is. The range lock reaches from the
// page of the last known end; if the end turns out to lie before that, from the start.
func (w *write) appending() error {
	m := w.f.m
	m.mu.Lock()
	lo := int64(0)
	if m.vouched {
		lo = m.stamp.Size / PageSize
	}
	m.mu.Unlock()
	if lo > 0 {
		if done, err := w.appendFrom(lo); done || err != nil {
			return err
		}
	}
	ch, err := w.begin(0, toEnd, 0)
	if err != nil {
		return err
	}
	defer ch.end()
	return w.all()
}

// appendFrom appends to a file that ends on page lo or behind. If it does not, nothing is done.
func (w *write) appendFrom(lo int64) (done bool, err error) {
	ch, err := w.begin(lo, toEnd, look)
	if err != nil {
		return false, err
	}
	defer ch.end()
	if ch.size < lo*PageSize {
		return false, nil
	}
	err = w.all()
	if after, known := ch.stat(); !known || after.Size-int64(w.took) < lo*PageSize {
		ch.m.mu.Lock()
		ch.m.dropAll() // somebody else has cut the file off
		ch.m.unlock()
	}
	return true, err
}

// all sends the rest of the write from where it lies.
func (w *write) all() error {
	w.s.vec = w.from.appendTo(w.s.vec[:0], int(w.end-w.off))
	took, err := w.send(w.s.vec, int(w.end-w.off))
	w.took += took
	return err
}

// send asks the host until it has taken n bytes or refuses: with an errno or by taking none.
func (w *write) send(vec [][]byte, n int) (int, error) {
	took := 0
	var eintr interrupts
	for took < n {
		k, err := w.host.WriteAt(w.cancel, vec, w.off+int64(took), w.flags&hostFlags)
		if k > 0 {
			k = min(k, n-took)
			took += k
			vec = advance(vec, k)
			eintr = 0
		}
		if k > 0 && err == nil {
			continue
		}
		if more, err := eintr.again(w.cancel, err); !more {
			return took, err
		}
	}
	return took, nil
}

// through writes through the pages.
func (w *write) through(ch *change) error {
	m := ch.m
	w.began = m.c.Now()
	defer w.refused(m)
	headAlone := w.headAlone(ch)
	for w.off < w.end {
		to := w.end
		if headAlone {
			to, headAlone = (w.off/PageSize+1)*PageSize, false
		}
		took, err := w.batch(ch, to)
		w.took += took
		w.off += int64(took)
		if err != nil || w.off < to {
			return err
		}
	}
	return nil
}

// refused drops the pages of what was not taken: also those of batches that were not tried.
func (w *write) refused(m *mapping) {
	if w.off < w.end && !m.c.planted.keepRefused {
		m.mu.Lock()
		m.drop(w.off/PageSize, (w.end-1)/PageSize+1)
		m.unlock()
	}
}

// headAlone tells whether the first page goes to the host as a batch of its own: the write begins
// or ends within it and its other bytes are not known. Decided once, by the state of the pages when
// the range lock was granted. What must be one host write is one batch.
func (w *write) headAlone(ch *change) bool {
	if w.flags&(syncFlags|WriteCache) != 0 || w.f.m.c.planted.noSplit {
		return false
	}
	n, a, b := w.first(w.end)
	if a == 0 && b == PageSize || w.off-int64(a)+int64(b) == w.end {
		return false // no page, or none after it
	}
	m := w.f.m
	m.mu.Lock()
	defer m.mu.Unlock()
	return !ch.uptodate(n, a, b)
}

// first returns the page that the write goes on with, and its bytes from a to before b.
func (w *write) first(end int64) (n int64, a, b int) {
	n, a = w.off/PageSize, int(w.off%PageSize)
	return n, a, int(min(end-n*PageSize, PageSize))
}

// uptodate tells whether the bytes of page n other than those from a to before b are known, so
// that the page holds what the host does once it took these. What lies beyond the end of the file,
// if that was learnt under this range lock, is zero. Called with m.mu.
func (ch *change) uptodate(n int64, a, b int) bool {
	m, known := ch.m, 0
	if i := m.pages[n]; i != 0 {
		known = int(m.c.pages[i].valid)
	}
	switch {
	case a == 0 && b == PageSize, known > 0 && a <= known:
		return true
	case ch.size < 0 || ch.drops != m.drops:
		return false
	case a == 0:
		known = b // the rest is after the write
	}
	return ch.size <= n*PageSize+int64(known)
}

// sent is a page's part of a batch.
type sent struct {
	page  int64
	frame uint32 // 0: past the pages
	bytes int
	valid uint16 // what the page has when the host took all
}

// batch sends the bytes up to end in one host write, and returns how many were taken.
func (w *write) batch(ch *change, end int64) (took int, err error) {
	c := ch.m.c
	pages, vec := w.s.sent[:0], w.s.vec[:0]
	defer func() { w.settle(pages, took) }()
	for at := *w; at.off < end; {
		n, a, b := at.first(end)
		p := sent{page: n, bytes: b - a}
		p.frame, p.valid = ch.prepare(n, a, b, w.began)
		pages = append(pages, p)
		if p.frame == 0 {
			vec = w.from.appendTo(vec, b-a)
		} else {
			to := c.frame(p.frame)[a:b]
			if err := w.from.gather(to); err != nil {
				return 0, err
			}
			vec = append(vec, to)
		}
		at.off += int64(b - a)
	}
	w.s.vec = vec
	if c.planted.endEarly {
		w.settle(pages, int(end-w.off))
		pages = nil
	}
	return w.send(vec, int(end-w.off))
}

// settle lets readers at the pages of a batch again: those whose bytes the host took. The others go.
func (w *write) settle(pages []sent, took int) {
	m := w.f.m
	m.mu.Lock()
	for _, p := range pages {
		took -= p.bytes
		if p.frame == 0 {
			continue
		}
		m.c.pages[p.frame].valid = p.valid
		m.settle(p.page, p.frame, took >= 0)
	}
	m.unlock()
}

// prepare makes page n busy, for its bytes from a to before b to be set, and returns its frame and
// how many of its bytes will be known then. If the page is not to be kept, because its other bytes
// are not known or there is no frame, it is taken out and 0 returned. Readers that are copying out of
// a page keep its frame; the page gets another one.
func (ch *change) prepare(n int64, a, b int, now int64) (uint32, uint16) {
	m, c := ch.m, ch.m.c
	m.mu.Lock()
	if !ch.uptodate(n, a, b) || !m.keeps() {
		m.drop(n, n+1)
		m.unlock()
		return 0, 0
	}
	old := m.pages[n]
	if old != 0 && (c.pages[old].pins == 0 || c.planted.overwritePinned) {
		p := &c.pages[old]
		known := int(p.valid)
		p.busy, p.stale, p.at = true, false, now
		m.unlock()
		zeroGap(c.frame(old), known, a)
		return old, uint16(max(known, b))
	}
	if old != 0 {
		c.pages[old].pins++ // to copy from it
	}
	m.unlock()
	return ch.prepareNew(n, old, a, b, now)
}

// prepareNew is prepare for a page that has no frame, or one that is being read: old, which the
// caller has pinned.
func (ch *change) prepareNew(n int64, old uint32, a, b int, now int64) (uint32, uint16) {
	m, c := ch.m, ch.m.c
	i := c.take(m, n)
	known := 0
	if i != 0 {
		if old != 0 {
			known = copy(c.frame(i), c.frame(old)[:c.pages[old].valid])
		}
		zeroGap(c.frame(i), known, a)
	}
	m.mu.Lock()
	defer m.unlock()
	if old != 0 {
		m.unpin(old)
	}
	if there := m.pages[n]; there != 0 {
		m.detach(n, there)
	}
	switch {
	case i == 0:
		return 0, 0
	case b-a < PageSize && m.drops != ch.drops, !m.keeps(): // what it was made from is not trusted any more
		m.freed = append(m.freed, i)
		return 0, 0
	}
	m.put(n, i)
	c.pages[i] = page{at: now, busy: true}
	return i, uint16(max(known, b))
}

// zeroGap clears the bytes between those that are known and those that come: they lie beyond
// the end of the file.
func zeroGap(frame []byte, known, a int) {
	if known < a {
		clear(frame[known:a])
	}
}
