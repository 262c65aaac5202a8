// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"
)

// answer is what the host says to a write: a count, or an error.
type answer struct {
	n   int
	err error
}

// predicted does n random writes one after the other, with a host that cuts short and fails, and
// compares the host calls with those that the policy gives. lazy is that of a worldConfig.
func predicted(seed uint64, n int, lazy bool, p planted) (found []string) {
	r := rand.New(rand.NewPCG(seed, 0))
	h := &fakeHost{clock: newClock(), data: pattern(1, 5*PageSize+9), record: true}
	h.mtime = h.clock.ns.Load() - int64(settled)
	c := newTestCache(8, h.clock, true)
	c.planted, c.eager = p, !lazy
	f := c.Open(testKey, Handle{Host: h, Mode: ModeAlways})
	var answers []answer
	h.before = func(op string, _ int64, n int) (int, error) {
		if op != "write" || len(answers) == 0 {
			return -1, nil
		}
		a := answers[0]
		answers = answers[1:]
		return a.n, a.err
	}
	for i := range n {
		off, data := place(r), make([]byte, length(r))
		for range i / 200 % 2 * 3 { // now and then the pages pay
			_, _ = f.ReadAt(nil, [][]byte{make([]byte, 3*PageSize)}, 0, 0)
		}
		fl := []WriteFlags{0, 0, 0, WriteSync, WriteDSync, WriteCache, WriteDirect, WriteDirect | WriteWhole, WriteAppend}[r.IntN(9)]
		switch r.IntN(6) {
		case 0:
			_ = f.Truncate(nil, place(r))
		case 1, 2:
			_, _ = f.ReadAt(nil, [][]byte{make([]byte, 3*PageSize)}, off&^(PageSize-1), 0)
		}
		answers = randomAnswers(r)
		h.taken()
		want, took := predict(f, h, off, int64(len(data)), fl, answers)
		got, err := f.WriteAt(nil, [][]byte{data}, off, fl)
		if calls := h.writes(); !slices.Equal(calls, want) {
			found = append(found, fmt.Sprintf("write %d+%d, flags %d: host calls %q, want %q", off, len(data), fl, calls, want))
		}
		if err == nil && got != took {
			found = append(found, fmt.Sprintf("write %d+%d, flags %d: answered %d, the host took %d", off, len(data), fl, got, took))
		}
	}
	return found
}

// randomAnswers are for the first few writes; the host takes the rest whole.
func randomAnswers(r *rand.Rand) (list []answer) {
	for range r.IntN(4) {
		switch r.IntN(6) {
		case 0:
			list = append(list, answer{err: unix.EINTR})
		case 1:
			list = append(list, answer{err: unix.ENOSPC})
		case 2:
			list = append(list, answer{n: 0})
		default:
			list = append(list, answer{n: 1 + r.IntN(6000)})
		}
	}
	return list
}

// predict is the policy's account of a write: its host calls, and how many bytes are taken.
func predict(f *File, h *fakeHost, off, n int64, fl WriteFlags, answers []answer) (calls []string, took int) {
	name, batches := "write", []int64{n}
	switch page := off / PageSize; {
	case fl == WriteAppend:
		name = "append"
	case fl&(WriteSync|WriteDSync) != 0:
		name = "dsync"
	case fl != 0, n > maxPages*PageSize, off%PageSize == 0, off+n <= (page+1)*PageSize, !f.pays():
	case f.knows(page, off, int64(len(h.content()))):
	default:
		head := (page+1)*PageSize - off
		batches = []int64{head, n - head}
	}
	for _, left := range batches {
		for left > 0 {
			if name == "append" {
				calls = append(calls, fmt.Sprintf("append +%d", left))
			} else {
				calls = append(calls, fmt.Sprintf("%s %d+%d", name, off, left))
			}
			a := answer{n: int(left)}
			if len(answers) > 0 {
				a, answers = answers[0], answers[1:]
			}
			k := min(int64(a.n), left)
			switch {
			case a.err == unix.EINTR:
				continue
			case k == 0:
				return calls, took
			}
			took += int(k)
			off += k
			left -= k
		}
	}
	return calls, took
}

// pays tells whether the next change goes through the pages.
func (f *File) pays() bool {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	next := f.m.worth
	return f.m.c.eager || next.change() && len(f.m.pages) > 0
}

// knows tells whether the bytes of the page before off are known: from the page, or because the
// file ends before them.
func (f *File) knows(n, off, size int64) bool {
	known := n * PageSize
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if i := f.m.pages[n]; i != 0 {
		known += int64(f.m.c.pages[i].valid)
	}
	return f.m.vouched && off <= known && known > n*PageSize || size <= known
}
