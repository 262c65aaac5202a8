// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"testing"
)

// TestAttic: the last files that were forgotten can be recalled, older ones cannot, and all that
// they hold meanwhile is their records.
func TestAttic(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		const files, keep = 10, 4
		for f := range files {
			w.addFile(1, fileName(f), uint64(100+f))
		}
		tb := w.table(100)
		tb.Keep(keep)
		ids := make([]ID, files)
		for f := range ids {
			ids[f] = w.lookup(tb, Root, fileName(f))
		}
		for _, id := range ids {
			tb.Forget(id, 1)
		}
		if tb.FDs() != 0 || tb.Len() != 1+keep {
			t.Errorf("%d fds, %d records", tb.FDs(), tb.Len())
		}
		for f, id := range ids {
			if n, err := tb.Get(id); err != ErrStale {
				t.Errorf("file %d is found after it was forgotten: %v", f, err)
				n.Release()
			}
			n, err := tb.Recall(id)
			if kept := f >= files-keep; kept != (err == nil) {
				t.Errorf("file %d: %v, kept: %v", f, err, kept)
			}
			if err == nil {
				w.check(n.FD(), uint64(100+f))
				n.Release()
			}
		}

		// Looked up again it has its old id, and is forgotten as any other.
		last := files - 1
		if id := w.lookup(tb, Root, fileName(last)); id != ids[last] {
			t.Errorf("id %#x, was %#x", id, ids[last])
		}
		n, err := tb.Get(ids[last])
		if err != nil {
			t.Errorf("looked up again: %v", err)
		}
		n.Release()
		tb.Forget(ids[last], 1)
		if _, err := tb.Get(ids[last]); err != ErrStale {
			t.Errorf("forgotten again: %v", err)
		}
		tb.Keep(0)
		if tb.Len() != 1 || w.open() != 1 {
			t.Errorf("%d records, %d fds are left", tb.Len(), w.open())
		}
	})
}

// TestAtticReset: a reset leaves nothing behind, and ids from before it mean nothing after.
func TestAtticReset(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.addFile(1, "f", 100)
		tb := w.table(100)
		tb.Keep(2)
		old := w.lookup(tb, Root, "f")
		tb.Forget(old, 1)
		tb.Reset()
		if _, err := tb.Recall(old); err != ErrStale {
			t.Errorf("recalled after a reset: %v", err)
		}
		for range 3 { // the old entry leaves the ring
			id := w.lookup(tb, Root, "f")
			if id == old {
				t.Error("an id from before the reset was used again")
			}
			tb.Forget(id, 1)
		}
		if tb.Len() != 2 || tb.FDs() != 0 {
			t.Errorf("%d records, %d fds", tb.Len(), tb.FDs())
		}
	})
}

// TestAtticRemoved: a file that ends with its last fd is not kept, also if it was kept before.
func TestAtticRemoved(t *testing.T) {
	for _, before := range []bool{false, true} {
		w := newWorld(t, true)
		w.addFile(1, "f", 100)
		tb := w.table(100)
		tb.Keep(2)
		id := w.lookup(tb, Root, "f")
		if before {
			tb.Forget(id, 1)
			w.lookup(tb, Root, "f")
		}
		dir, err := tb.Get(Root)
		if err != nil {
			t.Fatal(err)
		}
		held := tb.Hold(w.files[100], w.openIno(100))
		delete(w.dirs[1], "f")
		held.Unnamed(dir, "f")
		held.Let()
		tb.Forget(id, 1)
		if _, err := tb.Recall(id); err != ErrStale || tb.Len() != 1 || w.open() != 1 {
			t.Errorf("kept before %v: %v, %d records, %d fds", before, err, tb.Len(), w.open())
		}
		dir.Release()
	}
}
