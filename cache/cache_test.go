// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestScans: pages that are hit stay while a long file is read once.
func TestScans(t *testing.T) {
	b := newBench(t, 100, pattern(1, 1000*PageSize))
	hot := func() {
		for n := range int64(20) {
			b.read(n*PageSize, PageSize)
		}
	}
	hot()
	hot()
	for n := int64(100); n < 1000; n++ {
		b.read(n*PageSize, PageSize)
	}
	b.h.taken()
	hot()
	if c := b.h.taken(); len(c) > 0 {
		t.Errorf("a scan has pushed %d of 20 hot pages out", len(c))
	}
	if got := len(b.pages()); got > 100 {
		t.Errorf("%d pages in 100 frames", got)
	}
	b.checkPages()
}

// TestGhosts: a page that comes again soon after it was thrown out stays longer.
func TestGhosts(t *testing.T) {
	b := newBench(t, 10, pattern(1, 100*PageSize))
	// One whose place among the ghosts is not that of page 10, which is thrown out next.
	place := func(n int64) uint64 { return pageHash(b.f.m, n) & b.c.ghosts.mask }
	first := int64(0)
	for place(first) == place(10) {
		first++
	}
	b.read(first*PageSize, PageSize)
	for n := int64(10); n < 20; n++ {
		b.read(n*PageSize, PageSize)
	}
	if b.pages()[first] != 0 {
		t.Fatal("the first page was not thrown out")
	}
	b.read(first*PageSize, PageSize)
	for n := int64(30); n < 60; n++ {
		b.read(n*PageSize, PageSize)
	}
	if b.pages()[first] == 0 {
		t.Error("it was thrown out again by pages that came once")
	}
}

// TestIdleMemory: the system gets the memory of a cache that nobody uses back.
func TestIdleMemory(t *testing.T) {
	clock := newClock()
	h := &fakeHost{clock: clock, data: pattern(1, 64*PageSize)}
	c, err := New(Options{Size: 64 * PageSize, Now: clock.now, Idle: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	f := c.Open(testKey, Handle{Host: h, Mode: ModeAlways})
	for round := range 3 {
		buf := make([]byte, 16*PageSize)
		if _, err := f.ReadAt(nil, [][]byte{buf}, 0, 0); err != nil || !bytes.Equal(buf, h.data[:len(buf)]) {
			t.Fatalf("round %d: %v", round, err)
		}
		if c.trim.timer == nil {
			t.Fatalf("round %d: no timer runs", round)
		}
		for pass, want := range []int{16, 0} { // the first only notes that the cache is used
			if c.trim.pass(); resident(t, c) != want {
				t.Errorf("round %d, pass %d: %d pages are in memory, want %d", round, pass, resident(t, c), want)
			}
		}
		if c.trim.timer != nil {
			t.Errorf("round %d: a timer runs for nothing", round)
		}
	}
	f.Close()
	c.Forget(testKey)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// resident is the number of the cache's pages that the system holds memory for (bit 63 of
// Linux Documentation/admin-guide/mm/pagemap.rst).
func resident(t *testing.T, c *Cache) (n int) {
	t.Helper()
	addr, err := strconv.ParseUint(fmt.Sprintf("%p", c.mem)[2:], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	pagemap, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer pagemap.Close()
	words := make([]byte, 8*c.frames)
	if _, err := pagemap.ReadAt(words, int64(addr/PageSize*8)); err != nil {
		t.Fatal(err)
	}
	for i := range c.frames {
		n += int(words[i*8+7] >> 7)
	}
	return n
}

// TestLifetime: pages outlive a close, but not the inode.
func TestLifetime(t *testing.T) {
	b := newBench(t, 8, pattern(1, PageSize))
	b.read(0, PageSize)
	b.use(ModeAlways)
	checkPresent(t, b, []int64{0})
	b.f.Close()
	b.f = b.c.Open(testKey, Handle{Host: b.h, Mode: ModeAlways})
	checkPresent(t, b, []int64{0})
	// Forgotten while open: the pages go with the last File.
	b.c.Forget(testKey)
	checkPresent(t, b, []int64{0})
	b.f.Close()
	next := &fakeHost{clock: b.clock, data: pattern(2, PageSize), mtime: b.h.mtime}
	b.f = b.c.Open(testKey, Handle{Host: next, Mode: ModeAlways})
	if got := b.read(0, PageSize); !bytes.Equal(got, next.data) {
		t.Error("a file shows bytes of another that had its inode number")
	}
	b.f.Close()
	b.c.Forget(testKey) // while closed
	b.f = b.c.Open(testKey, Handle{Host: b.h, Mode: ModeAlways})
	if got := b.read(0, PageSize); !bytes.Equal(got, b.h.data) {
		t.Error("the same the other way round")
	}
	b.c.Forget(Key{Dev: 5})
	b.c.Observe(Key{Dev: 5}, Stamp{}, true)
}

// TestManyMappings: files come and go while others push their pages out.
func TestManyMappings(t *testing.T) {
	clock := newClock()
	c := newTestCache(8, clock, true)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				k := Key{Ino: uint64(i % 5)}
				h := &fakeHost{clock: clock, data: pattern(byte(i%5), 4*PageSize)}
				f := c.Open(k, Handle{Host: h, Mode: ModeAlways})
				buf := make([]byte, 4*PageSize)
				if _, err := f.ReadAt(nil, [][]byte{buf}, 0, 0); err != nil || !bytes.Equal(buf, h.data) {
					t.Errorf("file %d: wrong bytes, %v", i%5, err)
				}
				f.Close()
				if (i+g)%3 == 0 {
					c.Forget(k)
				}
			}
		})
	}
	wg.Wait()
	for i := range uint64(5) {
		c.Forget(Key{Ino: i})
	}
	b := bench{t: t, c: c}
	b.checkLeaks()
	if len(c.owners)-1 != len(c.spare) {
		t.Errorf("%d of %d places of mappings are free", len(c.spare), len(c.owners)-1)
	}
}

// TestNothingKept: what may not keep pages keeps none, and every answer is right.
func TestNothingKept(t *testing.T) {
	for name, setup := range map[string]func(b *bench){
		"never":    func(b *bench) { b.use(ModeNever) },
		"metadata": func(b *bench) { b.use(ModeMetadata) },
		"untrusted": func(b *bench) {
			b.f.Close()
			b.f = b.c.Open(testKey, Handle{Host: b.h, Mode: ModeAlways, Untrusted: true})
		},
		"dax": func(b *bench) { b.f.Map() },
	} {
		b := newBench(t, 8, pattern(1, 2*PageSize))
		setup(b)
		b.h.taken()
		b.read(0, 2*PageSize)
		if n, err := b.write(5, pattern(2, PageSize), 0); n != PageSize || err != nil {
			t.Error(name, n, err)
		}
		if c := b.h.taken(); len(c) != 2 {
			t.Errorf("%s: host calls %q", name, c)
		}
		checkPresent(t, b, nil)
		if name == "dax" {
			b.f.Unmap()
			b.read(0, PageSize)
			checkPresent(t, b, []int64{0})
		}
	}
}

// TestTrusted holds the list against real file systems of this host.
func TestTrusted(t *testing.T) {
	for fs, want := range map[int64]bool{
		unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true,
		unix.OVERLAYFS_SUPER_MAGIC: false, unix.FUSE_SUPER_MAGIC: false, unix.V9FS_MAGIC: false, unix.NFS_SUPER_MAGIC: false,
		unix.SMB2_SUPER_MAGIC: false, unix.MSDOS_SUPER_MAGIC: false, unix.PROC_SUPER_MAGIC: false, 0: false,
	} {
		if Trusted(fs) != want {
			t.Errorf("type %#x is trusted: %v", fs, !want)
		}
	}
}

// TestNewRefuses sizes that make no sense.
func TestNewRefuses(t *testing.T) {
	for _, size := range []int64{-1, -PageSize, 1 << 60} {
		if _, err := New(Options{Size: size}); err == nil {
			t.Errorf("a cache of %d bytes", size)
		}
	}
}

// TestNoAllocations: the way of a hit and of a small write makes no garbage.
func TestNoAllocations(t *testing.T) {
	clock := newClock()
	h := &fakeHost{clock: clock, data: pattern(1, 4*PageSize)}
	c := newTestCache(8, clock, false)
	f := c.Open(testKey, Handle{Host: quiet{h}, Mode: ModeAlways})
	dst := [][]byte{make([]byte, PageSize)}
	for what, do := range map[string]func(){
		"hit":          func() { _, _ = f.ReadAt(nil, dst, PageSize, 0) },
		"direct read":  func() { _, _ = f.ReadAt(nil, dst, PageSize, ReadDirect) },
		"write":        func() { _, _ = f.WriteAt(nil, dst, PageSize, 0) },
		"direct write": func() { _, _ = f.WriteAt(nil, dst, 2*PageSize, WriteDirect) },
	} {
		do()
		limit := 1.0
		if raceDetector {
			limit = 4
		}
		if n := testing.AllocsPerRun(100, do); n >= limit {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// quiet is a host that takes everything and makes no garbage.
type quiet struct{ *fakeHost }

func (q quiet) ReadAt(_ <-chan struct{}, dst [][]byte, off int64, _ bool) (int, error) {
	to := cursor{bufs: dst}
	n := size(dst)
	return n, to.scatter(q.data[off : off+int64(n)])
}
func (q quiet) WriteAt(_ <-chan struct{}, src [][]byte, off int64, _ WriteFlags) (int, error) {
	from := cursor{bufs: src}
	n := size(src)
	return n, from.gather(q.data[off : off+int64(n)])
}
func (q quiet) Stat(<-chan struct{}) (Stamp, error) { return Stamp{Size: int64(len(q.data))}, nil }
