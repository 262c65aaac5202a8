// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestKnownNames: a name that is known is looked up without an fd; what it leads to now is what counts.
func TestKnownNames(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.addFile(1, "a", 10)
		w.addFile(1, "b", 11)
		tb := w.table(100)
		if id := w.lookupKnown(tb, Root, "a"); id != 0 {
			t.Errorf("a name that nobody has looked up is file %d", id)
		}
		a, b := w.lookup(tb, Root, "a"), w.lookup(tb, Root, "b")
		w.note(tb, Root, "a", a)
		w.note(tb, Root, "b", b)
		fds := w.open()
		if id := w.lookupKnown(tb, Root, "a"); id != a || w.open() != fds {
			t.Errorf("node %d, want %d; %d fds, before %d", id, a, w.open(), fds)
		}
		tb.Forget(a, 1)
		if n, err := tb.Get(a); err != nil {
			t.Errorf("forgotten once, looked up twice: %v", err)
		} else {
			n.Release()
		}

		w.rename(1, "b", 1, "a") // a leads to b's file now
		if id := w.lookupKnown(tb, Root, "a"); id != 0 {
			t.Errorf("a replaced name leads to node %d", id)
		}
		w.note(tb, Root, "a", b) // as the guest's rename would
		if id := w.lookupKnown(tb, Root, "a"); w.named && id != 0 || !w.named && id != b {
			t.Errorf("a moved file is node %d, want %d", id, b)
		}
		tb.Forget(a, 1)
		w.note(tb, Root, "a", a)
		if id := w.lookupKnown(tb, Root, "a"); id != 0 {
			t.Errorf("a forgotten node comes back: %d", id)
		}
		tb.Close()
	})
}

// TestExpectInode: what has no fd is not expected, as its inode number may be another file's.
func TestExpectInode(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.addFile(1, "a", 10)
		tb := w.table(100)
		id := w.lookup(tb, Root, "a")
		i := Identity{Dev: 7, Ino: 10, Mnt: 9}
		n, ok := tb.ExpectInode(i)
		if !ok || n.ID() != id || !n.Is(w.files[10]) {
			t.Fatalf("node %d, %v", id, ok)
		}
		other := w.files[10]
		if other.Type = unix.S_IFIFO; n.Is(other) {
			t.Error("a fifo with the inode number of a file is the file")
		}
		n.Release()
		for what, i := range map[string]Identity{"number": {Dev: 7, Ino: 11, Mnt: 9}, "device": {Dev: 8, Ino: 10, Mnt: 9}, "mount": {Dev: 7, Ino: 10, Mnt: 8}} {
			if _, ok := tb.ExpectInode(i); ok {
				t.Errorf("another %s is expected", what)
			}
		}
		tb.Relieve(1)
		if _, ok := tb.ExpectInode(i); ok {
			t.Error("a file without fd is expected")
		}
		tb.Close()
	})
}

// TestForgottenFiles: whether a file is gone is asked at the end only if a name of it was removed, and
// nobody has looked it up meanwhile.
func TestForgottenFiles(t *testing.T) {
	w := newWorld(t, false)
	w.addFile(1, "a", 10)
	tb := w.table(100)
	tb.Keep(10)
	defer tb.Close()
	look := func() ID {
		id := w.lookup(tb, Root, "a")
		w.note(tb, Root, "a", id)
		return id
	}
	id := look()
	tb.Forget(id, 1)
	if !w.last.Forgotten {
		t.Error("a forgotten file is asked about")
	}
	if id = look(); id == 0 {
		t.Fatal("it is not found again")
	}
	d, err := tb.Get(Root)
	if err != nil {
		t.Fatal(err)
	}
	tb.Cut(d, "a")
	d.Release()
	tb.Forget(id, 1)
	if w.last.Forgotten {
		t.Error("a file whose name was removed is not asked about")
	}
	look()
	tb.Relieve(1)
	if w.last.Forgotten {
		t.Error("a file that the guest knows is not asked about")
	}
	id = look()
	w.frozen = func() { w.frozen = nil; look() }
	tb.Forget(id, 2)
	if tb.FDs() != 1 {
		t.Errorf("%d fds of a file that was looked up while it was given up", tb.FDs())
	}
	if n, err := tb.Get(id); err != nil || n.FD() < 0 {
		t.Errorf("it: %v", err)
	} else {
		n.Release()
	}
}
