// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
)

// Every sector of a file says where it belongs and by which write it came: its first and last
// word are its stamp, and what is between is the filler.
const (
	sector    = 512
	blockSize = 4096 // a guest's page: the unit in which generations are kept
	filler    = 0xa5c3_96f0_5a3c_690f
)

// stamp is the mark of the sector at off of a file, at most 2 TiB from its start.
func stamp(file uint8, off int64, gen uint32) uint64 {
	return uint64(gen&0xff_ffff)<<40 | uint64(file)<<32 | uint64(uint32(off/sector))
}

// fill prepares a buffer of whole sectors for setStamps.
func fill(b []byte) {
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], filler)
	}
}

// setStamps marks the filled buffer b as bytes of a file from off on.
func setStamps(b []byte, file uint8, off int64, gen uint32) {
	for i := 0; i < len(b); i += sector {
		s := stamp(file, off+int64(i), gen)
		binary.LittleEndian.PutUint64(b[i:], s)
		binary.LittleEndian.PutUint64(b[i+sector-8:], s)
	}
}

// errData says that a daemon gave or kept other bytes than it should have.
type errData struct {
	file      uint8
	off       int64
	got, want uint64
}

func (e errData) Error() string {
	return fmt.Sprintf("wrong data: file %d, offset %d: %#x, want %#x", e.file, e.off, e.got, e.want)
}

// check looks at both stamps of each sector of b, which starts at a sector, and with all set at
// the filler between them too.
func check(b []byte, file uint8, off int64, gen uint32, all bool) error {
	if len(b)%sector != 0 {
		return fmt.Errorf("wrong data: file %d, offset %d: %d bytes, not whole sectors", file, off, len(b))
	}
	for i := 0; i < len(b); i += sector {
		want := stamp(file, off+int64(i), gen)
		for _, at := range [2]int{i, i + sector - 8} {
			if got := binary.LittleEndian.Uint64(b[at:]); got != want {
				return errData{file, off + int64(at), got, want}
			}
		}
		for at := i + 8; all && at < i+sector-8; at += 8 {
			if got := binary.LittleEndian.Uint64(b[at:]); got != filler {
				return errData{file, off + int64(at), got, filler}
			}
		}
	}
	return nil
}
