// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"bytes"
	"errors"
	"math"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// newLog gives m a log of size bytes at offset of a zeroed file, and returns the file.
func newLog(t *testing.T, m *Memory, size, offset uint64) (file int) {
	t.Helper()
	fd, err := unix.MemfdCreate("dirty", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, int64(offset+size)); err != nil {
		t.Fatal(err)
	}
	file = closing(t, mustDup(t, fd))
	if err := m.SetLog(fd, size, offset); err != nil {
		t.Fatal(err)
	}
	if isOpen(fd) {
		t.Error("SetLog left the fd open")
	}
	return file
}

func contents(t *testing.T, file int, n uint64) []byte {
	t.Helper()
	b := make([]byte, n)
	if got, err := unix.Pread(file, b, 0); err != nil || uint64(got) != n {
		t.Fatalf("pread: %d, %v", got, err)
	}
	return b
}

func TestMarkDirty(t *testing.T) {
	const size = 11 // bytes: 88 pages, not a multiple of a word
	type mark struct{ gpa, n uint64 }
	for _, tc := range []struct {
		name   string
		offset uint64
		marks  []mark
		pages  []int
	}{
		{"one byte", 0, []mark{{0x5123, 1}}, []int{5}},
		{"nothing", 0, []mark{{0x5000, 0}}, nil},
		{"page edge", 0, []mark{{0x4fff, 2}}, []int{4, 5}},
		{"whole page", 0, []mark{{0x4000, 0x1000}}, []int{4}},
		{"across words", 0, []mark{{31 * 4096, 3 * 4096}}, []int{31, 32, 33}},
		{"last page", 0, []mark{{87 * 4096, 1 << 40}}, []int{87}},
		{"beyond the end", 0, []mark{{88 * 4096, 4096}, {1 << 50, 1}}, nil},
		{"overflow", 0, []mark{{87*4096 + 1, math.MaxUint64}}, []int{87}},
		{"top of memory", 0, []mark{{math.MaxUint64, 1}, {math.MaxUint64, 2}}, nil},
		{"odd offset", 4096 + 3, []mark{{0, 1}, {0x9000, 1}, {87 * 4096, 1}}, []int{0, 9, 87}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := New()
			defer m.Reset()
			file := newLog(t, m, size, tc.offset)
			want := make([]byte, tc.offset+size)
			for _, k := range tc.marks {
				m.MarkDirty(k.gpa, k.n)
			}
			if !bytes.Equal(contents(t, file, tc.offset+size), want) {
				t.Error("marked while disabled")
			}
			m.EnableLog(true)
			for _, k := range tc.marks {
				m.MarkDirty(k.gpa, k.n)
			}
			for _, p := range tc.pages {
				want[tc.offset+uint64(p/8)] |= 1 << (p % 8)
			}
			if got := contents(t, file, tc.offset+size); !bytes.Equal(got, want) {
				t.Errorf("log % x, want % x", got[tc.offset:], want[tc.offset:])
			}
		})
	}
}

func TestLogRefused(t *testing.T) {
	m := New()
	defer m.Reset()
	for _, tc := range []struct{ size, offset uint64 }{
		{0, 0}, {0x1001, 0}, {0x1000, 1}, {math.MaxUint64, 0}, {math.MaxUint64 / 8, 0}, {8, math.MaxUint64},
	} {
		fd := memfd(t, "log", 0x1000)
		if err := m.SetLog(fd, tc.size, tc.offset); !errors.Is(err, ErrRegion) {
			t.Errorf("SetLog(%#x, %#x): %v, want ErrRegion", tc.size, tc.offset, err)
		}
		if isOpen(fd) {
			t.Error("fd left open")
		}
	}
	m.EnableLog(true)
	m.MarkDirty(0, 1<<40) // no log: nothing
}

// No bit is lost when many mark neighbours, while the log is replaced and memory goes.
func TestMarkDirtyConcurrently(t *testing.T) {
	m := New()
	defer m.Reset()
	m.EnableLog(true)
	file := newLog(t, m, 0x1000, 0)
	var wg sync.WaitGroup
	for i := range uint64(4) {
		wg.Go(func() {
			for p := i; p < 0x8000; p += 4 {
				m.MarkDirty(p*4096, 1)
			}
		})
	}
	wg.Wait()
	if got := contents(t, file, 0x1000); !bytes.Equal(got, bytes.Repeat([]byte{0xff}, 0x1000)) {
		t.Error("bits were lost")
	}
	for range 4 {
		wg.Go(func() {
			for p := range uint64(0x8000) {
				m.MarkDirty(p*4096, 1)
			}
		})
	}
	for range 50 {
		newLog(t, m, 0x1000, 0)
	}
	m.Reset()
	wg.Wait()
	if m.LogEnabled() || mapped(t, "dirty") != 0 {
		t.Error("Reset left the log")
	}
}

func TestTruncatedLog(t *testing.T) {
	m := New()
	defer m.Reset()
	m.EnableLog(true)
	file := newLog(t, m, 0x2000, 0)
	if err := unix.Ftruncate(file, 0); err != nil {
		t.Fatal(err)
	}
	if err := Guard(func() { m.MarkDirty(0, 1) }); !errors.Is(err, ErrFault) {
		t.Errorf("%v, want ErrFault", err)
	}
	newLog(t, m, 0x1000, 0) // would wait for ever if the fault had left the lock
}
