// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"errors"
	"slices"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// Shorthands for flags.
const (
	nx = descNext
	wr = descWrite
	in = descIndirect
)

// lens returns the lengths of buffers.
func lens(bs [][]byte) (ns []int) {
	for _, b := range bs {
		ns = append(ns, len(b))
	}
	return ns
}

// Chains, by the descriptors of the ring and of two indirect tables, one in the middle of the memory,
// one across the border of two regions. The head is descriptor 0.
func TestChains(t *testing.T) {
	const (
		size   = 0x40000
		border = ramBase + 0x20000      // between two regions
		hole   = ramBase + size         // nothing from here on
		cross  = border - 8             // an indirect table whose first descriptor straddles regions
		page   = ramBase + 0x10000      // data
		table  = ramBase + 0x8000       // an indirect table
		two32  = 0x8000_0000            // half of what a chain may have
		big    = ramBase + 0x1_0000_000 // 4 GiB of memory for that, elsewhere
	)
	for _, tc := range []struct {
		name         string
		ring         []desc
		table, cross []desc
		read, write  []int
		err          error
	}{
		{name: "one readable", ring: []desc{{page, 48, 0, 0}}, read: []int{48}},
		{name: "one writable", ring: []desc{{page, 48, wr, 0}}, write: []int{48}},
		{name: "both", ring: []desc{{page, 40, nx, 1}, {page + 64, 16, nx | wr, 2}, {page + 128, 104, wr, 0}},
			read: []int{40}, write: []int{16, 104}},
		{name: "whole ring", ring: []desc{{page, 1, nx, 3}, {page, 2, wr, 0}, {page, 3, nx, 1}, {page, 4, nx, 2}},
			read: []int{1, 4, 3}, write: []int{2}},
		{name: "indirect", ring: []desc{{table, 48, in, 0}},
			table: []desc{{page, 40, nx, 2}, {page, 7, wr, 0}, {page, 9, nx, 1}}, read: []int{40, 9}, write: []int{7}},
		{name: "write flag of an indirect descriptor is ignored", ring: []desc{{table, 16, in | wr, 9}},
			table: []desc{{page, 40, 0, 0}}, read: []int{40}},
		{name: "direct, then indirect", ring: []desc{{page, 40, nx, 1}, {table, 16, in, 0}},
			table: []desc{{page, 7, wr, 0}}, read: []int{40}, write: []int{7}},
		{name: "table across regions", ring: []desc{{cross, 32, in, 0}},
			cross: []desc{{page, 40, nx, 1}, {page, 7, wr, 0}}, read: []int{40}, write: []int{7}},
		{name: "buffers across regions", ring: []desc{{border - 3, 10, nx, 1}, {border - 1, 2, wr, 0}},
			read: []int{3, 7}, write: []int{1, 1}},
		{name: "empty descriptors add nothing", read: []int{5}, write: []int{6},
			ring: []desc{{page, 5, nx, 1}, {0, 0, nx | wr, 2}, {hole, 0, nx, 3}, {page, 6, wr, 0}}},
		{name: "nothing but an empty descriptor", ring: []desc{{page, 0, 0, 0}}},
		{name: "last byte of memory", ring: []desc{{hole - 1, 1, 0, 0}}, read: []int{1}},
		{name: "as long as can be", ring: []desc{{big, two32, nx, 1}, {big, two32 - 1, wr, 0}},
			read: []int{two32}, write: []int{two32 - 1}},

		{name: "too long", ring: []desc{{big, two32, nx, 1}, {big, two32, wr, 0}}, err: errTotal},
		{name: "linked to itself", ring: []desc{{page, 1, nx, 0}}, err: errLoop},
		{name: "loop", ring: []desc{{page, 1, nx, 1}, {page, 1, nx, 2}, {page, 1, nx, 1}}, err: errLoop},
		{name: "loop of empty descriptors", ring: []desc{{0, 0, nx, 0}}, err: errLoop},
		{name: "next outside the ring", ring: []desc{{page, 1, nx, 4}}, err: errNext},
		{name: "next far outside", ring: []desc{{page, 1, nx, 0xffff}}, err: errNext},
		{name: "readable after writable", ring: []desc{{page, 1, nx | wr, 1}, {page, 1, 0, 0}}, err: errOrder},
		{name: "beyond memory", ring: []desc{{hole - 1, 2, 0, 0}}, err: errUnmapped},
		{name: "no memory", ring: []desc{{0, 1, wr, 0}}, err: errUnmapped},
		{name: "address overflow", ring: []desc{{^uint64(0), 2, wr, 0}}, err: errUnmapped},
		{name: "good, then unmapped", ring: []desc{{page, 8, nx, 1}, {hole, 1, wr, 0}}, err: errUnmapped},
		{name: "empty table", ring: []desc{{table, 0, in, 0}}, err: errTable},
		{name: "table of half a descriptor", ring: []desc{{table, 8, in, 0}}, err: errTable},
		{name: "table of one and a half", ring: []desc{{table, 24, in, 0}}, err: errTable},
		{name: "table longer than the queue", ring: []desc{{table, 80, in, 0}}, err: errTable},
		{name: "huge table", ring: []desc{{table, 0xffff_fff0, in, 0}}, err: errTable},
		{name: "table outside memory", ring: []desc{{hole - 16, 32, in, 0}}, err: errUnmapped},
		{name: "indirect and next", ring: []desc{{table, 16, in | nx, 1}, {page, 1, 0, 0}}, err: errGoesOn},
		{name: "nested", ring: []desc{{table, 32, in, 0}}, table: []desc{{page, 1, nx, 1}, {table, 16, in, 0}}, err: errNested},
		{name: "next outside the table", ring: []desc{{table, 32, in, 0}}, table: []desc{{page, 1, nx, 2}}, err: errNext},
		{name: "loop in the table", ring: []desc{{table, 32, in, 0}},
			table: []desc{{page, 1, nx, 1}, {page, 1, nx, 0}}, err: errLoop},
		{name: "order across tables", ring: []desc{{page, 1, nx | wr, 1}, {table, 16, in, 0}},
			table: []desc{{page, 1, 0, 0}}, err: errOrder},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDriver(t, 4, true, size)
			rs := []guestmem.Region{
				{GPA: border, Size: hole - border, FileOffset: border - ramBase},
				{GPA: ramBase, Size: border - ramBase},
			}
			fds := []int{d.dup(), d.dup()}
			if slices.ContainsFunc(tc.ring, func(e desc) bool { return e.addr == big }) {
				rs = append(rs, guestmem.Region{GPA: big, Size: two32})
				fds = append(fds, sparse(t, two32))
			}
			if err := d.mem.Replace(rs, fds); err != nil {
				t.Fatal(err)
			}
			d.table(d.ring.Desc, tc.ring...)
			d.table(table, tc.table...)
			d.table(cross, tc.cross...)
			checkChain(t, d, tc.read, tc.write, tc.err)
		})
	}
}

// checkChain pops the chain at descriptor 0, checks it and looks for its used element.
func checkChain(t *testing.T, d *driver, read, write []int, wantErr error) {
	t.Helper()
	q, err := NewQueue(d.mem, d.ring.Config)
	if err != nil {
		t.Fatal(err)
	}
	d.offer(0)
	c, err := q.Pop()
	want := uint32(0)
	if wantErr != nil {
		if c != nil || err != wantErr || !errors.Is(err, ErrChain) {
			t.Fatalf("Pop: %v, %v, want %v", c, err, wantErr)
		}
	} else {
		if c == nil || err != nil {
			t.Fatalf("Pop: %v, %v", c, err)
		}
		if !slices.Equal(lens(c.Readable), read) || !slices.Equal(lens(c.Writable), write) {
			t.Errorf("buffers %d and %d, want %d and %d", lens(c.Readable), lens(c.Writable), read, write)
		}
		for _, n := range write {
			want += uint32(n)
		}
		c.Done(int(want))
	}
	if c, err := q.Pop(); c != nil || err != nil {
		t.Errorf("Pop of an empty ring: %v, %v", c, err)
	}
	if base := q.Close(); base != 1 {
		t.Errorf("base %d, want 1", base)
	}
	if head, n, ok := d.take(); !ok || head != 0 || n != want {
		t.Errorf("used: head %d, %d bytes, %v, want %d bytes", head, n, ok, want)
	}
	if _, _, ok := d.take(); ok {
		t.Error("used twice")
	}
}
