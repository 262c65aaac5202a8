// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnopened: a file that was listed has no fd until it is used, and is the same file all along.
func TestUnopened(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.addFile(1, "a", 10)
		w.addFile(1, "b", 11)
		tb := w.table(100)
		a := w.list(tb, Root, "a")
		if a == 0 || tb.FDs() != 0 || w.open() != 1 {
			t.Fatalf("node %d, %d fds of records, %d in all", a, tb.FDs(), w.open())
		}
		if again := w.list(tb, Root, "a"); again != a {
			t.Errorf("listed again it is %#x, was %#x", again, a)
		}
		n, err := tb.Get(a)
		if err != nil {
			t.Fatal(err)
		}
		w.check(n.FD(), 10)
		n.Release()
		if again := w.list(tb, Root, "a"); again != a || tb.FDs() != 1 {
			t.Errorf("in use it is %#x with %d fds, was %#x", again, tb.FDs(), a)
		}
		for tb.FDs() > 0 {
			tb.Relieve(1)
		}
		if n, err = tb.Get(a); err != nil {
			t.Fatalf("after its fd was given up: %v", err)
		}
		w.check(n.FD(), 10)
		n.Release()
		b := w.list(tb, Root, "b")
		if id := w.lookup(tb, Root, "b"); id != b || tb.FDs() != 2 {
			t.Errorf("looked up it is %#x, listed %#x, %d fds", id, b, tb.FDs())
		}
		tb.Forget(a, 3)
		tb.Forget(b, 2)
		if tb.Len() != 1 || w.open() != 1 {
			t.Errorf("%d records, %d fds are left", tb.Len(), w.open())
		}
	})
}

// TestUnopenedGone: the name of a listed file that leads to another one now does not lead to that one by the old id.
func TestUnopenedGone(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.addFile(1, "a", 10)
		tb := w.table(100)
		old := w.list(tb, Root, "a")
		w.add(1, "a", 10, unix.S_IFREG, 99) // a new file with the old one's number
		if _, err := tb.Get(old); err != ErrStale {
			t.Errorf("a file that is gone: %v", err)
		}
		if got := w.list(tb, Root, "a"); got != 0 {
			t.Errorf("without an fd it cannot be told which of two files has the number now, and it is %#x", got)
		}
		id := w.lookup(tb, Root, "a")
		if id == old {
			t.Errorf("the new file is %#x, the old one %#x", id, old)
		}
		n, err := tb.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		w.check(n.FD(), 10)
		n.Release()
		tb.Forget(old, 1)
		tb.Forget(id, 1)
		if tb.Len() != 1 || w.open() != 1 {
			t.Errorf("%d records, %d fds are left", tb.Len(), w.open())
		}
	})
}

// TestUnopenedLate: a name that was looked at before the file was renamed is not what it is known by afterwards.
func TestUnopenedLate(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.addFile(1, "new", 10)
		tb := w.table(100)
		id := w.list(tb, Root, "new")
		w.addFile(1, "old", 10) // as it was, for whoever comes late
		if got := w.list(tb, Root, "old"); got != 0 {
			t.Errorf("by its older name it is %#x", got)
		}
		delete(w.dirs[1], "old")
		n, err := tb.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		w.check(n.FD(), 10)
		n.Release()
	})
}

// TestUnopenedByHandle: whether a file without an fd that is known by its handle is the one that a name shows, only
// an fd tells. While it has an fd no other file can have its number.
func TestUnopenedByHandle(t *testing.T) {
	w := newWorld(t, false)
	w.addFile(1, "a", 10)
	tb := w.table(100)
	id := w.lookup(tb, Root, "a")
	if got := w.list(tb, Root, "a"); got != id {
		t.Errorf("listed it is %#x, looked up %#x", got, id)
	}
	for tb.FDs() > 0 {
		tb.Relieve(1)
	}
	if got := w.list(tb, Root, "a"); got != 0 {
		t.Errorf("a file that is known by handle was taken for %#x unopened", got)
	}
	if got := w.lookup(tb, Root, "a"); got != id {
		t.Errorf("opened it is %#x, was %#x", got, id)
	}
}

// TestUnopenedNames: Unopened knows the name that a file is reached by, until it is opened.
func TestUnopenedNames(t *testing.T) {
	w := newWorld(t, false)
	w.addFile(1, "a", 10)
	tb := w.table(100)
	d, err := tb.Get(Root)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Release()
	w.note(tb, Root, "a", w.list(tb, Root, "a"))
	if !tb.Unopened(d, "a") || tb.Unopened(d, "b") {
		t.Errorf("a: %v, b: %v", tb.Unopened(d, "a"), tb.Unopened(d, "b"))
	}
	w.lookup(tb, Root, "a")
	if tb.Unopened(d, "a") {
		t.Error("a file with an fd counts as unopened")
	}
}
