// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"math"

	"golang.org/x/sys/unix"
)

// ReadAt fills dst from off on. Less than asked for means that the host file ended there. An error
// means that nothing counts as read. dst may be memory of a guest. EINTR: cancel was closed while
// the host was asked.
func (f *File) ReadAt(cancel <-chan struct{}, dst [][]byte, off int64, fl ReadFlags) (int, error) {
	want := size(dst)
	switch {
	case off < 0 || off > math.MaxInt64-int64(want):
		return 0, unix.EINVAL
	case want == 0:
		return 0, nil
	}
	s := getScratch()
	defer s.put()
	if fl&ReadDirect != 0 || !f.mode.keeps() {
		return f.readPast(cancel, s, f.host, dst, off, want, fl)
	}
	r := read{f: f, cancel: cancel, s: s, to: cursor{bufs: dst}, off: off, end: off + int64(want), began: f.m.c.Now(), nowait: fl&ReadNowait != 0}
	f.m.tenant.touch(r.began)
	if want > maxPages*PageSize || !r.pin() {
		return f.readPast(cancel, s, f.buffered, dst, off, want, fl)
	}
	if r.due {
		if err := r.check(); err != nil {
			return 0, err
		}
	}
	if err := r.hit(); err != nil {
		return 0, err
	}
	if r.off < r.end {
		if err := r.miss(); err != nil {
			return 0, err
		}
	}
	return int(r.off - off), nil
}

// readPast reads without looking at pages: the host has every byte that was acknowledged.
func (f *File) readPast(cancel <-chan struct{}, s *scratch, h HostFile, dst [][]byte, off int64, want int, fl ReadFlags) (int, error) {
	s.vec = append(s.vec[:0], dst...)
	return f.m.c.readHost(cancel, h, s.vec, off, want, fl&ReadNowait != 0)
}

// readHost asks until all was read, the file ended, or the host failed.
func (c *Cache) readHost(cancel <-chan struct{}, h HostFile, vec [][]byte, off int64, want int, nowait bool) (int, error) {
	got := 0
	var eintr interrupts
	for got < want {
		n, err := h.ReadAt(cancel, vec, off+int64(got), nowait)
		if n > 0 && (err == nil || err == unix.EINTR) {
			eintr = 0
			n = min(n, want-got)
			got += n
			vec = advance(vec, n)
			if c.planted.shortAnswer {
				return got, nil
			}
			continue
		}
		if more, err := eintr.again(cancel, err); err != nil {
			return 0, err
		} else if !more {
			return got, nil
		}
	}
	return got, nil
}

// read is a read through the pages that is under way.
type read struct {
	f      *File
	cancel <-chan struct{}
	s      *scratch
	to     cursor
	off    int64 // what comes next
	end    int64
	known  int64 // up to where pinned pages answer
	began  int64 // Cache.Now
	nowait bool

	due     bool // the stamp has to be checked first
	checked bool // it was
}

// check looks at the host file, and then at the pages.
func (r *read) check() error {
	m := r.f.m
	st, err := m.c.stat(r.cancel, r.f.buffered)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.observe(st, true)
	m.unlock()
	r.checked = true
	r.pin()
	return nil
}

// answers tells whether the bytes from in on of a page may be given to this read.
func (r *read) answers(p *page, in int) bool {
	if p.busy || in >= int(p.valid) {
		return false
	}
	return r.f.mode != ModeAuto || fresh(p.at, r.began)
}

// pin finds the pages that can answer, up to the first that cannot, and keeps them from being
// freed. It finds none if the stamp is not known or was not checked for too long: then it is due.
// False: the mapping keeps no pages, at all or because they would not pay.
func (r *read) pin() bool {
	m, c := r.f.m, r.f.m.c
	r.s.pin, r.known = 0, r.off
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.keeps() {
		return r.checked
	}
	if m.worth.poor && len(m.pages) == 0 && !c.eager {
		m.worth.read(int((r.end-1)/PageSize - r.off/PageSize + 1))
		return r.checked
	}
	if r.due = !r.checked && (!m.vouched || !fresh(m.checked, r.began)); r.due {
		return true
	}
	for r.known < r.end {
		i := m.pages[r.known/PageSize]
		if i == 0 || !r.answers(&c.pages[i], int(r.known%PageSize)) {
			break
		}
		p := &c.pages[i]
		p.pins++
		p.hits = min(p.hits+1, maxHits)
		r.s.pins[r.s.pin] = i
		r.s.pin++
		start := r.known &^ (PageSize - 1)
		if r.known = min(start+int64(p.valid), r.end); p.valid < PageSize {
			break
		}
	}
	m.worth.read(r.s.pin)
	return true
}

// hit answers from the pages that are pinned.
func (r *read) hit() error {
	if r.s.pin == 0 {
		return nil
	}
	defer r.unpin()
	for _, i := range r.s.pins[:r.s.pin] {
		in := r.off % PageSize
		n := min(PageSize-in, r.known-r.off)
		if err := r.to.scatter(r.f.m.c.frame(i)[in : in+n]); err != nil {
			return err
		}
		r.off += n
	}
	return nil
}

// unpin ends the copies.
func (r *read) unpin() {
	m := r.f.m
	m.mu.Lock()
	for _, i := range r.s.pins[:r.s.pin] {
		m.unpin(i)
	}
	m.unlock()
}
