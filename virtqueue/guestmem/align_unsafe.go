// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"sync/atomic"
	"unsafe"
)

// Aligned reports whether b starts at a multiple of n bytes, a power of two, in the address space
// of this process. Guest physical alignment does not imply it: a region may lie at any offset of
// its file.
func Aligned(b []byte, n uintptr) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))&(n-1) == 0
}

// orWord sets bits in the 32-bit little-endian word i of b atomically. b must be 4-aligned.
func orWord(b []byte, i int, bits uint32) {
	_ = b[i*4+3]
	w := (*uint32)(unsafe.Pointer(&b[i*4]))
	// Dirty bits are mostly set already: a load is cheaper than a locked operation, and leaves the
	// line shared.
	if atomic.LoadUint32(w)&bits != bits {
		atomic.OrUint32(w, bits)
	}
}
