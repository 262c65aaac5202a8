// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"math/bits"
	"sync"
)

const shardCount = 64

// shard is a part of the index: slots by the hash of their identity, open addressing with linear
// probing, 0 for empty, filled to three quarters at most.
type shard struct {
	mu    sync.Mutex
	t     *Table
	cells []uint32 // length is a power of two
	used  int
	_     [16]byte // neighbours' locks on other cache lines
}

const firstCells = 16

func (s *shard) init(t *Table) {
	s.t = t
	s.cells = make([]uint32, firstCells)
}

// hash mixes what is unique of an identity as long as the file exists. The birth time is left
// out: some file systems (overlayfs at copy-up) change it. The seed keeps a guest, which can see
// inode numbers, from aiming at one cell.
func (t *Table) hash(i Identity) uint64 {
	const k = 0x9e3779b97f4a7c15 // 2^64 / golden ratio
	h := t.seed
	for _, v := range [...]uint64{i.Ino, i.Dev, i.Mnt} {
		hi, lo := bits.Mul64(h^v, k)
		h = hi ^ lo ^ bits.RotateLeft64(h, 29)
		h *= k | 2
		h ^= h >> 32
	}
	return h
}

// shard returns the shard for a hash: its top bits, cells use the low ones.
func (t *Table) shard(h uint64) *shard { return &t.shards[h>>58] }

// shardOf returns the shard of a record that the caller has pinned, and its hash.
func (t *Table) shardOf(slot uint32) (*shard, uint64) {
	h := t.hash(t.records[slot].identity())
	return t.shard(h), h
}

// find returns the slot of the record with the file's numbers, or 0. s is locked, here and below.
func (s *shard) find(h uint64, i Identity) uint32 {
	mask := uint64(len(s.cells) - 1)
	for at := h & mask; ; at = (at + 1) & mask {
		slot := s.cells[at]
		if slot == 0 {
			return 0
		}
		if r := &s.t.records[slot]; r.ino == i.Ino && r.dev == i.Dev && r.mnt == i.Mnt {
			return slot
		}
	}
}

func (s *shard) insert(h uint64, slot uint32) {
	if (s.used+1)*4 > len(s.cells)*3 {
		s.grow()
	}
	s.place(h, slot)
	s.used++
}

func (s *shard) place(h uint64, slot uint32) {
	mask := uint64(len(s.cells) - 1)
	at := h & mask
	for s.cells[at] != 0 {
		at = (at + 1) & mask
	}
	s.cells[at] = slot
}

func (s *shard) grow() {
	old := s.cells
	s.cells = make([]uint32, 2*len(old))
	for _, slot := range old {
		if slot != 0 {
			s.place(s.hashAt(slot), slot)
		}
	}
}

func (s *shard) hashAt(slot uint32) uint64 { return s.t.hash(s.t.records[slot].identity()) }

// remove takes slot out and moves later cells of its run up, so that no probe stops early.
func (s *shard) remove(h uint64, slot uint32) {
	mask := uint64(len(s.cells) - 1)
	hole := h & mask
	for s.cells[hole] != slot {
		if s.cells[hole] == 0 {
			panic("inodes: a record that counts as indexed is not in the index")
		}
		hole = (hole + 1) & mask
	}
	for at := (hole + 1) & mask; s.cells[at] != 0; at = (at + 1) & mask {
		home := s.hashAt(s.cells[at]) & mask
		if (at-home)&mask >= (at-hole)&mask { // home is not between hole and at
			s.cells[hole] = s.cells[at]
			hole = at
		}
	}
	s.cells[hole] = 0
	s.used--
}
