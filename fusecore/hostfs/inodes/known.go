// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"hash/maphash"
	"math"
	"sync/atomic"
)

// A name that the guest knows is looked up without opening its file: the record is pinned first, then a
// statx of the name must show the record's file. As the record had its fd all along, the inode cannot
// have been another one's at any moment in between.

// hints say which record a name has led to, most of the time: a cell is that of all names with its hash.
// They are only a reason to look.
type hints struct {
	seed  maphash.Seed
	cells []atomic.Uint32 // slots, 0: none
}

// hintCells makes half a megabyte, of which what was never used takes no memory.
const hintCells = 1 << 17

// init takes memory of hintCells*4 bytes, all zero.
func (h *hints) init(cells []atomic.Uint32) { h.seed, h.cells = maphash.MakeSeed(), cells }

func (h *hints) cell(dir Node, name string) *atomic.Uint32 {
	const k = 0x9e3779b97f4a7c15 // 2^64 / golden ratio
	sum := maphash.String(h.seed, name) ^ uint64(dir.ID())*k
	return &h.cells[sum%hintCells]
}

// Note remembers that name in the pinned directory dir leads to the file of id.
func (t *Table) Note(dir Node, name string, id ID) {
	if dir.t != nil {
		t.hints.cell(dir, name).Store(id.slot())
	}
}

// Expect pins the file that name in the pinned directory dir may lead to. False: none is known that has an
// fd. It does no system calls; whether it is that file, Is tells.
func (t *Table) Expect(dir Node, name string) (Node, bool) {
	slot := t.hints.cell(dir, name).Load()
	return t.pinWarm(slot)
}

// ExpectInode is Expect for the file with these numbers: i needs no more than device, inode number and mount.
func (t *Table) ExpectInode(i Identity) (Node, bool) {
	h := t.hash(i)
	s := t.shard(h)
	s.mu.Lock()
	slot := s.find(h, i)
	s.mu.Unlock()
	return t.pinWarm(slot)
}

// pinWarm pins a record that has an fd; slot 0 is none.
func (t *Table) pinWarm(slot uint32) (Node, bool) {
	if slot == 0 {
		return Node{}, false
	}
	r := &t.records[slot]
	if r.ctl.Load()&bitFD == 0 || !t.pin(r.id(slot)) {
		return Node{}, false
	}
	if r.ctl.Load()&bitFD == 0 { // it was given up just before
		t.unpin(slot)
		return Node{}, false
	}
	return Node{t: t, slot: slot, fd: r.fd}, true
}

// Is tells whether a file that was looked at while n was pinned, and had identity i then, is the node's.
func (n Node) Is(i Identity) bool {
	i.Birth = 0
	return i == n.Identity()
}

// Again counts one lookup of a pinned node that was found as name in parent. False: it is to be looked up
// by Insert, as it is being forgotten, or is reopened by another name until now. An empty name is as in Insert.
func (n Node) Again(parent Node, name string) bool {
	s, _ := n.t.shardOf(n.slot)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &n.t.records[n.slot]
	if r.ctl.Load()&bitLive == 0 || !r.hashed {
		return false
	}
	if name != "" && (r.form != formName || r.parent != parent.ID() || string(n.t.arena.get(r.ref)) != name) {
		return false
	}
	n.t.counted(n.slot)
	return true
}

// counted counts a lookup of a living record. Its shard is locked.
func (t *Table) counted(slot uint32) {
	r := &t.records[slot]
	r.ctl.And(^uint64(bitGone | bitCut))
	t.clock.unstick(slot) // it may have a name again
	if r.nlookup++; r.nlookup == 0 {
		r.nlookup = math.MaxUint64 // saturated: a count that wrapped would free a living file
	}
}

// Cut tells that name in the pinned directory dir was removed: its file may live by its fd alone now. The
// host will be asked when the guest forgets the file; if it is another one by mistake, that costs a call.
func (t *Table) Cut(dir Node, name string) {
	n, ok := t.Expect(dir, name)
	if !ok {
		return
	}
	t.records[n.slot].ctl.Or(bitCut)
	t.hints.cell(dir, name).Store(0)
	n.Release()
}
