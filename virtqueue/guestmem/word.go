// SPDX-License-Identifier: Apache-2.0

package guestmem

// Ring words are 16 bits wide and only 2-aligned (virtio 1.2 section 2.7), and sync/atomic has no
// 16-bit operations. Wider ones would do for some words only: avail may lie at an odd multiple of 2,
// and a 32-bit store of avail_event would write bytes that belong to the driver. So all words go one
// way, through a few lines of assembly.
//
// Ring words are little-endian, as are both supported machines.

//go:noescape
func loadAcquire16(p *byte) uint16

//go:noescape
func storeRelease16(p *byte, v uint16)

// LoadAcquire16 reads the ring word at the start of b, which must be 2-aligned (see [Aligned]). No
// later access of this goroutine to memory is done before it.
func LoadAcquire16(b []byte) uint16 {
	_ = b[1]
	return loadAcquire16(&b[0])
}

// StoreRelease16 writes the ring word at the start of b, which must be 2-aligned (see [Aligned]).
// It becomes visible after all earlier accesses of this goroutine.
func StoreRelease16(b []byte, v uint16) {
	_ = b[1]
	storeRelease16(&b[0], v)
}

// Fence orders all earlier accesses before all later ones, also an earlier store before a later
// load, which acquire and release do not.
func Fence()
