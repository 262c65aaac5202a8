// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"errors"
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

// modes runs a test with files that are reopened by handle and by name.
func modes(t *testing.T, f func(t *testing.T, w *world)) {
	t.Run("handle", func(t *testing.T) { f(t, newWorld(t, false)) })
	t.Run("name", func(t *testing.T) { f(t, newWorld(t, true)) })
}

func TestCounts(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.addFile(1, "a", 10)
		tb := w.table(100)
		id := w.lookup(tb, Root, "a")
		if again := w.lookup(tb, Root, "a"); again != id {
			t.Fatalf("two ids for a file: %d, %d", id, again)
		}
		tb.Forget(id, 1)
		n, err := tb.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		tb.Forget(id, math.MaxUint64)
		w.check(n.FD(), 10) // in use: must not be closed
		if _, err := tb.Get(id); err != ErrStale {
			t.Errorf("forgotten file: %v", err)
		}
		if got := tb.Len(); got != 2 {
			t.Errorf("%d records with one in use", got)
		}
		n.Release()
		if tb.Len() != 1 || w.open() != 1 {
			t.Errorf("%d records, %d fds are left", tb.Len(), w.open())
		}
		next := w.lookup(tb, Root, "a")
		if next == id || next.slot() != id.slot() || next.generation() != id.generation()+1 {
			t.Errorf("slot was used again as %#x after %#x", next, id)
		}
	})
}

func TestEviction(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		const files, budget = 300, 8
		w.addDir(1, "d", 2)
		tb := w.table(budget)
		dir := w.lookup(tb, Root, "d")
		ids := make([]ID, files)
		for i := range ids {
			w.addFile(2, fileName(i), uint64(100+i))
			ids[i] = w.lookup(tb, dir, fileName(i))
		}
		for i, id := range ids {
			n, err := tb.Get(id)
			if err != nil {
				t.Fatalf("file %d: %v", i, err)
			}
			w.check(n.FD(), uint64(100+i))
			n.Release()
		}
		// Files that were all just used take a few more turns.
		if got := tb.FDs(); got > 2*budget {
			t.Errorf("%d fds with a budget of %d", got, budget)
		}
		tb.Forget(dir, 1) // the files still need it to be reopened by name
		for i, id := range ids {
			n, err := tb.Get(id)
			if err != nil {
				t.Fatalf("file %d without its directory: %v", i, err)
			}
			n.Release()
			tb.Forget(id, 1)
		}
		if tb.Len() != 1 || w.open() != 1 {
			t.Errorf("%d records, %d fds are left", tb.Len(), w.open())
		}
	})
}

// TestRelieveAllUsed: a process without fds gets some, however many records were just used.
func TestRelieveAllUsed(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		const files = 10 * patience
		tb := w.table(2 * files)
		for i := range files {
			w.addFile(1, fileName(i), uint64(100+i))
			n, err := tb.Get(w.lookup(tb, Root, fileName(i)))
			if err != nil {
				t.Fatal(err)
			}
			n.Release()
		}
		if got := tb.Relieve(5); got != 5 || tb.FDs() != files-5 {
			t.Errorf("%d given up, %d of %d are left", got, tb.FDs(), files)
		}
	})
}

// TestNumberReused: an inode number that another file got while its record had no fd.
func TestNumberReused(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.addFile(1, "a", 10)
		tb := w.table(100)
		old := w.lookup(tb, Root, "a")
		if tb.Relieve(1) != 1 {
			t.Fatal("nothing was evicted")
		}
		w.add(1, "a", 10, unix.S_IFREG, 77) // another birth
		if _, err := tb.Get(old); err != ErrStale {
			t.Errorf("the old file: %v", err)
		}
		id := w.lookup(tb, Root, "a")
		if id == old {
			t.Fatal("the new file has the old one's id")
		}
		n, err := tb.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		n.Release()
		tb.Forget(old, 1)
		tb.Forget(id, 1)
		if tb.Len() != 1 || w.open() != 1 {
			t.Errorf("%d records, %d fds are left", tb.Len(), w.open())
		}
	})
}

// TestRenamedWhileEvicted: a file moves after eviction has checked its name, and a lookup that was
// under way brings the old name back. The name is as it was, but wrong.
func TestRenamedWhileEvicted(t *testing.T) {
	w := newWorld(t, true)
	w.addDir(1, "d", 2)
	w.addFile(1, "a", 10)
	tb := w.table(100)
	id, d := w.lookup(tb, Root, "a"), w.lookup(tb, Root, "d")
	root, err := tb.Get(Root)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Release()
	dir, err := tb.Get(d)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Release()
	w.frozen = func() {
		late, i := w.openAt(root.FD(), "a")
		n := tb.Hold(swap(w.openAt(root.FD(), "a")))
		w.rename(1, "a", 2, "a")
		n.Renamed(dir, "a")
		n.Let()
		if again, err := tb.Insert(i, late, root, "a"); again != id || err != nil {
			t.Errorf("a lookup says %d, %v, not %d", again, err, id)
		}
	}
	tb.Relieve(1)
	w.frozen = nil
	for range 4 {
		tb.Relieve(10)
	}
	n, err := tb.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	w.check(n.FD(), 10)
	n.Release()
}

// TestBirthChanges: a file whose birth time changed while it had an fd, as overlayfs does it at
// copy-up, gives the fd up and is found again, by its node and by a lookup.
func TestBirthChanges(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		w.addFile(1, "a", 10)
		tb := w.table(100)
		id := w.lookup(tb, Root, "a")
		w.add(1, "a", 10, unix.S_IFREG, 77)
		if tb.Relieve(1) != 1 {
			t.Fatal("the fd is kept")
		}
		n, err := tb.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		w.check(n.FD(), 10)
		n.Release()
		for tb.FDs() > 0 {
			tb.Relieve(1)
		}
		if again := w.lookup(tb, Root, "a"); again != id {
			t.Errorf("a lookup says %d, not %d", again, id)
		}
	})
}

// TestHold: a name that goes away leaves its file within reach.
func TestHold(t *testing.T) {
	w := newWorld(t, true)
	w.addFile(1, "a", 10)
	w.addDir(1, "d", 2)
	tb := w.table(100)
	id, dir := w.lookup(tb, Root, "a"), w.lookup(tb, Root, "d")
	tb.Relieve(1)
	tb.Relieve(1)
	root, err := tb.Get(Root)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Release()
	hold := func(name string) Node {
		n := tb.Hold(swap(w.openAt(root.FD(), name)))
		if n == (Node{}) {
			t.Errorf("%s is not held", name)
		}
		tb.Relieve(10)
		w.check(n.FD(), n.Identity().Ino)
		return n
	}
	n := hold("a")
	w.mu.Lock()
	delete(w.dirs[1], "a")
	w.mu.Unlock()
	n.Unnamed(root, "a")
	n.Let()
	for range 3 {
		tb.Relieve(10)
	}
	if n, err = tb.Get(id); err != nil {
		t.Fatalf("unlinked file: %v", err)
	}
	n.Release()

	w.addFile(1, "b", 11)
	b := w.lookup(tb, Root, "b")
	n = hold("b")
	d, err := tb.Get(dir)
	if err != nil {
		t.Fatal(err)
	}
	w.rename(1, "b", 2, "c")
	n.Renamed(d, "c")
	n.Unnamed(root, "b") // not its name any more
	n.Let()
	d.Release()
	for range 3 {
		tb.Relieve(10)
	}
	if tb.FDs() != 1 { // the unlinked one's
		t.Errorf("%d fds are left", tb.FDs())
	}
	if n, err = tb.Get(b); err != nil {
		t.Fatalf("renamed file: %v", err)
	}
	w.check(n.FD(), 11)
	n.Release()
	w.addFile(1, "unknown", 12)
	hold("unknown").Let()
	Node{}.Renamed(root, "x")
	Node{}.Unnamed(root, "x")
	Node{}.Let()
	for _, id := range []ID{id, dir, b} {
		tb.Forget(id, 1)
	}
	if tb.Len() != 1 || w.open() != 1 {
		t.Errorf("%d records, %d fds are left", tb.Len(), w.open())
	}
}

// TestHoldUnknown: a file that nobody knew when its name began to change, and somebody looked up
// before it had changed.
func TestHoldUnknown(t *testing.T) {
	w := newWorld(t, true)
	w.addFile(1, "a", 10)
	tb := w.table(100)
	root, err := tb.Get(Root)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Release()
	n := tb.Hold(swap(w.openAt(root.FD(), "a")))
	id := w.lookup(tb, Root, "a")
	for range 4 {
		tb.Relieve(10)
	}
	w.rename(1, "a", 1, "b")
	n.Renamed(root, "b")
	n.Let()
	for range 4 {
		tb.Relieve(10)
	}
	if n, err = tb.Get(id); err != nil {
		t.Fatal(err)
	}
	w.check(n.FD(), 10)
	n.Release()
	tb.Forget(id, 1)
	if tb.Len() != 1 || w.open() != 1 {
		t.Errorf("%d records, %d fds are left", tb.Len(), w.open())
	}
}

func swap(fd int, i Identity) (Identity, int) { return i, fd }

func TestFull(t *testing.T) {
	w := newWorld(t, true)
	tb := heapTable(w, Options{MaxInodes: 3, Budget: 10}, w.files[1], w.openIno(1))
	root, err := tb.Get(Root)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Release()
	for i := range 5 {
		w.addFile(1, fileName(i), uint64(10+i))
		fd, id := w.openAt(root.FD(), fileName(i))
		_, err := tb.Insert(id, fd, root, fileName(i))
		if full := i >= 3; full != errors.Is(err, unix.ENFILE) || !full && err != nil {
			t.Errorf("file %d of 3: %v", i, err)
		}
	}
	if w.open() != 4 {
		t.Errorf("%d fds for root and 3 files", w.open())
	}
	tb.Reset()
	if tb.Len() != 1 || w.open() != 1 {
		t.Errorf("%d records, %d fds after a reset", tb.Len(), w.open())
	}
}

// TestLastGeneration: a slot whose generations are used up is not used again.
func TestLastGeneration(t *testing.T) {
	w := newWorld(t, false)
	w.addFile(1, "a", 10)
	tb := w.table(10)
	id := w.lookup(tb, Root, "a")
	ctl := &tb.records[id.slot()].ctl
	ctl.Or(genMask)
	tb.Forget(ID(genMask)|id, 1)
	if next := w.lookup(tb, Root, "a"); next.slot() == id.slot() {
		t.Errorf("slot %d was used beyond its last generation", id.slot())
	}
}

// TestMapped runs the table in its real memory, and gives it back.
func TestMapped(t *testing.T) {
	w := newWorld(t, true)
	tb, err := New(w, Options{Budget: 4}, w.files[1], w.openIno(1))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		w.addFile(1, fileName(i), uint64(10+i))
		w.lookup(tb, Root, fileName(i))
	}
	if m := tb.Memory(); m < 100*recordSize || m > 100*(recordSize+32)+4096 {
		t.Errorf("%d bytes for 100 files", m)
	}
	tb.Close()
	if w.open() != 0 {
		t.Errorf("%d fds are left", w.open())
	}
}
