// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Three regions of one file: two that touch, one that stands alone; offsets and sizes are odd.
var threeRegions = []Region{
	{GPA: 0x1800, Size: 0x803, UserAddr: 0x7000_0000_0000, FileOffset: 0x1801},
	{GPA: 0x1000, Size: 0x800, UserAddr: 0x7000_0010_0000, FileOffset: 0x7},
	{GPA: 0x8000, Size: 0x1001, UserAddr: 0x7000_0020_0000, FileOffset: 0x3000},
}

func threeTable(t testing.TB) *Table {
	m := New()
	var fds []int
	for range threeRegions {
		fds = append(fds, memfd(t, "three", 0x5000))
	}
	if err := m.Replace(threeRegions, fds); err != nil {
		t.Fatal(err)
	}
	tab := m.Acquire()
	m.Reset()
	t.Cleanup(tab.Release)
	return tab
}

// guestByte is what the guest sees at gpa.
func guestByte(gpa uint64) (b byte, ok bool) {
	for _, r := range threeRegions {
		if gpa >= r.GPA && gpa-r.GPA < r.Size {
			return pattern(r.FileOffset + gpa - r.GPA), true
		}
	}
	return 0, false
}

func TestSlice(t *testing.T) {
	tab := threeTable(t)
	for _, tc := range []struct {
		gpa, n uint64
		ok     bool
	}{
		{0x1000, 0x800, true}, {0x17ff, 1, true}, {0x1000, 0, true},
		{0x1800, 0x803, true}, {0x8000, 0x1001, true},
		{0xfff, 1, false}, {0x1000, 0x801, false}, {0x2003, 1, false}, {0x2002, 2, false},
		{0x8000, math.MaxUint64, false}, {math.MaxUint64, 1, false}, {math.MaxUint64, 2, false},
		{0, 1, false}, {0, 0, false},
	} {
		b, err := tab.Slice(tc.gpa, tc.n)
		if !tc.ok {
			if b != nil || !errors.Is(err, ErrRange) {
				t.Errorf("Slice(%#x, %#x): %d bytes, %v, want ErrRange", tc.gpa, tc.n, len(b), err)
			}
			continue
		}
		if err != nil || uint64(len(b)) != tc.n || len(b) != cap(b) {
			t.Errorf("Slice(%#x, %#x): %d bytes of %d, %v", tc.gpa, tc.n, len(b), cap(b), err)
		}
		for i := range b {
			if want, _ := guestByte(tc.gpa + uint64(i)); b[i] != want {
				t.Fatalf("byte at %#x is %#x, want %#x", tc.gpa+uint64(i), b[i], want)
			}
		}
	}
}

// Append and Read agree with a look at each byte, for any range.
func TestAppendAndRead(t *testing.T) {
	tab := threeTable(t)
	rapid.Check(t, func(t *rapid.T) {
		edge := rapid.SampledFrom([]uint64{0, 0x1000, 0x1800, 0x2003, 0x8000, 0x9001, math.MaxUint64}).Draw(t, "edge")
		gpa := edge + uint64(rapid.IntRange(-3, 3).Draw(t, "off"))
		n := rapid.OneOf(rapid.Uint64Range(0, 0x1100), rapid.Uint64()).Draw(t, "n")
		var want []byte
		ok := true
		for i := uint64(0); i < n && ok; i++ {
			var b byte
			if b, ok = guestByte(gpa + i); ok {
				want = append(want, b)
			}
		}
		first := []byte{1}
		parts, err := tab.Append([][]byte{first}, gpa, n)
		if !ok {
			if !errors.Is(err, ErrRange) || len(parts) != 1 {
				t.Fatalf("Append: %d parts, %v, want ErrRange", len(parts), err)
			}
			if n < 0x10000 && !errors.Is(tab.Read(make([]byte, n), gpa), ErrRange) {
				t.Fatal("Read: want ErrRange")
			}
			return
		}
		if err != nil || !bytes.Equal(bytes.Join(parts[1:], nil), want) {
			t.Fatalf("Append: wrong bytes, %v", err)
		}
		got := make([]byte, n)
		if err := tab.Read(got, gpa); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("Read: wrong bytes, %v", err)
		}
	})
}

func TestTranslate(t *testing.T) {
	tab := threeTable(t)
	for _, tc := range []struct {
		user, n, gpa uint64
		ok           bool
	}{
		{0x7000_0000_0000, 0x803, 0x1800, true},
		{0x7000_0000_0802, 1, 0x2002, true},
		{0x7000_0010_0010, 8, 0x1010, true},
		{0x7000_0000_0802, 2, 0, false},
		{0x7000_0000_0803, 0, 0, false},
		{0x6fff_ffff_ffff, 1, 0, false},
		{0x7000_0020_0000, math.MaxUint64, 0, false},
		{0, 0, 0, false},
	} {
		gpa, err := tab.Translate(tc.user, tc.n)
		if tc.ok && (err != nil || gpa != tc.gpa) || !tc.ok && !errors.Is(err, ErrRange) {
			t.Errorf("Translate(%#x, %#x) = %#x, %v", tc.user, tc.n, gpa, err)
		}
	}
}
