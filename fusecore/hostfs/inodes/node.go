// SPDX-License-Identifier: Apache-2.0

package inodes

// Node is a pinned record: its fd stays open and its identity valid until Release, which is
// called exactly once. The zero Node is no file.
type Node struct {
	t    *Table
	slot uint32
	fd   int32
}

// FD is an O_PATH fd of the file, owned by the table; -1 of the zero Node.
func (n Node) FD() int {
	if n.t == nil {
		return -1
	}
	return int(n.fd)
}

// ID is the file's node id.
func (n Node) ID() ID { return n.t.records[n.slot].id(n.slot) }

// Type is the file's type, S_IFMT bits.
func (n Node) Type() uint32 { return n.t.records[n.slot].typ }

// Identity is the file's identity on the host, without its birth time.
func (n Node) Identity() Identity { return n.t.records[n.slot].identity() }

// Birth is the identity's birth time.
func (n Node) Birth() int64 {
	s, _ := n.t.shardOf(n.slot)
	s.mu.Lock()
	defer s.mu.Unlock()
	return n.t.records[n.slot].birth
}

// Release ends the use of the node.
func (n Node) Release() {
	if n.t != nil {
		n.t.unpin(n.slot)
	}
}

// Get pins the file of id, opening it again if its fd was given up. ErrStale if id means no
// file, or if the file is gone; other errors are those of opening it.
func (t *Table) Get(id ID) (Node, error) {
	if slot := id.slot(); slot < t.slots.high() && t.records[slot].ctl.Load()&bitGone != 0 {
		return Node{}, ErrStale
	}
	return t.Recall(id)
}

// maxDepth bounds how many directories are reopened one above the other. Stale names could form
// a circle.
const maxDepth = 1 << 14

func (t *Table) get(id ID, depth int) (n Node, opened bool, err error) {
	if depth > maxDepth || !t.pin(id) {
		return Node{}, false, ErrStale
	}
	n = Node{t: t, slot: id.slot()}
	if r := &t.records[n.slot]; r.ctl.Load()&bitFD != 0 {
		n.fd = r.fd
		return n, false, nil
	}
	if n.fd, err = t.reopen(n.slot, depth); err != nil {
		t.unpin(n.slot)
		return Node{}, false, err
	}
	return n, true, nil
}

// pin keeps the record of id, if it lives, from being freed, and its fd, if any, from being
// closed. Unlike Get it does no system calls.
func (t *Table) pin(id ID) bool {
	slot := id.slot()
	if slot == 0 || slot >= t.slots.high() {
		return false
	}
	ctl := &t.records[slot].ctl
	for {
		v := ctl.Load()
		if uint32(v>>32) != id.generation() || v&bitLive == 0 {
			return false
		}
		if ctl.CompareAndSwap(v, (v|bitUsed)+1) {
			return true
		}
	}
}

// unpin takes a pin off. The last one of a dead record frees it, which takes a child from the
// parent, which may end the parent, and so on.
func (t *Table) unpin(slot uint32) {
	for slot != 0 {
		if v := t.records[slot].ctl.Add(^uint64(0)); v&pinMask != 0 || v&bitLive != 0 {
			return
		}
		slot = t.dropChild(t.free(slot))
	}
}

// free gives up a dead record that nobody has pinned, and returns its parent, if it counts as a child there.
func (t *Table) free(slot uint32) (parent ID) {
	r := &t.records[slot]
	if r.ctl.Load()&bitFD != 0 {
		t.clock.remove(slot)
		i := r.identity()
		i.Birth = r.birth
		t.unpinInode(slot, i)
		t.host.Close(int(r.fd))
	}
	if r.form == formName {
		parent = r.parent
	}
	t.arena.drop(r.ref)
	t.count.Add(-1)
	t.slots.give(slot)
	return parent
}

// dropChild takes a child off parent and returns parent's slot, with a pin that the caller takes
// off; 0 if there is no such record.
func (t *Table) dropChild(parent ID) uint32 {
	if parent == 0 || !t.pin(parent) {
		return 0
	}
	slot := parent.slot()
	s, _ := t.shardOf(slot)
	s.mu.Lock()
	r := &t.records[slot]
	r.kids -= min(1, r.kids)
	t.settle(s, slot)
	s.mu.Unlock()
	return slot
}
