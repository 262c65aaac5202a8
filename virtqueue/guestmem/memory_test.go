// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"errors"
	"math"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRefusedRegions(t *testing.T) {
	const size = 0x4000
	have := Region{GPA: 0x10000, Size: 0x2000, UserAddr: 0x7f0000010000}
	for _, tc := range []struct {
		name string
		r    Region
	}{
		{"empty", Region{GPA: 0x1000}},
		{"guest address overflow", Region{GPA: math.MaxUint64 - 0xfff, Size: 0x1001}},
		{"user address overflow", Region{Size: 0x1001, UserAddr: math.MaxUint64 - 0xfff}},
		{"file offset overflow", Region{Size: 0x1000, FileOffset: math.MaxUint64 - 0xfff}},
		{"file offset beyond int64", Region{Size: 0x1000, FileOffset: math.MaxInt64 - 0xfff}},
		{"size beyond int64", Region{Size: math.MaxInt64 + 1}},
		{"size near int64", Region{Size: math.MaxInt64}},
		{"beyond the file's end", Region{Size: size + 1}},
		{"offset at the file's end", Region{Size: 1, FileOffset: size}},
		{"same start, other size", Region{GPA: have.GPA, Size: 0x1000, UserAddr: have.UserAddr}},
		{"same range, other user address", Region{GPA: have.GPA, Size: have.Size}},
		{"overlaps the first byte", Region{GPA: have.GPA - 0xfff, Size: 0x1000}},
		{"overlaps the last byte", Region{GPA: have.GPA + have.Size - 1, Size: 0x1000}},
		{"covers it", Region{GPA: have.GPA - 0x800, Size: 0x3000}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := New()
			defer m.Reset()
			mustAdd(t, m, have, memfd(t, "have", size))
			gen := m.Generation()
			fd := memfd(t, "refused", size)
			if err := m.Add(tc.r, fd); !errors.Is(err, ErrRegion) {
				t.Errorf("Add: %v, want ErrRegion", err)
			}
			if isOpen(fd) {
				t.Error("Add left the fd open")
			}
			fds := []int{memfd(t, "have", size), memfd(t, "refused", size)}
			if err := m.Replace([]Region{have, tc.r}, fds); !errors.Is(err, ErrRegion) {
				t.Errorf("Replace: %v, want ErrRegion", err)
			}
			if isOpen(fds[0]) || isOpen(fds[1]) {
				t.Error("Replace left fds open")
			}
			if m.Generation() != gen || mapped(t, "have") != 1 || mapped(t, "refused") != 0 {
				t.Error("a refused change left something behind")
			}
		})
	}
}

func TestRefusedFiles(t *testing.T) {
	m := New()
	defer m.Reset()
	r := Region{Size: 0x1000}
	if err := m.Add(r, -1); !errors.Is(err, unix.EBADF) {
		t.Errorf("no file: %v, want EBADF", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Add(r, event); !errors.Is(err, unix.ENODEV) {
		t.Errorf("eventfd: %v, want ENODEV", err)
	}
	fd := memfd(t, "short", 0x1000)
	if err := m.Replace([]Region{r, {GPA: 0x1000, Size: 1}}, []int{fd}); !errors.Is(err, ErrRegion) {
		t.Errorf("one file for two regions: %v, want ErrRegion", err)
	}
	if isOpen(fd) {
		t.Error("fd left open")
	}
}

func TestTooManyRegions(t *testing.T) {
	m := New()
	defer m.Reset()
	file := closing(t, memfd(t, "many", 0x1000))
	var rs []Region
	var fds []int
	for i := range uint64(MaxRegions + 1) {
		rs = append(rs, Region{GPA: i * 0x1000, Size: 0x1000})
		fds = append(fds, mustDup(t, file))
	}
	if err := m.Replace(rs, fds); !errors.Is(err, ErrRegion) {
		t.Fatalf("Replace with %d: %v, want ErrRegion", len(rs), err)
	}
	for i := range rs[:MaxRegions] {
		mustAdd(t, m, rs[i], mustDup(t, file))
	}
	if err := m.Add(rs[MaxRegions], mustDup(t, file)); !errors.Is(err, ErrRegion) {
		t.Fatalf("one more: %v, want ErrRegion", err)
	}
	// The full table still takes a region that replaces one.
	mustAdd(t, m, rs[7], mustDup(t, file))
}

func TestLifetime(t *testing.T) {
	m := New()
	r := Region{GPA: 0x1000, Size: 0x2000, UserAddr: 0x5000}
	mustAdd(t, m, r, memfd(t, "life", 0x2000))
	old := m.Acquire()
	view, err := old.Slice(0x1000, 0x2000)
	if err != nil {
		t.Fatal(err)
	}
	gen := m.Generation()
	if old.Generation() != gen {
		t.Errorf("generation of the table %d, of the memory %d", old.Generation(), gen)
	}
	// The file offset does not count.
	if err := m.Remove(Region{GPA: r.GPA, Size: r.Size, UserAddr: r.UserAddr, FileOffset: 77}); err != nil {
		t.Fatal(err)
	}
	if m.Generation() == gen {
		t.Error("the generation did not change")
	}
	if err := m.Remove(r); !errors.Is(err, ErrNoRegion) {
		t.Errorf("second Remove: %v, want ErrNoRegion", err)
	}
	if view[5] != pattern(5) || mapped(t, "life") != 1 {
		t.Error("the region went while a table had it")
	}
	old.Release()
	if n := mapped(t, "life"); n != 0 {
		t.Errorf("%d mappings left after the last release", n)
	}
}

func TestAddIdenticalReplaces(t *testing.T) {
	m := New()
	r := Region{GPA: 0x1000, Size: 0x1000, UserAddr: 0x5000}
	mustAdd(t, m, r, memfd(t, "first", 0x1000))
	r.FileOffset = 0x800
	mustAdd(t, m, r, memfd(t, "second", 0x2000))
	if mapped(t, "first") != 0 || mapped(t, "second") != 1 {
		t.Error("the old file is still mapped, or the new one is not")
	}
	tab := m.Acquire()
	b, err := tab.Slice(0x1000, 1)
	if err != nil || b[0] != pattern(0x800) {
		t.Errorf("not the new file's bytes: %v, %v", b, err)
	}
	tab.Release()
	m.Reset()
	if mapped(t, "second") != 0 {
		t.Error("Reset left a mapping")
	}
}

func TestHugePages(t *testing.T) {
	fd, err := unix.MemfdCreate("huge", unix.MFD_CLOEXEC|unix.MFD_HUGETLB)
	if err != nil {
		t.Fatalf("memfd of huge pages: %v", err)
	}
	if err := unix.Ftruncate(fd, 8<<20); err != nil {
		t.Fatal(err)
	}
	m := New()
	// Neither offset nor size is that of a huge page; mapping does not need free ones.
	mustAdd(t, m, Region{Size: 3<<20 + 5, FileOffset: 1<<20 + 3}, fd)
	if n := mapped(t, "huge"); n != 1 {
		t.Errorf("%d mappings, want 1", n)
	}
	m.Reset() // panics if it cannot unmap
	if n := mapped(t, "huge"); n != 0 {
		t.Errorf("%d mappings left", n)
	}
}

// Users that read while the table is replaced all the time see whole tables, and memory that stays.
func TestReplaceWhileInUse(t *testing.T) {
	m := New()
	file := closing(t, memfd(t, "churn", 0x4000))
	mustAdd(t, m, Region{Size: 0x4000}, mustDup(t, file))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				tab := m.Acquire()
				b, err := tab.Slice(0x123, 0x3000)
				if err != nil || b[0x2000] != pattern(0x2123) {
					t.Errorf("lost memory: %v", err)
				}
				tab.Release()
			}
		})
	}
	for range 500 {
		if err := m.Replace([]Region{{Size: 0x4000}}, []int{mustDup(t, file)}); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	m.Reset()
	if n := mapped(t, "churn"); n != 0 {
		t.Errorf("%d mappings left", n)
	}
}

// TestFilesThatAreNoMemory: by what stat and statfs say of them.
func TestFilesThatAreNoMemory(t *testing.T) {
	for name, tt := range map[string]struct {
		mode uint32
		dev  uint64
		fs   int64
		ok   bool
	}{
		"memfd":            {unix.S_IFREG, 0, unix.TMPFS_MAGIC, true},
		"huge pages":       {unix.S_IFREG, 0, unix.HUGETLBFS_MAGIC, true},
		"file on ext4":     {unix.S_IFREG, 0, unix.EXT4_SUPER_MAGIC, true},
		"DAX device":       {unix.S_IFCHR, unix.Mkdev(252, 0), unix.TMPFS_MAGIC, true},
		"anonymous inode":  {0, 0, unix.ANON_INODE_FS_MAGIC, true},
		"/dev/zero":        {unix.S_IFCHR, unix.Mkdev(1, 5), unix.TMPFS_MAGIC, false},
		"/dev/mem":         {unix.S_IFCHR, unix.Mkdev(1, 1), unix.TMPFS_MAGIC, false},
		"disk":             {unix.S_IFBLK, unix.Mkdev(8, 0), unix.TMPFS_MAGIC, false},
		"file on FUSE":     {unix.S_IFREG, 0, unix.FUSE_SUPER_MAGIC, false},
		"file on NFS":      {unix.S_IFREG, 0, unix.NFS_SUPER_MAGIC, false},
		"file on SMB":      {unix.S_IFREG, 0, unix.SMB2_SUPER_MAGIC, false},
		"file on a 9p one": {unix.S_IFREG, 0, unix.V9FS_MAGIC, false},
	} {
		err := checkFile(&unix.Stat_t{Mode: tt.mode | 0o600, Rdev: tt.dev}, &unix.Statfs_t{Type: tt.fs})
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrRegion) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
