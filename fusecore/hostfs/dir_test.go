// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// page reads one READDIR or READDIRPLUS of size bytes from off on.
func (s *share) page(dir, fh, off uint64, size int, plus bool) ([]fuse.DirEntry, []fuse.EntryOut) {
	s.t.Helper()
	list := fuse.NewDirEntryList(make([]byte, size), off)
	in := &fuse.ReadIn{InHeader: header(dir), Fh: fh, Offset: off, Size: uint32(size)}
	if !plus {
		s.ok("readdir", s.ReadDir(nil, in, list))
		e, err := fuse.ParseDirEntries(list.Bytes())
		if err != nil {
			s.t.Fatal(err)
		}
		return e, nil
	}
	s.ok("readdirplus", s.ReadDirPlus(nil, in, list))
	e, outs, err := fuse.ParseDirLookupEntries(list.Bytes())
	if err != nil {
		s.t.Fatal(err)
	}
	return e, outs
}

// all reads a directory to its end.
func (s *share) all(dir, fh uint64, size int, plus bool) (entries []fuse.DirEntry, outs []fuse.EntryOut) {
	s.t.Helper()
	off := uint64(0)
	for {
		e, o := s.page(dir, fh, off, size, plus)
		if len(e) == 0 {
			return entries, outs
		}
		entries, outs = append(entries, e...), append(outs, o...)
		off = e[len(e)-1].Off
	}
}

func fill(t *testing.T, s *share, dir string, n int) map[string]bool {
	t.Helper()
	names := map[string]bool{".": true, "..": true}
	for i := range n {
		name := fmt.Sprint(i, strings.Repeat("n", i*7%240))
		names[name] = true
		s.put(dir+"/"+name, "")
	}
	return names
}

func TestReadDir(t *testing.T) {
	s := newShare(t, Config{})
	dir := s.mkdir(1, "d")
	names := fill(t, s, "d", 500)
	for _, plus := range []bool{false, true} {
		for _, size := range []int{512, 1000, 4096, 1 << 20} {
			fh := s.openDirectory(dir)
			seen := map[string]bool{}
			entries, outs := s.all(dir, fh, size, plus)
			for i, e := range entries {
				if seen[e.Name] || !names[e.Name] {
					t.Fatalf("plus %v, size %d: %q came twice or is none", plus, size, e.Name)
				}
				seen[e.Name] = true
				if plus {
					s.checkPlus(dir, e, outs[i])
				}
			}
			if len(seen) != len(names) {
				t.Errorf("plus %v, size %d: %d of %d names", plus, size, len(seen), len(names))
			}
			s.ReleaseDir(&fuse.ReleaseIn{InHeader: header(dir), Fh: fh})
		}
	}
	if got := s.nodes.Len(); got != 2 {
		t.Errorf("%d nodes after all were forgotten: entries that were not returned were counted", got)
	}
}

// checkPlus compares an entry with a lookup and forgets both.
func (s *share) checkPlus(dir uint64, e fuse.DirEntry, out fuse.EntryOut) {
	s.t.Helper()
	if e.Name == "." || e.Name == ".." {
		if out.NodeId != 0 || e.Ino == 0 {
			s.t.Errorf("%s has node %d, inode %d", e.Name, out.NodeId, e.Ino)
		}
		return
	}
	l := s.lookupAt(dir, e.Name)
	if out.NodeId != l.NodeId || out.Attr != l.Attr || e.Ino != out.Ino || e.Mode != out.Mode&unix.S_IFMT || out.EntryValid != 1 {
		s.t.Errorf("%q: %+v, lookup says %+v", e.Name, out, l)
	}
	s.Forget(out.NodeId, 1)
	s.Forget(out.NodeId, 1)
}

// TestSeekDir goes back to offsets that entries brought, in any order.
func TestSeekDir(t *testing.T) {
	s := newShare(t, Config{})
	dir := s.mkdir(1, "d")
	fill(t, s, "d", 100)
	fh := s.openDirectory(dir)
	first, _ := s.all(dir, fh, 4096, false)
	for _, i := range []int{50, 3, 99, 0, 98, 50} {
		rest, _ := s.page(dir, fh, first[i].Off, 1<<16, false)
		if len(rest) != len(first)-i-1 || len(rest) > 0 && rest[0].Name != first[i+1].Name {
			t.Errorf("after entry %d: %d entries", i, len(rest))
		}
	}
	if again, _ := s.all(dir, fh, 512, false); len(again) != len(first) {
		t.Errorf("rewound: %d entries, first %d", len(again), len(first))
	}
	h, err := s.open.directory(fh, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.release()
	var buf [listBuf]byte
	for _, i := range []int{70, 0, len(first) - 1} {
		if err := h.walk(first[i].Off, buf[:]); err != nil {
			t.Fatalf("walk to entry %d: %v", i, err)
		}
		h.dir.off, h.dir.lost = first[i].Off, false
		if rest, _ := s.page(dir, fh, first[i].Off, 1<<16, false); len(rest) != len(first)-i-1 {
			t.Errorf("walked to entry %d: %d follow", i, len(rest))
		}
	}
	list := fuse.NewDirEntryList(make([]byte, 4096), 0)
	st := s.ReadDir(nil, &fuse.ReadIn{InHeader: header(dir), Fh: fh, Offset: 1<<63 + 12345, Size: 4096}, list)
	want(t, "an offset that never was", st, unix.EINVAL)
	if again, _ := s.all(dir, fh, 4096, false); len(again) != len(first) {
		t.Errorf("after a bad offset: %d entries, first %d", len(again), len(first))
	}
	st = s.ReadDir(nil, &fuse.ReadIn{InHeader: header(dir), Fh: fh, Size: 16}, fuse.NewDirEntryList(make([]byte, 16), 0))
	want(t, "a buffer for no entry", st, unix.EINVAL)
}

// TestRootParent: the share's ".." is the share.
func TestRootParent(t *testing.T) {
	s := newShare(t, Config{})
	a, _ := s.attrOf(1)
	entries, _ := s.all(1, s.openDirectory(1), 4096, false)
	if len(entries) != 2 || entries[0].Ino != a.Ino || entries[1].Ino != a.Ino {
		t.Errorf("%+v, root is %d", entries, a.Ino)
	}
}

// TestReadDirPlusWithoutFDs: names come without attributes rather than not at all.
func TestReadDirPlusWithoutFDs(t *testing.T) {
	s := newShare(t, Config{MaxInodes: 11})
	dir := s.mkdir(1, "d")
	names := fill(t, s, "d", 50)
	entries, outs := s.all(dir, s.openDirectory(dir), 4096, true)
	known := 0
	for _, o := range outs {
		if o.NodeId != 0 {
			known++
		}
	}
	if len(entries) != len(names) || known != 10 {
		t.Errorf("%d names of %d, %d with a node, 10 had room", len(entries), len(names), known)
	}
}

// TestRemoveWhileReading deletes what a page brought before the next, as rm -r does.
func TestRemoveWhileReading(t *testing.T) {
	s := newShare(t, Config{})
	dir := s.mkdir(1, "d")
	fill(t, s, "d", 300)
	fh, off := s.openDirectory(dir), uint64(0)
	for {
		page, _ := s.page(dir, fh, off, 2048, false)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if h := header(dir); e.Name != "." && e.Name != ".." {
				s.ok("unlink", s.Unlink(nil, &h, e.Name))
			}
		}
		off = page[len(page)-1].Off
	}
	if left, err := os.ReadDir(s.path("d")); err != nil || len(left) != 0 {
		t.Errorf("%d left, %v", len(left), err)
	}
}

// TestReadDirError: an error does not take entries away that count as looked up already.
func TestReadDirError(t *testing.T) {
	s := newShare(t, Config{})
	dir := s.mkdir(1, "d")
	names := fill(t, s, "d", 3)
	in := &fuse.ReadIn{InHeader: header(dir), Fh: s.openDirectory(dir), Size: 1 << 16}
	list := fuse.NewDirEntryList(make([]byte, in.Size), 0)
	s.ok("readdirplus", s.ReadDirPlus(nil, in, list))
	entries, _, err := fuse.ParseDirLookupEntries(list.Bytes())
	if err != nil || len(entries) != len(names) {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	if err := os.RemoveAll(s.path("d")); err != nil {
		t.Fatal(err)
	}
	in.Offset = entries[len(entries)-1].Off
	before := len(list.Bytes())
	s.ok("readdirplus that goes on in a removed directory", s.ReadDirPlus(nil, in, list))
	if got := len(list.Bytes()); got != before {
		t.Errorf("%d bytes of entries, %d before", got, before)
	}
	st := s.ReadDirPlus(nil, in, fuse.NewDirEntryList(make([]byte, in.Size), in.Offset))
	want(t, "the next readdirplus", st, unix.ENOENT)
}
