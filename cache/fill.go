// SPDX-License-Identifier: Apache-2.0

package cache

// fill is the pages that a read wants to keep of what it gets from the host. It is in its
// mapping's list from before the host is asked until they are kept: a range lock that is granted
// meanwhile, or a drop, takes pages from it, as their bytes may be older than the change.
type fill struct {
	prev, next *fill
	lo         int64  // the first page
	n          int64  // number of pages, at most maxPages
	keep       uint32 // bit i: page lo+i may still be kept; guarded by the mapping's mutex
	frames     [maxPages]uint32
}

// spoil takes the pages from lo to before hi from all fills. Called with m.mu.
func (m *mapping) spoil(lo, hi int64) {
	if m.c.planted.keepSpoiled {
		return
	}
	for f := m.fills; f != nil; f = f.next {
		for i := max(lo-f.lo, 0); i < min(hi-f.lo, f.n); i++ {
			f.keep &^= 1 << i
		}
	}
}

// begin enters a fill of the whole pages between off and end, but for those that a change is
// under way in, and those that are there and good.
func (r *read) begin(f *fill) {
	m := r.f.m
	f.lo = (r.off + PageSize - 1) / PageSize
	f.n = max(r.end/PageSize-f.lo, 0)
	f.keep, f.prev = 0, nil
	m.mu.Lock()
	for i := range f.n {
		there := m.pages[f.lo+i]
		good := there != 0 && r.answers(&m.c.pages[there], 0)
		if !good && !m.ranges.covers(f.lo+i) && m.vouched && m.keeps() {
			f.keep |= 1 << i
		}
	}
	want := f.keep
	if f.next = m.fills; f.next != nil {
		f.next.prev = f
	}
	m.fills = f
	m.mu.Unlock()
	for i := range f.n {
		f.frames[i] = 0
		if want&(1<<i) != 0 {
			f.frames[i] = m.c.take(m, f.lo+i)
		}
	}
}

// end enters the pages up to off in the table, where they may be kept, and frees the others.
func (r *read) finish(f *fill, off int64) {
	m := r.f.m
	m.mu.Lock()
	if f.prev == nil {
		m.fills = f.next
	} else {
		f.prev.next = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	}
	f.next, f.prev = nil, nil
	for i, frame := range f.frames[:f.n] {
		if frame == 0 {
			continue
		}
		n := f.lo + int64(i)
		valid := min(off-n*PageSize, PageSize)
		old := m.pages[n]
		if f.keep&(1<<i) == 0 || valid <= 0 || m.c.pages[old].busy { // the last follows from the first
			m.freed = append(m.freed, frame)
			continue
		}
		if old != 0 {
			m.detach(n, old)
		} else {
			m.worth.read(1)
		}
		m.put(n, frame)
		m.c.pages[frame] = page{at: r.began, valid: uint16(valid)}
	}
	m.unlock()
}

// miss reads the rest from the host: into frames what is to be kept, the other bytes straight to
// where they are wanted. What is kept is copied to the guest from the frame, never the other way
// round, as the guest may change its buffer at any time.
func (r *read) miss() error {
	c, f := r.f.m.c, &r.s.fill
	r.begin(f)
	kept := int64(0) // up to where the pages are to be kept
	defer func() { r.finish(f, kept) }()

	direct := r.to
	vec := r.s.vec[:0]
	for off := r.off; off < r.end; {
		n := int(min(PageSize-off%PageSize, r.end-off))
		if i := f.at(off); i != 0 {
			vec = append(vec, c.frame(i))
			direct.pass(n)
		} else {
			vec = direct.appendTo(vec, n)
		}
		off += int64(n)
	}
	r.s.vec = vec
	got, err := c.readHost(r.cancel, r.f.buffered, vec, r.off, int(r.end-r.off), r.nowait)
	if err != nil {
		return err
	}
	for end := r.off + int64(got); r.off < end; {
		n := min(PageSize-r.off%PageSize, end-r.off)
		if i := f.at(r.off); i == 0 {
			r.to.pass(int(n))
		} else if err := r.to.scatter(c.frame(i)[:n]); err != nil {
			return err
		}
		r.off += n
	}
	kept = r.off
	return nil
}

// at returns the frame for the page at off, or 0.
func (f *fill) at(off int64) uint32 {
	if i := off/PageSize - f.lo; off >= f.lo*PageSize && i < f.n {
		return f.frames[i]
	}
	return 0
}

// pass moves n bytes on.
func (c *cursor) pass(n int) {
	for n > 0 {
		b := c.next(n)
		if len(b) == 0 {
			return
		}
		n -= len(b)
	}
}
