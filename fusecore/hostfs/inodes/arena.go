// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"encoding/binary"
	"sync"
)

// arena keeps names and handles, of 1 to 255 bytes, in memory that the garbage collector does not
// scan. A block is a length byte and the bytes, rounded up to blockUnit; blocks that were freed
// are kept by size, each holding the reference of the next. They are not joined: what a guest has cut
// up so is whole again when it has forgotten all its files, as it does when it restarts.
type arena struct {
	mu   sync.Mutex
	mem  []byte
	top  uint32 // in units; the first never used one
	live uint32 // blocks in use
	free [classes]uint32
}

const (
	blockUnit = 8
	blobMax   = 255
	classes   = (1+blobMax+blockUnit-1)/blockUnit + 1
	arenaMin  = 1 << 20
	arenaMax  = blockUnit << 32 // references are units in 32 bits
)

func (a *arena) init(mem []byte) {
	a.mem = mem
	a.top = 1 // reference 0 means none
}

func (a *arena) used() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(a.top) * blockUnit
}

func class(n int) uint32 { return uint32(1+n+blockUnit-1) / blockUnit }

// put copies b, whose length is 1 to blobMax, and returns its reference; 0 if there is no room.
func put[B string | []byte](a *arena, b B) uint32 {
	if len(b) == 0 || len(b) > blobMax {
		return 0
	}
	c := class(len(b))
	a.mu.Lock()
	ref := a.free[c]
	if ref != 0 {
		a.free[c] = binary.NativeEndian.Uint32(a.block(ref))
	} else if (uint64(a.top)+uint64(c))*blockUnit <= uint64(len(a.mem)) {
		ref = a.top
		a.top += c
	}
	if ref != 0 {
		a.live++
	}
	a.mu.Unlock()
	if ref != 0 {
		m := a.block(ref)
		m[0] = byte(len(b))
		copy(m[1:], b)
	}
	return ref
}

func (a *arena) block(ref uint32) []byte { return a.mem[uint64(ref)*blockUnit:] }

// get returns the bytes of ref, valid until it is dropped. Nil for 0.
func (a *arena) get(ref uint32) []byte {
	if ref == 0 {
		return nil
	}
	m := a.block(ref)
	n := int(m[0])
	return m[1 : 1+n : 1+n]
}

// drop frees ref; 0 is ignored.
func (a *arena) drop(ref uint32) {
	if ref == 0 {
		return
	}
	c := class(len(a.get(ref)))
	a.mu.Lock()
	binary.NativeEndian.PutUint32(a.block(ref), a.free[c])
	a.free[c] = ref
	if a.live--; a.live == 0 {
		a.top, a.free = 1, [classes]uint32{}
	}
	a.mu.Unlock()
}
