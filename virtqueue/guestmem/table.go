// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"sort"
	"sync/atomic"
)

// Table is an immutable snapshot of a Memory's regions. Its views are valid until the holder's
// reference is released. Safe for concurrent use.
type Table struct {
	regions []*mapping // by GPA, not overlapping
	gen     uint64
	refs    atomic.Int64
}

// newTable takes one reference on each region for the table; the caller has the table's only one.
func newTable(regions []*mapping, gen uint64) *Table {
	for _, r := range regions {
		r.refs.Add(1)
	}
	t := &Table{regions: regions, gen: gen}
	t.refs.Store(1)
	return t
}

// Generation returns the value that Memory.Generation had while this table was the current one.
func (t *Table) Generation() uint64 { return t.gen }

// Empty tells whether there is no guest memory at all.
func (t *Table) Empty() bool { return len(t.regions) == 0 }

// Release gives up one reference; no view that came from it may be used any more.
func (t *Table) Release() {
	switch n := t.refs.Add(-1); {
	case n < 0:
		panic("guestmem: table released too often")
	case n == 0:
		for _, r := range t.regions {
			r.release()
		}
	}
}

// find returns the region that has gpa, and its index, or nil.
func (t *Table) find(gpa uint64) (*mapping, int) {
	lo, hi := 0, len(t.regions)
	for lo < hi {
		mid := (lo + hi) / 2
		if t.regions[mid].GPA <= gpa {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return nil, 0
	}
	r := t.regions[lo-1]
	if gpa-r.GPA >= r.Size {
		return nil, 0
	}
	return r, lo - 1
}

// Slice returns the n bytes at gpa, which must lie in one region, or ErrRange.
func (t *Table) Slice(gpa, n uint64) ([]byte, error) {
	r, _ := t.find(gpa)
	if r == nil {
		return nil, ErrRange
	}
	off := gpa - r.GPA
	if n > r.Size-off {
		return nil, ErrRange
	}
	return r.mem[off : off+n : off+n], nil
}

// Append appends views of the n bytes at gpa to dst, one for each region that the range crosses.
// When a part of it is not mapped, it returns dst as it came, and ErrRange. An empty range appends
// nothing, wherever it lies.
func (t *Table) Append(dst [][]byte, gpa, n uint64) ([][]byte, error) {
	if n == 0 {
		return dst, nil
	}
	r, i := t.find(gpa)
	if r == nil {
		return dst, ErrRange
	}
	out := dst
	for {
		off := gpa - r.GPA
		part := min(n, r.Size-off)
		out = append(out, r.mem[off:off+part:off+part])
		if n -= part; n == 0 {
			return out, nil
		}
		gpa += part // Region.check: no overflow
		if i++; i == len(t.regions) || t.regions[i].GPA != gpa {
			return dst, ErrRange
		}
		r = t.regions[i]
	}
}

// Read copies len(dst) bytes at gpa, which may cross adjacent regions, into dst, or returns ErrRange
// (dst is then undefined). Each byte is read once.
func (t *Table) Read(dst []byte, gpa uint64) error {
	for len(dst) > 0 {
		r, _ := t.find(gpa)
		if r == nil {
			return ErrRange
		}
		n := copy(dst, r.mem[gpa-r.GPA:])
		dst = dst[n:]
		gpa += uint64(n)
	}
	return nil
}

// Translate returns the guest physical address of n bytes at the VMM's address userAddr, which must
// lie in one region, or ErrRange. Where regions overlap in the VMM's addresses, the one with the
// lowest guest address counts. Not for hot paths: it looks at every region.
func (t *Table) Translate(userAddr, n uint64) (gpa uint64, err error) {
	for _, r := range t.regions {
		if off := userAddr - r.UserAddr; userAddr >= r.UserAddr && off < r.Size && n <= r.Size-off {
			return r.GPA + off, nil
		}
	}
	return 0, ErrRange
}

// sortRegions sorts by guest address and reports two regions that overlap.
func sortRegions(rs []*mapping) error {
	sort.Slice(rs, func(i, j int) bool { return rs[i].GPA < rs[j].GPA })
	for i := 1; i < len(rs); i++ {
		if rs[i-1].overlaps(rs[i].Region) {
			return errOverlap(rs[i-1].Region, rs[i].Region)
		}
	}
	return nil
}
