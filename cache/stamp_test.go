// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// observe is a statx by the daemon.
func (b *bench) observe(opened bool) {
	taken := b.c.Now()
	st, _ := b.h.Stat(nil)
	st.Taken = taken
	b.f.Observe(st, opened)
}

// TestTrustPeriod: nobody is staler than a second, and nobody asks more often than that.
func TestTrustPeriod(t *testing.T) {
	for _, mode := range []Mode{ModeAlways, ModeAuto} {
		b := newBench(t, 8, pattern(1, PageSize))
		b.use(mode)
		b.read(0, PageSize)
		b.h.foreign(0, pattern(2, PageSize))
		b.h.taken()
		b.clock.advance(trust - 1)
		b.read(0, PageSize)
		if c := b.h.taken(); len(c) > 0 {
			t.Errorf("mode %d: host calls %q within a second", mode, c)
		}
		b.clock.advance(1)
		if got := b.read(0, PageSize); !bytes.Equal(got, pattern(2, PageSize)) {
			t.Errorf("mode %d: a read is staler than a second", mode)
		}
		if c := b.h.taken(); !slices.Equal(c, []string{"stat", "read 0+4096"}) {
			t.Errorf("mode %d: host calls %q", mode, c)
		}
	}
}

// TestPagesAge: under ModeAuto a page is read again after a second though the stamp has not
// changed, under ModeAlways it is not, and ModeNever asks every time.
func TestPagesAge(t *testing.T) {
	for mode, want := range map[Mode][]string{
		ModeAlways: {"stat"}, ModeAuto: {"stat", "read 0+4096"}, ModeNever: {"read 0+4096"}, ModeMetadata: {"read 0+4096"},
	} {
		b := newBench(t, 8, pattern(1, PageSize))
		b.read(0, PageSize)
		b.clock.advance(trust)
		b.use(mode)
		b.h.taken()
		b.read(0, PageSize)
		if got := b.h.taken(); !slices.Equal(got, want) {
			t.Errorf("mode %d: host calls %q, want %q", mode, got, want)
		}
	}
}

// TestObserve: what the daemon sees of a host-side change, no reader is behind of.
func TestObserve(t *testing.T) {
	b := newBench(t, 8, pattern(1, 2*PageSize))
	b.read(0, 2*PageSize)
	b.h.taken()
	b.observe(false)
	b.observe(true)
	checkPresent(t, b, []int64{0, 1})
	b.h.foreign(5, []byte{1, 2, 3})
	b.observe(false)
	checkPresent(t, b, nil)
	// The stamp is young now: seen again it proves nothing, and an open drops what was kept.
	b.read(0, 2*PageSize)
	b.observe(false)
	checkPresent(t, b, []int64{0, 1})
	b.observe(true)
	checkPresent(t, b, nil)
	b.read(0, 2*PageSize)
	b.clock.advance(trust)
	b.read(0, PageSize) // the check of each second
	checkPresent(t, b, []int64{0})
	b.clock.advance(settled)
	b.read(0, PageSize) // takes a stamp that is old enough
	b.clock.advance(trust)
	b.h.taken()
	b.read(0, PageSize)
	if c := b.h.taken(); !slices.Equal(c, []string{"stat"}) {
		t.Errorf("a settled file: host calls %q", c)
	}
}

// TestObserveDuringFill: what is read while the host changes the file is not kept.
func TestObserveDuringFill(t *testing.T) {
	for name, change := range map[string]func(b *bench){
		"host":      func(b *bench) { b.h.foreign(0, []byte{9}); b.observe(false) },
		"write":     func(b *bench) { _, _ = b.write(1, []byte{9}, 0) },
		"direct":    func(b *bench) { _, _ = b.write(1, []byte{9}, WriteDirect) },
		"truncate":  func(b *bench) { _ = b.f.Truncate(nil, 10) },
		"allocate":  func(b *bench) { _ = b.f.Allocate(nil, unix.FALLOC_FL_ZERO_RANGE, 0, 10) },
		"copy":      func(b *bench) { _, _ = b.f.CopyTo(nil, b.f, PageSize, 0, 10) },
		"append":    func(b *bench) { _ = b.f.Truncate(nil, 0); _, _ = b.write(0, []byte{9}, WriteAppend) },
		"syncfs":    func(b *bench) { b.c.DropAll() },
		"dax":       func(b *bench) { b.f.Map() },
		"o_trunc":   func(b *bench) { _ = b.f.Change(nil, 0, -1, func() error { return nil }) },
		"elsewhere": func(b *bench) { _, _ = b.write(3*PageSize, []byte{9}, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 8, pattern(1, 4*PageSize))
			b.read(3*PageSize, 1)
			once := true
			b.h.after = func() {
				if once {
					once = false
					b.h.after = nil
					change(b)
				}
			}
			b.read(0, PageSize)
			want := []int64{}
			if name == "elsewhere" {
				want = []int64{0}
			}
			got := []int64{}
			for n := range b.pages() {
				got = append(got, n)
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages %v are kept, want %v", got, want)
			}
			b.checkPages()
		})
	}
}

// TestOwnChanges: pages that a change does not touch survive the stamp that it moves, unless the
// file was not what the stamp said before.
func TestOwnChanges(t *testing.T) {
	for name, change := range map[string]func(b *bench) error{
		"write":    func(b *bench) error { _, err := b.write(2*PageSize, pattern(2, 10), 0); return err },
		"direct":   func(b *bench) error { _, err := b.write(2*PageSize, pattern(2, 10), WriteDirect); return err },
		"append":   func(b *bench) error { _, err := b.write(0, pattern(2, 10), WriteAppend); return err },
		"truncate": func(b *bench) error { return b.f.Truncate(nil, 2*PageSize) },
		"punch": func(b *bench) error {
			return b.f.Allocate(nil, unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE, 2*PageSize, 10)
		},
		"chmod": func(b *bench) error {
			return b.c.Metadata(testKey, b.h.stamp, func() error { b.h.mtime++; return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 8, pattern(1, 3*PageSize))
			b.read(0, PageSize)
			if err := change(b); err != nil {
				t.Fatal(err)
			}
			b.observe(false)
			if b.pages()[0] == 0 {
				t.Error("a page that was not touched is gone")
			}
			b.h.foreign(0, pattern(5, 10))
			if err := change(b); err != nil {
				t.Fatal(err)
			}
			b.observe(false)
			if b.pages()[0] != 0 {
				t.Error("a page that the host changed before is still there")
			}
			b.checkPages()
		})
	}
}

// TestStampFails: a statx that fails costs pages, not the request.
func TestStampFails(t *testing.T) {
	b := newBench(t, 8, pattern(1, 2*PageSize))
	b.read(0, PageSize)
	b.h.before = func(op string, _ int64, _ int) (int, error) {
		if op == "stat" {
			return 0, unix.EIO
		}
		return -1, nil
	}
	if n, err := b.write(PageSize, pattern(2, PageSize), 0); n != PageSize || err != nil {
		t.Errorf("a write: %d, %v", n, err)
	}
	b.h.before = nil
	b.observe(false)
	checkPresent(t, b, nil)
	b.clock.advance(time.Hour)
	b.clock.advance(-2 * time.Hour)
	b.read(0, PageSize) // a clock that was set back
	b.clock.advance(-time.Hour)
	b.h.taken()
	b.read(0, PageSize)
	if c := b.h.taken(); !slices.Contains(c, "stat") {
		t.Error("a clock that is set back makes pages trusted for long")
	}
}

// TestBlank: a file is to be looked at by who opens it as soon as there are pages, or they are on their way.
func TestBlank(t *testing.T) {
	b := newBench(t, 8, pattern(1, 4*PageSize))
	b.c.eager = false
	blank := func(what string, want bool) {
		t.Helper()
		if got := b.f.Blank(); got != want {
			t.Errorf("%s: blank: %v", what, got)
		}
	}
	blank("at first", true)
	b.h.before = func(op string, _ int64, _ int) (int, error) {
		if op == "read" {
			blank("while a page is read", false)
		}
		if op == "write" {
			blank("while a page is written", false)
		}
		return -1, nil
	}
	_, _ = b.write(PageSize, pattern(2, 10), 0)
	blank("after a write past the pages", true)
	b.read(0, PageSize)
	blank("with a page", false)
	b.c.DropAll()
	blank("without it", true)
}
