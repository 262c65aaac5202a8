// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"testing"
	"time"
)

// TestMappingEndsWhileFramesAreFreed: who drops pages frees their frames a moment later; the mapping may
// have ended by then, and eviction may come to them first.
func TestMappingEndsWhileFramesAreFreed(t *testing.T) {
	clock := newClock()
	c := newTestCache(2, clock, true)
	open := func(ino uint64) *File {
		return c.Open(Key{Ino: ino}, Handle{Host: &fakeHost{clock: clock, data: pattern(byte(ino), 2*PageSize)}, Mode: ModeAlways})
	}
	read := func(f *File) {
		if _, err := f.ReadAt(nil, [][]byte{make([]byte, 2*PageSize)}, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	f, g := open(1), open(2)
	read(f)
	m := f.m
	m.mu.Lock() // unlock in two steps
	m.dropAll()
	freed := m.freed
	m.freed = nil
	m.mu.Unlock()
	f.Close()
	read(g)
	if len(freed) != 2 || len(g.m.pages) != 0 {
		t.Errorf("%d frames on their way, and %d pages in them", len(freed), len(g.m.pages))
	}
	c.mu.Lock()
	c.evictIdle()
	c.mu.Unlock()
	c.free(freed)
	g.Close()
	(&bench{t: t, c: c}).checkLeaks()
}

// TestMappingsAreBounded: closed files whose pages are gone cost nothing, though the guest knows them.
func TestMappingsAreBounded(t *testing.T) {
	for name, lose := range map[string]func(c *Cache, k Key){
		"evicted":  func(*Cache, Key) {},
		"observed": func(c *Cache, k Key) { c.Observe(k, Stamp{Size: 1}, false) },
	} {
		clock := newClock()
		c := newTestCache(32, clock, true)
		for i := range uint64(5000) {
			h := &fakeHost{clock: clock, data: pattern(byte(i), PageSize)}
			k := Key{Ino: i}
			f := c.Open(k, Handle{Host: h, Mode: ModeAlways})
			if _, err := f.ReadAt(nil, [][]byte{make([]byte, PageSize)}, 0, 0); err != nil {
				t.Fatal(err)
			}
			f.Close()
			lose(c, k)
			if n := len(c.mappings); n > 2*32 || len(c.lost) > n+maxReaped {
				t.Fatalf("%s: %d mappings after %d files, %d on the list", name, n, i+1, len(c.lost))
			}
		}
		if len(c.owners) > 2*32+1 {
			t.Errorf("%s: room for %d mappings", name, len(c.owners))
		}
	}
}

// TestReapLeavesOpenFiles: a file that is open, or has pages, keeps its mapping.
func TestReapLeavesOpenFiles(t *testing.T) {
	b := newBench(t, 8, pattern(1, PageSize))
	b.read(0, PageSize)
	b.c.Observe(testKey, Stamp{Size: 1}, false)
	b.c.Open(Key{Ino: 8}, Handle{Host: b.h, Mode: ModeAlways}).Close() // looks at the list
	if b.c.find(testKey) != b.f.m {
		t.Fatal("an open file has lost its mapping")
	}
	b.read(0, PageSize)
	b.f.Close()
	b.c.Open(Key{Ino: 9}, Handle{Host: b.h, Mode: ModeAlways}).Close()
	b.f = b.c.Open(testKey, Handle{Host: b.h, Mode: ModeAlways})
	checkPresent(t, b, []int64{0})
}

// TestSizeFromBeforeAChange: what a write learns of the file's size before it does not count if the file
// was seen in another state meanwhile: bytes that another process has written are not taken for zeros.
func TestSizeFromBeforeAChange(t *testing.T) {
	b := newBench(t, 8, nil)
	once := true
	b.h.after = func() { // between the statx of the write and its host write
		if once {
			once = false
			b.h.foreign(0, pattern(2, 200))
			b.observe(false)
		}
	}
	if n, err := b.write(200, pattern(3, 100), 0); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	if got := b.read(0, 200); !bytes.Equal(got, pattern(2, 200)) {
		t.Error("zeros are read where another process has written, which the guest has seen")
	}
	b.checkPages()
}

// TestClockSetBack: after the host's clock was set back, files are not asked about at each read.
func TestClockSetBack(t *testing.T) {
	b := newBench(t, 8, pattern(1, PageSize))
	b.h.mtime -= int64(24 * time.Hour)
	b.read(0, PageSize)
	b.clock.advance(-time.Hour)
	b.read(0, PageSize)
	b.h.taken()
	b.read(0, PageSize)
	if c := b.h.taken(); len(c) > 0 {
		t.Errorf("host calls %q", c)
	}
}
