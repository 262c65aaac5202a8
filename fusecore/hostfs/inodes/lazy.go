// SPDX-License-Identifier: Apache-2.0

package inodes

// Most files that a listing brings are never used. So a file that a statx of its name has shown need not be
// opened for its record, which is reopened by that name once it is used or looked up by itself. Until then the guest
// has nothing of the file but its attributes: no data and no lock can be mistaken for those of another file that
// has got its inode number, and even its birth time, meanwhile.

// InsertUnopened is Insert for a file, not a directory, that has a birth time and was found as name in the
// pinned directory parent, but not opened. Not ok: this takes an fd, for Insert.
func (t *Table) InsertUnopened(i Identity, parent Node, name string) (id ID, ok bool, err error) {
	h := t.hash(i)
	s := t.shard(h)
	s.mu.Lock()
	slot, ok := t.findUnopened(s, h, i)
	if ok && slot != 0 && t.called(slot, parent, name) {
		t.counted(slot)
		id = t.records[slot].id(slot)
		s.mu.Unlock()
		return id, true, nil
	}
	s.mu.Unlock()
	if !ok {
		return 0, false, nil
	}
	n := t.newName(parent, name)
	if n.ref == 0 {
		return 0, false, nil
	}
	s.mu.Lock()
	id, n, ok, err = t.enterUnopened(s, h, i, n)
	s.mu.Unlock()
	t.dropName(n)
	return id, ok, err
}

// enterUnopened is InsertUnopened once the name is stored. It returns the name that is to be dropped. s is locked.
func (t *Table) enterUnopened(s *shard, h uint64, i Identity, n nameRef) (ID, nameRef, bool, error) {
	slot, ok := t.findUnopened(s, h, i)
	switch {
	case !ok, slot != 0 && t.records[slot].ctl.Load()&bitFD == 0 && !t.sameName(slot, n):
		return 0, n, false, nil
	case slot == 0:
		var err error
		if slot, err = t.slots.take(); err != nil {
			return 0, n, true, err
		}
		r := &t.records[slot]
		r.set(i, -1)
		n = r.swapName(n)
		t.enroll(s, h, slot, 0)
	default:
		n = t.records[slot].takeName(n)
	}
	t.counted(slot)
	return t.records[slot].id(slot), n, true, nil
}

// findUnopened returns the slot of the file's record, or 0. Not ok: without an fd it cannot be told whether it is
// that file's, as the name may have been looked at before the file was removed, and the record be of the next one
// with its number. s is locked.
func (t *Table) findUnopened(s *shard, h uint64, i Identity) (slot uint32, ok bool) {
	if slot = s.find(h, i); slot == 0 {
		return 0, true
	}
	r := &t.records[slot]
	named := r.form == formName && r.ctl.Load()&bitFD == 0
	same := r.typ == i.Type && r.birth == i.Birth
	if same && (named || r.ctl.Load()&bitFD != 0) {
		return slot, true
	}
	return 0, false
}

// sameName tells whether the record, which has no fd, is reopened by n. Another name may be the older one: the
// file may have been renamed since n was looked at. Its shard is locked.
func (t *Table) sameName(slot uint32, n nameRef) bool {
	r := &t.records[slot]
	return r.form == n.form && r.parent == n.parent && string(t.arena.get(r.ref)) == string(t.arena.get(n.ref))
}

// called tells whether the record is reopened by name in parent. Its shard is locked.
func (t *Table) called(slot uint32, parent Node, name string) bool {
	r := &t.records[slot]
	return r.form == formHandle || r.form == formName && r.parent == parent.ID() && string(t.arena.get(r.ref)) == name
}

// Unopened tells whether name in the pinned directory dir is all that leads to a file that is known. It looks
// where Note has put it, and does no system calls; what it misses, the guest has to look up again.
func (t *Table) Unopened(dir Node, name string) bool {
	slot := t.hints.cell(dir, name).Load()
	if slot == 0 || !t.pin(t.records[slot].id(slot)) {
		return false
	}
	defer t.unpin(slot)
	s, _ := t.shardOf(slot)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &t.records[slot]
	return r.ctl.Load()&bitFD == 0 && r.form == formName && t.called(slot, dir, name)
}
