// SPDX-License-Identifier: Apache-2.0

package inodes

// nameRef is a name in the arena and the directory that counts it as a child; the zero one is none.
type nameRef struct {
	form   form
	parent ID
	ref    uint32
}

// newName stores a name in a pinned directory. The zero nameRef if name is empty, there is no room, or the
// directory is being forgotten: the file's fd will stay open then.
func (t *Table) newName(parent Node, name string) nameRef {
	if name == "" {
		return nameRef{}
	}
	ref := put(&t.arena, name)
	if ref == 0 {
		return nameRef{}
	}
	s, _ := t.shardOf(parent.slot)
	r := &t.records[parent.slot]
	s.mu.Lock()
	alive := r.ctl.Load()&bitLive != 0
	if alive {
		r.kids++
	}
	s.mu.Unlock()
	if !alive {
		t.arena.drop(ref)
		return nameRef{}
	}
	return nameRef{form: formName, parent: parent.ID(), ref: ref}
}

// dropName undoes newName. It takes shard locks.
func (t *Table) dropName(n nameRef) {
	t.arena.drop(n.ref)
	if n.form == formName {
		t.unpin(t.dropChild(n.parent))
	}
}

// swapName gives the record n and returns what it had. Its shard is locked.
func (r *record) swapName(n nameRef) nameRef {
	old := nameRef{form: r.form, parent: r.parent, ref: r.ref}
	r.form, r.parent, r.ref = n.form, n.parent, n.ref
	return old
}

// Hold prepares a change of a name that may be all that a record is reopened by: the record of
// file i, if there is one, gets fd, unless it has one, and if it is known by that name in parent,
// it is not any more, so that it keeps its fd. Takes fd over. It tells whether there is such a record.
func (t *Table) Hold(i Identity, fd int, parent Node, name string) bool {
	h := t.hash(i)
	s := t.shard(h)
	s.mu.Lock()
	slot := t.find(s, h, i, fd)
	var old nameRef
	if slot != 0 {
		if t.warm(slot, fd) {
			fd = -1
		}
		r := &t.records[slot]
		if r.form == formName && r.parent == parent.ID() && string(t.arena.get(r.ref)) == name {
			old = r.swapName(nameRef{})
		}
	}
	s.mu.Unlock()
	t.dropName(old)
	if fd >= 0 {
		t.host.Close(fd)
	}
	return slot != 0
}

// Rename tells that file i, held before, is now called name in the pinned directory parent.
// Between Hold and Rename nobody looks up the names that change, as a guest's kernel, which locks
// the directories, sees to; who does nevertheless may find the file stale.
func (t *Table) Rename(i Identity, parent Node, name string) {
	n := t.newName(parent, name)
	if n.ref == 0 {
		return
	}
	h := t.hash(i)
	s := t.shard(h)
	s.mu.Lock()
	if slot := s.find(h, i); slot != 0 && t.records[slot].form != formHandle {
		n = t.records[slot].swapName(n)
		t.clock.unstick(slot)
	}
	s.mu.Unlock()
	t.dropName(n)
}
