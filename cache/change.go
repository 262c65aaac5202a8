// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"math"

	"golang.org/x/sys/unix"
)

// change is a change of a file that is under way: its range lock is held.
//
// Pages of the file that it does not touch stay good, but the stamp that vouched for them moves. A
// statx before and one after the change save them: if the first shows what the old stamp says, the
// second is the new one. That works for one change at a time only; otherwise, and where there is
// nothing to save, nothing is asked, and the next check starts anew. Pages that are not worth it (worth)
// are dropped.
type change struct {
	m    *mapping
	host HostFile
	by   <-chan struct{} // cancel of its request
	lock *rangeLock      // nil: none needed

	through bool   // the change goes through the pages
	worth   bool   // there are pages to save, or to come
	adopt   bool   // the stamp was right before
	epoch   uint64 // then
	drops   uint64 // then
	size    int64  // of the file before, -1: unknown
	after   Stamp  // if known
	known   bool
}

// begin takes the range lock of the pages from lo to before hi. A change that is through the pages
// will leave some. For any other they are taken out now, before the host is asked, so that readers
// meanwhile ask the host, too. EINTR: canceled; EAGAIN: somebody else has the range, and how says
// not to wait.
func (m *mapping) begin(cancel <-chan struct{}, h HostFile, lo, hi int64, how beginning) (ch change, err error) {
	ch = change{m: m, host: h, by: cancel, size: -1}
	if lo < hi {
		if ch.lock, err = m.lockRange(cancel, lo, hi, how&nowait != 0); err != nil {
			return ch, err
		}
	}
	m.mu.Lock()
	if !m.worth.change() && !m.c.eager && len(m.pages) > 0 {
		m.dropAll()
	}
	ch.through = how&through != 0 && m.keeps() && (len(m.pages) > 0 || m.c.eager)
	if !ch.through && !m.c.planted.dropLate {
		m.drop(lo, hi)
	}
	alone := m.changing == 0
	m.changing++
	drops := m.drops
	ch.worth = ch.through || how&look != 0 || len(m.pages) > 0
	m.unlock()
	if !ch.worth {
		return ch, nil
	}
	st, err := m.c.stat(cancel, h)
	m.mu.Lock()
	defer m.unlock()
	seen := m.drops != drops // meanwhile somebody has seen the file in another state: st may be from before
	switch {
	case err != nil, seen:
		m.disown() // if it was an error, the host will say to the change itself what it has to say
	case alone && m.changing == 1:
		m.observe(st, false)
		ch.adopt, ch.epoch, ch.size = true, m.epoch, st.Size
	default:
		m.disown()
		ch.size = st.Size
	}
	ch.drops = m.drops
	return ch, nil
}

// beginning is how a change begins.
type beginning uint8

const (
	through beginning = 1 << 0 // through the pages, if the mapping has any: for none two statx are no use
	look    beginning = 1 << 1 // the size is wanted in any case
	nowait  beginning = 1 << 2 // EAGAIN instead of waiting
)

// stat asks for the stamp after the change.
func (ch *change) stat() (Stamp, bool) {
	if !ch.known {
		st, err := ch.m.c.stat(ch.by, ch.host)
		ch.after, ch.known = st, err == nil
	}
	return ch.after, ch.known
}

// end releases the range lock. The stamp moves on, if that is worth it.
func (ch *change) end() {
	m := ch.m
	m.mu.Lock()
	worth := ch.worth && len(m.pages) > 0 && ch.adopt && m.epoch == ch.epoch
	m.mu.Unlock()
	if worth {
		ch.stat()
	}
	m.mu.Lock()
	if worth && ch.known && m.epoch == ch.epoch {
		m.stamp = ch.after
	} else {
		m.disown()
	}
	m.changing--
	if ch.lock != nil {
		m.release(ch.lock)
	}
	m.unlock()
}

// Change makes a change of a file's data, from off on for n bytes, or to the end of all files with
// n < 0, by a call of change. O_TRUNC, FICLONE and whatever has no method of its own goes this way.
func (f *File) Change(cancel <-chan struct{}, off, n int64, change func() error) error {
	if off < 0 {
		return unix.EINVAL
	}
	lo, hi := off/PageSize, int64(toEnd)
	if n >= 0 && off <= math.MaxInt64-n-PageSize {
		hi = (off + n + PageSize - 1) / PageSize
	}
	ch, err := f.m.begin(cancel, f.host, lo, hi, 0)
	if err != nil {
		return err
	}
	defer func() {
		if f.m.c.planted.dropLate {
			f.m.mu.Lock()
			f.m.drop(lo, hi)
			f.m.unlock()
		}
		ch.end()
	}()
	return again(cancel, change)
}

// Metadata makes a change of the attributes of the file k (mode, owner, times, links, extended
// attributes) by a call of change. stat reads its stamp. It waits for nobody.
func (c *Cache) Metadata(k Key, stat func() (Stamp, error), change func() error) error {
	m := c.find(k)
	if m == nil {
		return change()
	}
	ch, err := m.begin(nil, statOnly{stat: stat}, 0, 0, 0)
	if err != nil {
		return err
	}
	defer ch.end()
	return change()
}

// statOnly is a file that Metadata asks for its stamp, and nobody for more.
type statOnly struct {
	HostFile
	stat func() (Stamp, error)
}

func (s statOnly) Stat(<-chan struct{}) (Stamp, error) { return s.stat() }

// Truncate sets the size.
func (f *File) Truncate(cancel <-chan struct{}, size int64) error {
	if f.m.c.planted.noTruncateLock {
		return f.host.Truncate(cancel, size)
	}
	return f.Change(cancel, size, -1, func() error { return f.host.Truncate(cancel, size) })
}

// Allocate is fallocate(2). Only a mode that is known to leave the size alone has an end.
func (f *File) Allocate(cancel <-chan struct{}, mode uint32, off, n int64) error {
	to := int64(-1)
	const keepsSize = unix.FALLOC_FL_KEEP_SIZE
	switch mode {
	case keepsSize, keepsSize | unix.FALLOC_FL_PUNCH_HOLE, keepsSize | unix.FALLOC_FL_ZERO_RANGE:
		to = max(n, 0)
	}
	return f.Change(cancel, off, to, func() error { return f.host.Allocate(cancel, mode, off, n) })
}

// maxCopy is the most that one CopyTo copies: nobody should have to wait long for its range lock.
const maxCopy = 16 << 20

// CopyTo copies up to n bytes at off to dst. Less than n is no error; 0: the source ends.
func (f *File) CopyTo(cancel <-chan struct{}, dst *File, off, dstOff, n int64) (done int64, err error) {
	if off < 0 || n < 0 {
		return 0, unix.EINVAL
	}
	n = min(n, maxCopy)
	err = dst.Change(cancel, dstOff, n, func() (err error) {
		done, err = f.host.CopyTo(cancel, dst.host, off, dstOff, n)
		return err
	})
	return done, err
}

// Sync makes what was written durable. If that fails, the host may have dropped what it had taken.
func (f *File) Sync(cancel <-chan struct{}, dataOnly bool) error {
	return f.failed(again(cancel, func() error { return f.host.Sync(cancel, dataOnly) }))
}

// Flush reports errors of earlier writes, as close(2) does.
func (f *File) Flush(cancel <-chan struct{}) error { return f.failed(f.host.Flush(cancel)) }

// failed drops all pages after an error.
func (f *File) failed(err error) error {
	if err != nil && !f.m.c.planted.keepAfterSync {
		f.m.mu.Lock()
		f.m.dropAll()
		f.m.unlock()
	}
	return err
}
