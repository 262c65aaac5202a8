// SPDX-License-Identifier: Apache-2.0

// Package inodes is the table of the files that a guest knows: which host file a node id means,
// how often the guest counts on it, and an O_PATH fd to reach it by, or what it takes to get one.
//
// A file is a record without pointers in memory of its own, which the garbage collector never
// scans and which can outlive a process. Records never move. A node id is a record's slot and the
// slot's generation, so an id that the guest should have forgotten is told from a living one.
// The index from a host file's identity to its record is rebuilt from the records at will.
//
// # Who owns what
//
//   - A record's control word (generation, life, pins) is atomic. Who has pinned a record may use
//     its fd and its identity, which do not change while it lives.
//   - References (the guest's count, children), name or handle, and the step from having an fd to
//     not having one belong to the lock of the index shard that the identity falls in.
//   - A record dies, under that lock, when nobody counts on it and the attic does not keep it; the
//     last pin to go frees it.
//
// Lock order: one shard, then one of arena, clock, slots. The attic's is held alone. No two
// shards at a time. A shard is
// never held over a system call but Host.Match.
package inodes

import (
	"fmt"
	"math"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ID is a FUSE node id: the generation of a slot in the upper half, the slot in the lower.
type ID uint64

// Root is the id of the share's root (FUSE_ROOT_ID of Linux linux/fuse.h).
const Root ID = 1

func (id ID) slot() uint32       { return uint32(id) }
func (id ID) generation() uint32 { return uint32(id >> 32) }

// Identity tells host files apart.
type Identity struct {
	Dev, Ino uint64
	Mnt      uint64 // mount id: the same file through another mount is another node
	Birth    int64  // nanoseconds since 1970, 0 if the file system does not say
	Type     uint32 // S_IFMT bits of the mode
}

// Options sizes a table.
type Options struct {
	MaxInodes uint32 // records at most; address space is reserved for all, memory is not. 0: 1<<26
	Budget    int    // fds that records may hold, beyond which the coldest are given up; at least 1
	// MaxFDs is how many they may hold in all, as some cannot be given up: those of removed files
	// without handles that were opened, and of directories. Insert fails beyond it. 0: any number.
	MaxFDs int
}

const defaultMaxInodes = 1 << 26

// Table is the table. It is safe for concurrent use.
type Table struct {
	host    Host
	records []record
	slots   slots
	arena   arena
	clock   clock
	attic   attic
	hints   hints
	shards  [shardCount]shard
	seed    uint64
	count   atomic.Int64  // living records
	keeps   atomic.Bool   // the attic has room
	hand    atomic.Uint32 // where abandon goes on
	unmap   func()
}

// New makes a table whose root has identity root and is reached by fd, an O_PATH fd that the
// table owns from now on, also when an error is returned. The root is never evicted or forgotten.
func New(host Host, o Options, root Identity, fd int) (*Table, error) {
	if o.MaxInodes == 0 {
		o.MaxInodes = defaultMaxInodes
	}
	t, err := mapTable(uint64(o.MaxInodes) + 2) // slot 0 is never used, slot 1 is the root
	if err != nil {
		host.Close(fd)
		return nil, fmt.Errorf("inode table: %w", err)
	}
	t.start(host, o, root, fd)
	return t, nil
}

// start makes an empty table of one whose memory is there.
func (t *Table) start(host Host, o Options, root Identity, fd int) {
	t.host = host
	budget := max(o.Budget, 1)
	if o.MaxFDs == 0 {
		o.MaxFDs = math.MaxInt
	}
	t.clock.init(t.records, budget, max(o.MaxFDs, budget))
	t.slots.init(t.records)
	for i := range t.shards {
		t.shards[i].init(t)
	}
	t.setRoot(root, fd)
}

func (t *Table) setRoot(root Identity, fd int) {
	slot, _ := t.slots.take() // the first one is 1
	r := &t.records[slot]
	r.set(root, fd)
	r.nlookup = math.MaxUint64
	h := t.hash(root)
	s := t.shard(h)
	s.mu.Lock()
	s.insert(h, slot)
	r.hashed = true
	s.mu.Unlock()
	r.ctl.Store(bitLive | bitFD | 1) // the pin is never released: the root cannot be evicted
	t.count.Add(1)
}

// Len returns the number of records, the root included.
func (t *Table) Len() int { return int(t.count.Load()) }

// FDs returns how many fds the records hold, not counting the root's.
func (t *Table) FDs() int { return t.clock.len() }

// Memory returns the bytes of the table's mappings that are in use. The index comes on top.
func (t *Table) Memory() int64 {
	return int64(t.slots.high())*recordSize + t.arena.used()
}

// Insert finds or makes the record of a file that a lookup came to, counts one lookup for it,
// and returns its id. It takes fd, an O_PATH fd of the file, over: kept if the record had none,
// closed otherwise and on error (ENFILE: there is no room for another record or fd).
//
// With a name the record can be reopened as that name in parent, which is pinned; without one
// only by a handle.
func (t *Table) Insert(i Identity, fd int, parent Node, name string) (ID, error) {
	t.room()
	n := t.newName(parent, name)
	h := t.hash(i)
	s := t.shard(h)

	s.mu.Lock()
	slot := t.find(s, h, i, fd)
	unused := -1
	if slot == 0 {
		var err error
		if slot, err = t.add(s, h, i, fd); err != nil {
			s.mu.Unlock()
			t.dropName(n)
			t.host.Close(fd)
			return 0, err
		}
	} else if !t.warm(slot, fd) {
		unused = fd
	}
	t.counted(slot)
	r := &t.records[slot]
	id := r.id(slot)
	if n.ref != 0 {
		n = r.takeName(n)
	}
	s.mu.Unlock()

	t.dropName(n)
	if unused >= 0 {
		t.host.Close(unused)
	}
	t.shrink()
	return id, nil
}

// relief is how many fds are tried to give up when there are as many as there may be.
const relief = 64

// Full tells whether Insert of a new file is likely to fail. It may give fds up.
func (t *Table) Full() bool {
	if t.Len() >= len(t.records)-1 {
		return true
	}
	return !t.room()
}

// add makes a new record, without a lookup yet. s is locked.
func (t *Table) add(s *shard, h uint64, i Identity, fd int) (uint32, error) {
	if t.clock.full() {
		return 0, unix.ENFILE
	}
	slot, err := t.slots.take()
	if err != nil {
		return 0, err
	}
	t.records[slot].set(i, fd)
	t.clock.add(slot)
	t.enroll(s, h, slot, bitFD)
	return slot, nil
}

// enroll brings the record of a slot that was just taken to life; bits are bitFD if it has an fd. s is locked.
func (t *Table) enroll(s *shard, h uint64, slot uint32, bits uint64) {
	r := &t.records[slot]
	s.insert(h, slot)
	r.hashed = true
	t.count.Add(1)
	r.ctl.Store(r.ctl.Load()&genMask | bitLive | bits)
}

// find returns the slot of the file's record, or 0. A record that has no fd does not keep its
// inode number from being used again for another file: such a one is taken out of the index
// (its id goes on to mean the old file, which is gone). s is locked.
func (t *Table) find(s *shard, h uint64, i Identity, fd int) uint32 {
	slot := s.find(h, i)
	if slot == 0 {
		return 0
	}
	r := &t.records[slot]
	if r.ctl.Load()&bitFD != 0 && r.typ == i.Type {
		return slot
	}
	if r.typ == i.Type && t.sameCold(r, i, fd) {
		return slot
	}
	s.remove(h, slot)
	r.hashed = false
	return 0
}

// sameCold tells whether a record without an fd still is the file that fd refers to.
func (t *Table) sameCold(r *record, i Identity, fd int) bool {
	if r.form != formHandle || r.nlookup == 0 && i.Birth != 0 && r.birth == i.Birth {
		return r.birth == i.Birth // a guest that has forgotten a file has nothing of it that could be mistaken
	}
	return t.host.Match(fd, t.arena.get(r.ref))
}

// warm gives the record fd if it has none. Its shard is locked.
func (t *Table) warm(slot uint32, fd int) bool {
	r := &t.records[slot]
	if r.ctl.Load()&bitFD != 0 {
		return false
	}
	r.fd = int32(fd)
	r.ctl.Or(bitFD)
	t.clock.add(slot)
	return true
}

// Forget takes n lookups off the guest's count. More than there are is taken as all; the root
// and unknown ids are left alone.
func (t *Table) Forget(id ID, n uint64) {
	if id == Root || !t.pin(id) {
		return
	}
	slot := id.slot()
	s, _ := t.shardOf(slot)
	s.mu.Lock()
	r := &t.records[slot]
	counted := r.nlookup != 0
	r.nlookup -= min(n, r.nlookup)
	if counted && r.nlookup == 0 && t.keeps.Load() {
		s.mu.Unlock()
		t.store(slot)
		s.mu.Lock()
	}
	t.settle(s, slot)
	s.mu.Unlock()
	t.unpin(slot)
}

// Reset forgets everything but the root. Records that are pinned live on for their users.
func (t *Table) Reset() {
	t.records[Root].ctl.And(^uint64(Refused)) // the root is forgotten in that alone
	for slot := uint32(Root) + 1; slot < t.slots.high(); slot++ {
		r := &t.records[slot]
		if c := r.ctl.Load(); c&bitLive == 0 || !t.pin(r.id(slot)) {
			continue
		}
		s, _ := t.shardOf(slot)
		s.mu.Lock()
		r.nlookup, r.kids, r.kept = 0, 0, false
		t.settle(s, slot)
		s.mu.Unlock()
		t.unpin(slot)
	}
}

// Close closes all fds and gives the memory back. Nothing may use the table any more.
func (t *Table) Close() {
	t.Reset()
	root := &t.records[Root]
	i := root.identity()
	i.Birth = root.birth
	t.unpinInode(uint32(Root), i)
	t.host.Close(int(root.fd))
	t.unmap()
}

// settle lets a record die that nobody counts on. s is its shard, locked; the caller has pinned
// the record and frees it by taking the pin off.
func (t *Table) settle(s *shard, slot uint32) {
	r := &t.records[slot]
	if r.nlookup != 0 || r.kids != 0 || r.kept {
		return
	}
	if r.hashed {
		s.remove(t.hash(r.identity()), slot)
		r.hashed = false
	}
	r.ctl.And(^uint64(bitLive))
}

// ErrStale is the error for an id that means no file any more, and for a file that is gone.
const ErrStale = unix.ESTALE
