// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cellSize is what the tests of the page cache write, cut off and copy multiples of, so that pages are
// touched in part, and what a read is judged by.
const cellSize = 512

// clock counts what happens in all guests and on the host: it orders ends and starts.
type clock struct{ n atomic.Int64 }

func (c *clock) tick() int64 { return c.n.Add(1) }

// change is one that was asked for, or made on the host. Times are ticks.
type change struct {
	lo, hi     int64  // cells
	tag        uint64 // of the bytes; 0: zeros, or an end of the file
	any        bool   // any bytes: a copy
	floats     bool   // at the end of the file, wherever that was
	sure, may  int64  // how many cells from lo on the host has taken, and may have taken
	start, end int64

	foreign bool      // made on the host
	shown   bool      // foreign, and a statx tells it from what was before
	at      time.Time // the end of a foreign one
}

// history is all changes of one file, against which reads are held.
type history struct {
	mu      sync.Mutex
	clock   *clock
	changes []*change
	busy    int // changes under way through the daemon
	begun   int // and begun so far
}

// newHistory begins with a file of so many cells.
func newHistory(c *clock, tag uint64, cells int64) *history {
	return &history{clock: c, changes: []*change{
		{hi: cells, tag: tag, sure: cells, may: cells},
		{lo: cells, hi: math.MaxInt64, sure: math.MaxInt64, may: math.MaxInt64},
	}}
}

// begin enters a change through the daemon, to be ended by end.
func (h *history) begin(c change) *change {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.may, c.end, c.start = c.hi-c.lo, math.MaxInt64, h.clock.tick()
	h.changes = append(h.changes, &c)
	h.busy++
	h.begun++
	return &c
}

// end tells how many cells the host has taken for sure, and at most.
func (h *history) end(c *change, sure, may int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.sure, c.may, c.end = sure, may, h.clock.tick()
	if c.floats {
		c.sure = 0
	}
	h.busy--
}

// foreign makes a change on the host, which tells whether a statx shows it.
func (h *history) foreign(c change, do func() (shown bool)) {
	h.mu.Lock()
	c.may, c.end, c.start, c.foreign = c.hi-c.lo, math.MaxInt64, h.clock.tick(), true
	h.changes = append(h.changes, &c)
	quiet, begun := h.busy == 0, h.begun
	h.mu.Unlock()
	shown := do()
	h.mu.Lock()
	defer h.mu.Unlock()
	// Two changes at once cannot be told from each other by their stamps.
	c.shown = shown && quiet && begun == h.begun
	c.sure, c.end, c.at = c.hi-c.lo, h.clock.tick(), time.Now()
}

func (c *change) covers(cell, n int64) bool { return c.lo <= cell && cell-c.lo < n }

// look is a read: when it was made, and what the guest had been shown before.
type look struct {
	start int64
	began time.Time
	seen  int64         // the start of the last statx that the guest has got
	trust time.Duration // for which a guest of this kind need not hear of foreign changes
}

// wrong holds what a read of want cells from lo on got against the history.
func (h *history) wrong(l look, lo int64, got []byte, want int64) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range want {
		cell := got[min(i*cellSize, int64(len(got))):min((i+1)*cellSize, int64(len(got)))]
		if len(cell) == 0 {
			if !h.mayHold(l, lo+i, 0) {
				return fmt.Sprintf("cell %d: the file ends, where it never did meanwhile", lo+i)
			}
			continue
		}
		last, checked := uint64(0), false
		for k := 0; k+8 <= len(cell); k += 8 {
			word := binary.NativeEndian.Uint64(cell[k:])
			if checked && word == last {
				continue
			}
			if last, checked = word, true; !h.mayHold(l, lo+i, word) {
				return fmt.Sprintf("cell %d, byte %d: %#x, which was not there meanwhile", lo+i, k, word)
			}
		}
	}
	return ""
}

// mayHold tells whether the file may have held the word in that cell at a time that the reader may
// know it of.
func (h *history) mayHold(l look, cell int64, word uint64) bool {
	for _, c := range h.changes {
		if (c.any || c.gives(cell, word)) && (c.floats || c.covers(cell, c.may)) && !h.overwritten(l, c, cell) {
			return true
		}
	}
	return false
}

// gives tells whether the change writes that word to that cell.
func (c *change) gives(cell int64, word uint64) bool {
	switch {
	case c.tag == 0:
		return word == 0
	case c.floats:
		return word>>16 == c.tag
	}
	return word == c.word(cell)
}

// word is what the change writes to a cell, again and again.
func (c *change) word(cell int64) uint64 { return c.tag<<16 | uint64(cell)&0xffff }

// overwritten tells whether something else was in the cell for sure since the change ended, and the
// reader has to know.
func (h *history) overwritten(l look, c *change, cell int64) bool {
	for _, w := range h.changes {
		if w == c || w.start <= c.end || w.end >= l.start || !w.covers(cell, w.sure) {
			continue
		}
		if !w.foreign || l.began.Sub(w.at) > l.trust || w.shown && w.end < l.seen {
			return true
		}
	}
	return false
}

// bytes are what the change writes.
func (c *change) bytes() []byte {
	b := make([]byte, 0, (c.hi-c.lo)*cellSize)
	for cell := c.lo; cell < c.hi; cell++ {
		for range cellSize / 8 {
			b = binary.NativeEndian.AppendUint64(b, c.word(cell))
		}
	}
	return b
}

// TestHistory: the judge finds what is wrong, and nothing else.
func TestHistory(t *testing.T) {
	clk := new(clock)
	h := newHistory(clk, 7, 4)
	first := *h.changes[0]
	w := h.begin(change{lo: 1, hi: 3, tag: 8})
	now := func() look { return look{start: clk.tick(), began: time.Now(), trust: time.Hour} }
	check := func(what string, l look, lo int64, got []byte, want int64, right bool) {
		t.Helper()
		if s := h.wrong(l, lo, got, want); (s == "") != right {
			t.Errorf("%s: %q", what, s)
		}
	}
	old, mixed := first.bytes(), append(first.bytes()[:cellSize], w.bytes()...)
	during := now()
	check("before a write ends", during, 0, old, 4, true)
	check("before a write ends, its bytes", during, 0, mixed, 3, true)
	h.end(w, 1, 1)
	check("a read that began before", during, 0, old, 4, true)
	check("an old byte", now(), 1, old[cellSize:], 1, false)
	check("a byte that was refused", now(), 2, w.bytes()[cellSize:], 1, false)
	check("bytes of another place", now(), 3, old[2*cellSize:], 1, false)
	check("an early end", now(), 0, old[:cellSize], 3, false)
	check("the end", now(), 3, old[3*cellSize:], 4, true)
	h.foreign(change{lo: 3, hi: 4, tag: 9}, func() bool { return true })
	l := now()
	check("a change of the host's", l, 3, old[3*cellSize:], 1, true)
	l.trust = 0
	check("the same with no trust", l, 3, old[3*cellSize:], 1, false)
	l.trust, l.seen = time.Hour, clk.tick()
	check("the same when it was seen", l, 3, old[3*cellSize:], 1, false)
	a := h.begin(change{lo: 4, hi: 5, tag: 10, floats: true})
	h.end(a, 1, 1)
	check("an append", now(), 6, a.bytes(), 1, true)
	h.end(h.begin(change{hi: math.MaxInt64}), math.MaxInt64, math.MaxInt64)
	check("after a truncation", now(), 6, a.bytes(), 1, false)
	check("a file that is empty", now(), 0, nil, 4, true)
}
