// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// heapTable is a table in the Go heap, where the race detector sees what happens to it.
func heapTable(host Host, o Options, root Identity, fd int) *Table {
	t := &Table{records: make([]record, o.MaxInodes+2), seed: 1, unmap: func() {}}
	t.arena.init(make([]byte, 1<<22))
	t.hints.init(make([]atomic.Uint32, hintCells))
	t.start(host, o, root, fd)
	return t
}

// world is a host: directories with names of files, and fds. It fails the test on every use of
// an fd that is not open or not of the right file.
type world struct {
	t     *testing.T
	named bool

	mu    sync.Mutex
	files map[uint64]Identity
	dirs  map[uint64]map[string]uint64
	fds   map[int]uint64
	next  int
	gone  map[uint64]bool // files that were removed: they end with their last fd

	unpinned []Identity // in the order in which Unpin was told

	last   Cold   // of the last Freeze, without its bytes
	frozen func() // if not nil, called at the end of Freeze
}

func newWorld(t *testing.T, named bool) *world {
	w := &world{t: t, named: named, files: map[uint64]Identity{}, dirs: map[uint64]map[string]uint64{}, fds: map[int]uint64{}}
	w.addDir(0, "", 1)
	return w
}

func (w *world) addDir(dir uint64, name string, ino uint64) {
	w.dirs[ino] = map[string]uint64{}
	w.add(dir, name, ino, unix.S_IFDIR, int64(ino))
}

func (w *world) addFile(dir uint64, name string, ino uint64) {
	w.add(dir, name, ino, unix.S_IFREG, int64(ino))
}

func (w *world) add(dir uint64, name string, ino uint64, typ uint32, birth int64) {
	w.files[ino] = Identity{Dev: 7, Ino: ino, Mnt: 9, Birth: birth, Type: typ}
	if name != "" {
		w.dirs[dir][name] = ino
	}
}

// table makes a table on the world's root.
func (w *world) table(budget int) *Table {
	return heapTable(w, Options{MaxInodes: 4096, Budget: budget}, w.files[1], w.openIno(1))
}

func (w *world) openIno(ino uint64) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newFD(ino)
}

func (w *world) newFD(ino uint64) int {
	w.next++
	w.fds[w.next] = ino
	return w.next
}

func (w *world) inoOf(fd int) uint64 {
	ino, ok := w.fds[fd]
	if !ok {
		w.t.Errorf("fd %d is not open", fd)
	}
	return ino
}

// openAt opens a name; 0 if there is none.
func (w *world) openAt(dir int, name string) (int, Identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ino := w.dirs[w.inoOf(dir)][name]
	if ino == 0 {
		return 0, Identity{}
	}
	return w.newFD(ino), w.files[ino]
}

func (w *world) rename(from uint64, old string, to uint64, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirs[to][name] = w.dirs[from][old]
	delete(w.dirs[from], old)
}

func (w *world) open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.fds)
}

func (w *world) check(fd int, ino uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.inoOf(fd); got != ino {
		w.t.Errorf("fd %d is file %d, want %d", fd, got, ino)
	}
}

func (w *world) Freeze(fd int, c Cold, parent int, buf []byte) ([]byte, int64, bool) {
	if w.frozen != nil {
		defer w.frozen()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = c
	w.last.Name, w.last.Handle = nil, nil
	ino := w.inoOf(fd)
	birth := w.files[ino].Birth
	if c.Birth = birth; w.files[ino] != c.Identity {
		w.t.Errorf("freeze of %v, whose fd is file %d", c.Identity, ino)
	}
	if w.gone[ino] {
		return nil, birth, false
	}
	if len(c.Name) > 0 && w.named {
		return nil, birth, w.dirs[w.inoOf(parent)][string(c.Name)] == ino
	}
	if w.named {
		return nil, birth, false
	}
	return binary.NativeEndian.AppendUint64(buf, ino<<16|uint64(birth)), birth, true
}

func (w *world) Thaw(c Cold, parent int) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ino := c.Ino
	if len(c.Name) > 0 {
		ino = w.dirs[w.inoOf(parent)][string(c.Name)]
	} else if len(c.Handle) == 0 {
		w.t.Errorf("thaw of %v without name or handle", c.Identity)
	}
	if ino == 0 || w.gone[ino] || w.files[ino] != c.Identity {
		return 0, ErrStale
	}
	return w.newFD(ino), nil
}

func (w *world) Match(fd int, handle []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.files[w.inoOf(fd)]
	return binary.NativeEndian.Uint64(handle) == i.Ino<<16|uint64(i.Birth)
}

func (w *world) Unpin(i Identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unpinned = append(w.unpinned, i)
}

func (w *world) Close(fd int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inoOf(fd)
	delete(w.fds, fd)
}

// lookup is what LOOKUP does. 0 if there is no such name.
func (w *world) lookup(t *Table, dir ID, name string) ID {
	d, err := t.Get(dir)
	if err != nil {
		w.t.Errorf("directory %d: %v", dir, err)
		return 0
	}
	defer d.Release()
	fd, i := w.openAt(d.FD(), name)
	if fd == 0 {
		return 0
	}
	if !w.named {
		name = ""
	}
	id, err := t.Insert(i, fd, d, name)
	if err != nil {
		w.t.Errorf("insert %v: %v", i, err)
	}
	return id
}

// list is what READDIRPLUS does with an entry of dir. 0 if there is no such name, or it takes an fd.
func (w *world) list(t *Table, dir ID, name string) ID {
	d, err := t.Get(dir)
	if err != nil {
		w.t.Errorf("directory %d: %v", dir, err)
		return 0
	}
	defer d.Release()
	w.mu.Lock()
	i, found := w.files[w.dirs[w.inoOf(d.FD())][name]]
	w.mu.Unlock()
	if !found {
		return 0
	}
	id, _, err := t.InsertUnopened(i, d, name)
	if err != nil {
		w.t.Errorf("insert %v: %v", i, err)
	}
	return id
}

// lookupKnown is what LOOKUP does first. 0: the name has to be opened.
func (w *world) lookupKnown(t *Table, dir ID, name string) ID {
	d, err := t.Get(dir)
	if err != nil {
		w.t.Errorf("directory %d: %v", dir, err)
		return 0
	}
	defer d.Release()
	n, ok := t.Expect(d, name)
	if !ok {
		return 0
	}
	defer n.Release()
	w.mu.Lock()
	i := w.files[w.dirs[w.inoOf(d.FD())][name]]
	w.mu.Unlock()
	if !w.named {
		name = ""
	}
	if !n.Is(i) || !n.Again(d, name) {
		return 0
	}
	w.check(n.FD(), i.Ino)
	return n.ID()
}

// note is what LOOKUP does last.
func (w *world) note(t *Table, dir ID, name string, id ID) {
	if d, err := t.Get(dir); err == nil {
		t.Note(d, name, id)
		d.Release()
	}
}

func fileName(i int) string { return fmt.Sprint("file", i) }
