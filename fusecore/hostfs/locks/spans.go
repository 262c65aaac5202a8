// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"math"
	"slices"
	"sort"

	"golang.org/x/sys/unix"
)

// maxOffset is the last byte of any file: a lock up to it holds to the end of the file, however
// long that gets (OFFSET_MAX of Linux linux/fs.h).
const maxOffset = math.MaxInt64

// span is a range of bytes, both ends in it, that is locked in one way.
type span struct {
	start, end int64
	typ        int16 // unix.F_RDLCK or F_WRLCK; F_UNLCK in a request
}

// unlocked is a request to give everything up.
var unlocked = span{0, maxOffset, unix.F_UNLCK}

// conflicts tells whether two owners cannot have a and b at once.
func (a span) conflicts(b span) bool {
	return a.start <= b.end && b.start <= a.end && a.typ != unix.F_UNLCK && b.typ != unix.F_UNLCK &&
		(a.typ == unix.F_WRLCK || b.typ == unix.F_WRLCK)
}

// spans is what one owner holds on one file: in order, apart, and never two of a type side by side,
// just as the kernel keeps them (posix_lock_inode of Linux fs/locks.c).
type spans []span

// change is what a request does to spans: s[from:to] gives way to with[:n].
type change struct {
	from, to int
	with     [3]span
	n        int
}

// plan says what a request does.
func (s spans) plan(l span) (c change) {
	c.from = sort.Search(len(s), func(i int) bool { return s[i].end >= l.start-1 })
	c.to = sort.Search(len(s), func(i int) bool { return s[i].start-1 > l.end })
	var right span
	hasRight := false
	middle := l
	for _, o := range s[c.from:c.to] {
		if o.typ == l.typ {
			middle.start, middle.end = min(middle.start, o.start), max(middle.end, o.end)
			continue
		}
		if o.start < l.start {
			c.add(span{o.start, min(o.end, l.start-1), o.typ})
		}
		if o.end > l.end {
			right, hasRight = span{max(o.start, l.end+1), o.end, o.typ}, true
		}
	}
	if l.typ != unix.F_UNLCK {
		c.add(middle)
	}
	if hasRight {
		c.add(right)
	}
	return c
}

func (c *change) add(s span) {
	c.with[c.n] = s
	c.n++
}

// growth is by how many spans there are more afterwards.
func (c *change) growth() int { return c.n - (c.to - c.from) }

// apply carries out a change that was planned for s, which must not be used any more.
func (s spans) apply(c *change) spans { return slices.Replace(s, c.from, c.to, c.with[:c.n]...) }

// conflict finds the first span that another owner's l cannot be beside.
func (s spans) conflict(l span) (span, bool) {
	for i := sort.Search(len(s), func(i int) bool { return s[i].end >= l.start }); i < len(s) && s[i].start <= l.end; i++ {
		if s[i].conflicts(l) {
			return s[i], true
		}
	}
	return span{}, false
}
