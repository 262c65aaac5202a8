// SPDX-License-Identifier: Apache-2.0

package inodes

import "sync"

// Host does a table's system calls. Calls come from many goroutines; none may use the table.
type Host interface {
	// Freeze prepares the closing of fd, the O_PATH fd of the file c, and tells whether the file
	// can be opened again, and its birth as it is now. It appends the file's handle (1 to 255 bytes)
	// to buf, or, for a file with a name that has none, checks that c.Name in directory parent
	// (-1: it cannot be reached) is that file. It must refuse a file that ends with its last fd.
	Freeze(fd int, c Cold, parent int, buf []byte) (handle []byte, birth int64, ok bool)
	// Thaw opens the file c, by name in directory parent or by handle, and checks that it is
	// that file. ErrStale if it is gone. The table owns the fd.
	Thaw(c Cold, parent int) (fd int, err error)
	// Match tells whether the file that fd refers to has the handle.
	Match(fd int, handle []byte) bool
	// Unpin is told that the table is about to close the fd that it has of a file with the mark
	// Opened: nothing of the table's keeps the inode from being reused from then on.
	Unpin(i Identity)
	// Close closes an fd that the table owns.
	Close(fd int)
}

// Cold is a file that is known by name, or, if that is empty, by handle.
type Cold struct {
	Identity
	// Forgotten: the guest knows the file no more, and has removed no name of it. If it is gone all
	// the same, nothing is lost with its fd.
	Forgotten bool
	Name      []byte // valid during the call, as is Handle
	Handle    []byte
}

// coldBuf holds a copy of a record's name or handle, and a new handle, during Freeze and Thaw.
type coldBuf struct {
	blob [blobMax]byte
	new  [blobMax]byte
}

var coldBufs = sync.Pool{New: func() any { return new(coldBuf) }}

// coldRecord is a copy of what a record is reopened by.
type coldRecord struct {
	Cold
	form   form
	parent ID
	ref    uint32
}

// cold copies what a pinned record is reopened by into b.
func (t *Table) cold(slot uint32, b *coldBuf) (c coldRecord) {
	r := &t.records[slot]
	s, _ := t.shardOf(slot)
	s.mu.Lock()
	c.Identity, c.form, c.parent, c.ref = r.identity(), r.form, r.parent, r.ref
	c.Birth = r.birth
	c.Forgotten = r.nlookup == 0 && r.kids == 0 && r.ctl.Load()&bitCut == 0
	blob := b.blob[:copy(b.blob[:], t.arena.get(r.ref))]
	s.mu.Unlock()
	switch c.form {
	case formName:
		c.Name = blob
	case formHandle:
		c.Handle = blob
	}
	return c
}

// reopen gets a pinned record an fd, unless somebody else is first.
func (t *Table) reopen(slot uint32, depth int) (int32, error) {
	fd, err := t.thaw(slot, depth)
	s, _ := t.shardOf(slot)
	s.mu.Lock()
	kept := err == nil && t.warm(slot, fd)
	r := &t.records[slot]
	if err != nil && r.ctl.Load()&bitFD != 0 {
		err, fd = nil, -1 // it was held meanwhile, and its name has changed
	}
	got := r.fd
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if !kept && fd >= 0 {
		t.host.Close(fd)
	}
	return got, nil
}

// thaw opens the file of a pinned record.
func (t *Table) thaw(slot uint32, depth int) (int, error) {
	b := coldBufs.Get().(*coldBuf)
	defer coldBufs.Put(b)
	c := t.cold(slot, b)
	switch c.form {
	case formNone:
		return -1, ErrStale // it has an fd by now
	case formHandle:
		return t.host.Thaw(c.Cold, -1)
	}
	dir, _, err := t.get(c.parent, depth+1)
	if err != nil {
		return -1, err
	}
	defer dir.Release()
	return t.host.Thaw(c.Cold, dir.FD())
}

// shrink gives fds up until the budget is kept, within reason: the next call goes on.
func (t *Table) shrink() {
	for range 4 {
		slot := t.clock.victim(false)
		if slot == 0 {
			return
		}
		t.evict(slot)
		t.unpin(slot)
	}
}

// Relieve gives up to n fds up, budget or not, and returns how many: for a process that has
// run out of them.
func (t *Table) Relieve(n int) (freed int) {
	for range n {
		slot := t.clock.victim(true)
		if slot == 0 {
			break
		}
		if t.evict(slot) {
			freed++
		}
		t.unpin(slot)
	}
	return freed
}

// evict closes the fd of a record that the caller alone has pinned, if the file can be opened
// again. A record that gets another user meanwhile keeps it.
func (t *Table) evict(slot uint32) bool {
	b := coldBufs.Get().(*coldBuf)
	defer coldBufs.Put(b)
	c := t.cold(slot, b)
	var dir Node
	if c.form == formName {
		dir, _, _ = t.get(c.parent, 0)
	}
	r := &t.records[slot]
	fd := int(r.fd)
	handle, birth, ok := t.host.Freeze(fd, c.Cold, dir.FD(), b.new[:0])
	dir.Release()
	if !ok {
		t.stick(slot, c)
		return false
	}
	n, old := nameRef{c.form, c.parent, c.ref}, nameRef{}
	if c.form == formNone || len(handle) > 0 {
		n, old = nameRef{form: formHandle, ref: put(&t.arena, handle)}, n
		if n.ref == 0 {
			return false
		}
	}
	if !t.chill(slot, c, n, birth) {
		if n.ref != c.ref {
			t.arena.drop(n.ref)
		}
		return false
	}
	t.dropName(old)
	t.unpinInode(slot, c.Identity)
	t.host.Close(fd)
	return true
}

// chill takes the fd away from a record that is still what c says, has one pin, the caller's, and
// was not used since it was chosen: a name that went and came back may be wrong by now.
// From now on n and birth are what it is known by.
func (t *Table) chill(slot uint32, c coldRecord, n nameRef, birth int64) bool {
	r := &t.records[slot]
	s, _ := t.shardOf(slot)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.isAs(c) || c.Forgotten && (r.nlookup != 0 || r.ctl.Load()&bitCut != 0) {
		return false
	}
	v := r.ctl.Load()
	if v&pinMask != 1 || v&bitUsed != 0 || !r.ctl.CompareAndSwap(v, v&^uint64(bitFD)) {
		return false
	}
	r.swapName(n)
	r.birth = birth
	t.clock.remove(slot)
	return true
}

// stick leaves a record whose fd cannot be given up out of the search until it gets a name.
func (t *Table) stick(slot uint32, c coldRecord) {
	s, _ := t.shardOf(slot)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := &t.records[slot]; r.isAs(c) && !r.stuck {
		t.clock.stick(slot)
	}
}

// isAs tells whether the record is reopened as when c was copied. Its shard is locked.
func (r *record) isAs(c coldRecord) bool {
	return r.form == c.form && r.ref == c.ref && r.parent == c.parent
}
