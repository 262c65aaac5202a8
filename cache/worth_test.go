// SPDX-License-Identifier: Apache-2.0

package cache

import "testing"

// TestWorth: pages are kept where they are read often enough between changes.
func TestWorth(t *testing.T) {
	for name, tt := range map[string]struct {
		reads, changes int // so many reads before each change
		pays           bool
	}{
		"written only":        {0, 100, false},
		"a few changes":       {0, 10, true},
		"70/30":               {2, 300, false},
		"90/10":               {9, 1000, true},
		"read over and over":  {1000, 10, true},
		"a read now and then": {1, 300, false},
	} {
		w := worth{mean: start * meanOf}
		for range tt.changes {
			w.read(tt.reads)
			w.change()
		}
		if w.poor == tt.pays {
			t.Errorf("%s: pays: %v", name, !w.poor)
		}
	}
}

// TestWorthTriesAgain: after many changes it takes a calm time, or more reads between changes, until pages
// are kept again.
func TestWorthTriesAgain(t *testing.T) {
	poor := func() (w worth) {
		for range 200 {
			w.change()
		}
		return w
	}
	w := poor()
	for range calm {
		if !w.poor {
			t.Fatal("too early")
		}
		w.read(1)
	}
	if w.poor || !w.change() {
		t.Error("a calm time is not enough")
	}
	for w, n := poor(), 0; w.poor; n++ {
		w.read(pays)
		if w.change(); n == 1000 {
			break // right: this is a draw
		} else if !w.poor {
			t.Error("a draw is taken for more")
		}
	}
	w = poor()
	for n := 0; w.poor; n++ {
		w.read(2 * pays)
		if w.change(); n == 1000 {
			t.Fatal("twice of what it takes is not enough")
		}
	}
}

// TestPagesThatDoNotPay: a file that is written more than read costs no statx, and has no pages; one that
// is read again gets them back.
func TestPagesThatDoNotPay(t *testing.T) {
	b := newBench(t, 8, pattern(1, 4*PageSize))
	b.c.eager = false
	b.read(0, 4*PageSize)
	calls := func() (n int) {
		for range 100 {
			b.h.taken()
			if _, err := b.write(PageSize, pattern(2, PageSize), 0); err != nil {
				t.Fatal(err)
			}
			n = len(b.h.taken())
			b.read(0, PageSize)
		}
		return n
	}
	if n := calls(); n != 1 || len(b.pages()) > 0 {
		t.Errorf("%d host calls for a write, and %d pages", n, len(b.pages()))
	}
	for range calm + 1 {
		b.read(0, PageSize)
	}
	checkPresent(t, b, []int64{0})
	b.h.taken()
	if b.read(0, PageSize); len(b.h.taken()) != 0 {
		t.Error("the page does not answer")
	}
	b.checkPages()
}

// TestPromises: pages that are thrown out unread have not paid, so a scan of a file that is written
// meanwhile is without them for a good part of the time.
func TestPromises(t *testing.T) {
	b := newBench(t, 8, pattern(1, 1000*PageSize))
	b.c.eager = false
	changes, poor := 0, 0
	for n := range int64(9000) {
		b.read(n%900*PageSize, PageSize)
		if n%9 == 0 {
			_, _ = b.write(999*PageSize, pattern(2, PageSize), 0)
			if changes++; b.f.m.worth.poor {
				poor++
			}
		}
	}
	if poor < changes/3 {
		t.Errorf("after %d of %d changes none were kept", poor, changes)
	}
}
