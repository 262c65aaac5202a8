// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// record is one file. It has no pointers; its layout is that of the memory it lives in.
type record struct {
	// ctl: bits 0-24 pins, 25 cut, 26-27 marks, 28 fd, 29 recently used, 30 live, 31 forgotten, 32-63 generation.
	ctl atomic.Uint64

	// Identity but for the birth time: written before the record goes live, constant while it is.
	dev, ino, mnt uint64

	birth   int64  // as it was when the record got or lost its fd; shard lock
	nlookup uint64 // the guest's count; shard lock
	parent  ID     // with formName: the directory, which counts this record as a child; shard lock
	fd      int32  // valid while bitFD: written under the shard lock, read under a pin
	link    uint32 // with an fd: position in the clock (its lock); unused slot: the next one (slots' lock)
	kids    uint32 // records that need this one to be reopened; shard lock
	ref     uint32 // name or handle in the arena; shard lock
	typ     uint32 // identity, too
	form    form   // what ref is; shard lock
	hashed  bool   // in the index; shard lock
	kept    bool   // in the attic; shard lock
	stuck   bool   // has an fd that cannot be given up: not in the clock; shard lock
}

const (
	pinMask = 1<<25 - 1
	bitCut  = 1 << 25 // a name of it was removed since it was last looked up
	bitFD   = 1 << 28
	bitUsed = 1 << 29
	bitLive = 1 << 30
	bitGone = 1 << 31 // forgotten by the guest and in the attic; set and cleared under the shard lock
	genMask = 0xffffffff_00000000
)

// form says how a record can be reopened.
type form uint8

const (
	formNone   form = 0 // not at all: its fd must stay
	formName   form = 1 // by parent and name
	formHandle form = 2 // by a file handle
)

func (r *record) set(i Identity, fd int) {
	r.dev, r.ino, r.mnt, r.birth, r.typ = i.Dev, i.Ino, i.Mnt, i.Birth, i.Type
	r.nlookup, r.parent, r.kids, r.ref = 0, 0, 0, 0
	r.fd, r.form, r.hashed, r.kept, r.stuck = int32(fd), formNone, false, false, false
}

// identity leaves out the birth time, which is the shard lock's.
func (r *record) identity() Identity {
	return Identity{Dev: r.dev, Ino: r.ino, Mnt: r.mnt, Type: r.typ}
}

func (r *record) id(slot uint32) ID { return ID(r.ctl.Load()&genMask | uint64(slot)) }

// slots hands out slots of the record array.
type slots struct {
	mu      sync.Mutex
	records []record
	free    uint32        // first of the list of used and freed slots, 0: none
	top     atomic.Uint32 // slots from here on were never used; written under mu
}

func (s *slots) init(records []record) {
	s.records = records
	s.top.Store(1) // slot 0 means none
}

func (s *slots) high() uint32 { return s.top.Load() }

// take returns an unused slot, the lowest never used one if no other was given back.
func (s *slots) take() (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot := s.free; slot != 0 {
		s.free = s.records[slot].link
		return slot, nil
	}
	slot := s.top.Load()
	if int(slot) >= len(s.records) {
		return 0, unix.ENFILE
	}
	s.top.Store(slot + 1)
	return slot, nil
}

// give takes a slot back under its next generation. The last generation is the end of a slot:
// an id is never used twice.
func (s *slots) give(slot uint32) {
	r := &s.records[slot]
	gen := uint32(r.ctl.Load()>>32) + 1
	if gen == 0 {
		return
	}
	r.ctl.Store(uint64(gen) << 32)
	s.mu.Lock()
	r.link = s.free
	s.free = slot
	s.mu.Unlock()
}
