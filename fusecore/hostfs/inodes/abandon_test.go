// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestRoomForReplaced: a file that is replaced all the time does not take all fds, and what was opened stays.
func TestRoomForReplaced(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		const most = 20
		w.gone = map[uint64]bool{}
		w.addFile(1, "opened", 10)
		tb := heapTable(w, Options{MaxInodes: 4096, Budget: 4, MaxFDs: most}, w.files[1], w.openIno(1))
		opened := w.lookup(tb, Root, "opened")
		tb.Mark(opened, Opened)
		w.gone[10] = true
		var ids []ID
		for n := uint64(11); n < 11+10*most; n++ {
			w.addFile(1, "replaced", n)
			w.gone[n] = true // just now
			if id := w.lookup(tb, Root, "replaced"); id != 0 {
				ids = append(ids, id)
			}
			if tb.FDs() > most {
				t.Fatalf("%d fds", tb.FDs())
			}
		}
		n, err := tb.Get(opened)
		if err != nil {
			t.Fatalf("a removed file that was opened: %v", err)
		}
		w.check(n.FD(), 10)
		n.Release()
		if _, err := tb.Get(ids[0]); err != ErrStale {
			t.Errorf("a removed file that was only looked at: %v", err)
		}
		for _, id := range append(ids, opened) {
			tb.Forget(id, 1)
		}
		if tb.Len() != 1 || w.open() != 1 || tb.FDs() != 0 {
			t.Errorf("%d records, %d and %d fds are left", tb.Len(), tb.FDs(), w.open())
		}
	})
}

// TestNoRoom: files that were opened, and directories, keep their fds; a new file has to wait for one.
func TestNoRoom(t *testing.T) {
	modes(t, func(t *testing.T, w *world) {
		const most = 8
		w.gone = map[uint64]bool{}
		tb := heapTable(w, Options{MaxInodes: 4096, Budget: 4, MaxFDs: most}, w.files[1], w.openIno(1))
		var ids []ID
		for n := uint64(10); n < 10+most; n++ {
			if n%2 == 0 {
				w.addDir(1, "name", n)
			} else {
				w.addFile(1, "name", n)
			}
			w.gone[n] = true
			id := w.lookup(tb, Root, "name")
			if n%2 != 0 {
				tb.Mark(id, Opened)
			}
			ids = append(ids, id)
		}
		if !tb.Full() {
			t.Error("there is room")
		}
		w.addFile(1, "name", 100)
		fd := w.openIno(100)
		if _, err := tb.Insert(w.files[100], fd, Node{}, ""); err != unix.ENFILE {
			t.Errorf("one file too many: %v", err)
		}
		tb.Forget(ids[0], 1)
		if tb.Full() || w.lookup(tb, Root, "name") == 0 {
			t.Error("there is no room after a FORGET")
		}
	})
}
