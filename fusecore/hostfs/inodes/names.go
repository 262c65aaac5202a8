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

// takeName gives the record the name that it was just looked up by, and returns what to drop. Its shard is locked.
func (r *record) takeName(n nameRef) nameRef {
	if r.form == formHandle {
		return n
	}
	if n = r.swapName(n); n.form == formName {
		r.ctl.Or(bitUsed) // nobody gives the fd up by the name that it had
	}
	return n
}

// Hold pins the record of file i, one lookup counted, so that a name it may be reopened by can
// change or go. If there is none it makes one, which a lookup at the same time will find. Takes fd,
// an O_PATH fd of the file, over. The zero Node: there is no room. Let ends it.
//
// While it is held a record keeps its fd. Renamed or Unnamed is called before Let, once the
// name has changed. A lookup at the same time may bring the old name back: such a name is found
// wrong before the fd is given up.
func (t *Table) Hold(i Identity, fd int) Node {
	id, err := t.Insert(i, fd, Node{}, "")
	if err != nil {
		return Node{}
	}
	n, err := t.Get(id)
	if err != nil {
		t.Forget(id, 1)
	}
	return n
}

// Let ends Hold.
func (n Node) Let() {
	if n.t == nil {
		return
	}
	id := n.ID()
	n.Release()
	n.t.Forget(id, 1)
}

// Renamed tells that the file is called name in the pinned directory parent now.
func (n Node) Renamed(parent Node, name string) {
	if n.t == nil {
		return
	}
	if ref := n.t.newName(parent, name); ref.ref != 0 {
		n.setName(ref, func(*record) bool { return true })
	}
}

// Unnamed tells that name in the pinned directory parent is the file's no more.
func (n Node) Unnamed(parent Node, name string) {
	if n.t == nil {
		return
	}
	id := parent.ID()
	n.setName(nameRef{}, func(r *record) bool {
		return r.parent == id && string(n.t.arena.get(r.ref)) == name
	})
}

// setName gives the record a name, or none, unless it has a handle or is not fit for it.
func (n Node) setName(ref nameRef, fit func(*record) bool) {
	s, _ := n.t.shardOf(n.slot)
	s.mu.Lock()
	if r := &n.t.records[n.slot]; r.form != formHandle && fit(r) {
		ref = r.swapName(ref)
		n.t.clock.unstick(n.slot)
	}
	s.mu.Unlock()
	n.t.dropName(ref)
}
