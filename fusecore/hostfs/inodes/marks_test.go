// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"slices"
	"testing"
)

// TestMarks: marks stay through the loss of an fd, go with the record, and the host is told of an fd
// that goes of a file that was opened, and of no other.
func TestMarks(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.addFile(1, "f", 100)
		w.addFile(1, "g", 101)
		tb := w.table(100)
		f, g := w.lookup(tb, Root, "f"), w.lookup(tb, Root, "g")
		if !tb.Mark(f, Opened) || tb.Mark(f+1<<32, Opened) || tb.Mark(0, Opened) || tb.Mark(1<<31, Refused) {
			t.Error("marks are set where there is no file, or not where there is one")
		}
		n, err := tb.Get(f)
		if err != nil {
			t.Fatal(err)
		}
		n.Mark(Refused)
		n.Mark(1 << 30) // is no mark
		if n.Marks() != Opened|Refused || tb.Marks(f) != Opened|Refused || tb.Marks(g) != 0 || tb.Marks(f+1<<32) != 0 || tb.Marks(1<<31) != 0 {
			t.Errorf("marks %#x, %#x, of another file %#x", n.Marks(), tb.Marks(f), tb.Marks(g))
		}
		if n.Birth() != w.files[100].Birth {
			t.Errorf("birth %d", n.Birth())
		}
		n.Release()
		for range 4 {
			tb.Relieve(10)
		}
		if tb.FDs() != 0 || !slices.Equal(w.unpinned, []Identity{w.files[100]}) {
			t.Errorf("%d fds are left, the host was told of %v", tb.FDs(), w.unpinned)
		}
		if tb.Marks(f) != Opened|Refused {
			t.Errorf("marks %#x after eviction", tb.Marks(f))
		}
		w.unpinned = nil
		for _, id := range []ID{f, g} {
			n, err := tb.Get(id) // has an fd again
			if err != nil {
				t.Fatal(err)
			}
			n.Release()
			tb.Forget(id, 1)
		}
		if !slices.Equal(w.unpinned, []Identity{w.files[100]}) {
			t.Errorf("at FORGET the host was told of %v", w.unpinned)
		}
		again := w.lookup(tb, Root, "f")
		if tb.Marks(again) != 0 || tb.Marks(f) != 0 {
			t.Errorf("marks %#x of a file that was forgotten", tb.Marks(again))
		}
		tb.Mark(again, Opened)
		w.unpinned = nil
		tb.Reset()
		if !slices.Equal(w.unpinned, []Identity{w.files[100]}) {
			t.Errorf("at a reset the host was told of %v", w.unpinned)
		}
		tb.Mark(Root, Opened|Refused) // a share can be a file
		if tb.Reset(); tb.Marks(Root) != Opened {
			t.Errorf("marks %#x of the root after a reset", tb.Marks(Root))
		}
		w.unpinned = nil
		tb.Close()
		if !slices.Equal(w.unpinned, []Identity{w.files[1]}) {
			t.Errorf("at the end the host was told of %v", w.unpinned)
		}
	})
}
