// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
)

var allModes = []CacheMode{CacheNever, CacheMetadata, CacheAuto, CacheAlways}

// badHost are Faults that fail the operations of which it has an errno, after so many bytes.
type badHost struct {
	mu    sync.Mutex
	errs  map[string]unix.Errno
	after int64
}

func (b *badHost) set(op string, err unix.Errno) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errs = map[string]unix.Errno{op: err}
}

func (b *badHost) Before(op string, _, n int64, _ <-chan struct{}, _ func() []string) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.errs[op]; err != 0 {
		return min(b.after, n), err
	}
	return n, nil
}

// refusals are the ways in which a guest can be told that the host refused bytes.
var refusals = []struct {
	name, op string
	errno    unix.Errno
	after    int64
	do       func(s *share, f fuse.CreateOut) fuse.Status
}{
	{"write", "write", unix.ENOSPC, 0, func(s *share, f fuse.CreateOut) fuse.Status { return s.put8(f, 0, 0) }},
	{"short write", "write", unix.EIO, 3, func(s *share, f fuse.CreateOut) fuse.Status { return s.put8(f, 0, 0) }},
	{"synchronous write", "write", unix.EIO, 3, func(s *share, f fuse.CreateOut) fuse.Status { return s.put8(f, unix.O_DSYNC, 0) }},
	{"direct write", "write", unix.EDQUOT, 0, func(s *share, f fuse.CreateOut) fuse.Status { return s.put8(f, unix.O_DIRECT, 0) }},
	{"append", "write", unix.EFBIG, 0, func(s *share, f fuse.CreateOut) fuse.Status { return s.put8(f, unix.O_APPEND, 0) }},
	{"writeback", "write", unix.EIO, 3, func(s *share, f fuse.CreateOut) fuse.Status { return s.put8(f, 0, fuse.WRITE_CACHE) }},
	{"interrupted for ever", "write", unix.EINTR, 0, func(s *share, f fuse.CreateOut) fuse.Status { return s.put8(f, 0, 0) }},
	{"fsync", "fsync", unix.EIO, 0, func(s *share, f fuse.CreateOut) fuse.Status {
		return s.Fsync(nil, &fuse.FsyncIn{InHeader: header(f.NodeId), Fh: f.Fh})
	}},
	{"synchronous fallocate", "fsync", unix.EIO, 0, func(s *share, f fuse.CreateOut) fuse.Status {
		fh := s.openFile(f.NodeId, unix.O_RDWR|unix.O_DSYNC)
		return s.Fallocate(nil, &fuse.FallocateIn{InHeader: header(f.NodeId), Fh: fh, Length: 8})
	}},
	{"synchronous copy", "fsync", unix.EIO, 0, func(s *share, f fuse.CreateOut) fuse.Status {
		fh := s.openFile(f.NodeId, unix.O_RDWR|unix.O_SYNC)
		_, st := s.CopyFileRange(nil, &fuse.CopyFileRangeIn{InHeader: header(f.NodeId), FhIn: f.Fh, OffIn: page, NodeIdOut: f.NodeId, FhOut: fh, Len: 8})
		return st
	}},
	{"flush", "flush", unix.EDQUOT, 0, func(s *share, f fuse.CreateOut) fuse.Status {
		return s.Flush(nil, &fuse.FlushIn{InHeader: header(f.NodeId), Fh: f.Fh})
	}},
}

// put8 writes eight bytes.
func (s *share) put8(f fuse.CreateOut, flags, writeFlags uint32) fuse.Status {
	in := &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Size: 8, Flags: flags, WriteFlags: writeFlags}
	_, st := s.Writev(nil, in, [][]byte{[]byte("refused!")})
	return st
}

// TestPartOfDirectWrite: of a WRITE with O_DIRECT of which the host took a part, a guest is told the part if
// its kernel can tell the program, and the host's errno if not. The file is marked in both cases.
func TestPartOfDirectWrite(t *testing.T) {
	for _, mode := range allModes {
		for _, direct := range []bool{false, true} {
			bad := &badHost{after: 3}
			s := newShare(t, Config{Cache: mode, AllowDirectIO: direct, Faults: bad})
			f := s.createFile("f", unix.O_RDWR)
			bad.set("write", unix.ENOSPC)
			in := &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Size: 8, Flags: unix.O_RDWR | unix.O_DIRECT}
			n, st := s.Writev(nil, in, [][]byte{[]byte("refused!")})
			wantN, wantSt := uint32(0), fuse.Status(unix.ENOSPC)
			if f.OpenFlags&fuse.FOPEN_DIRECT_IO != 0 {
				wantN, wantSt = 3, fuse.OK
			}
			if n != wantN || st != wantSt || s.text("f") != "ref" {
				t.Errorf("%v, allowed %v: %d, %v; want %d, %v; the host has %q", mode, direct, n, st, wantN, wantSt, s.text("f"))
			}
			if s.nodes.Marks(inodes.ID(f.NodeId))&inodes.Refused == 0 {
				t.Errorf("%v, allowed %v: the file is not marked", mode, direct)
			}
		}
	}
}

// lifetimes are what all answers of the guest's about a file say: how long its attributes are good,
// and the FOPEN_* of OPEN and CREATE.
func (s *share) lifetimes(f fuse.CreateOut, name string) (attrs []time.Duration, opens []uint32) {
	s.t.Helper()
	h, e, a := header(1), fuse.EntryOut{}, fuse.AttrOut{}
	s.ok("lookup", s.Lookup(nil, &h, name, &e))
	attrs = append(attrs, e.AttrTimeout())
	s.ok("getattr", s.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(f.NodeId)}, &a))
	attrs = append(attrs, a.Timeout())
	in := fuse.GetAttrIn{InHeader: header(f.NodeId)}
	in.Flags_, in.Fh_ = fuse.FUSE_GETATTR_FH, f.Fh
	s.ok("getattr by handle", s.GetAttr(nil, &in, &a))
	attrs = append(attrs, a.Timeout())
	set := fuse.SetAttrInCommon{InHeader: header(f.NodeId), Valid: fuse.FATTR_MODE, Mode: 0o640}
	s.ok("setattr", s.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: set}, &a))
	attrs = append(attrs, a.Timeout())
	var x fuse.StatxOut
	s.ok("statx", s.Statx(nil, &fuse.StatxIn{InHeader: header(f.NodeId)}, &x))
	attrs = append(attrs, time.Duration(x.AttrValid)*time.Second+time.Duration(x.AttrValidNsec))
	s.ok("link", s.Link(nil, &fuse.LinkIn{InHeader: h, Oldnodeid: f.NodeId}, "link", &e))
	if err := os.Remove(s.path("link")); err != nil {
		s.t.Fatal(err)
	}
	attrs = append(attrs, e.AttrTimeout())
	e = s.listed(name)
	attrs = append(attrs, e.AttrTimeout())
	var o fuse.OpenOut
	s.ok("open", s.Open(nil, &fuse.OpenIn{InHeader: header(f.NodeId)}, &o))
	var c fuse.CreateOut
	s.ok("create", s.Create(nil, &fuse.CreateIn{InHeader: h}, name, &c))
	return append(attrs, c.AttrTimeout()), []uint32{o.OpenFlags, c.OpenOut.OpenFlags}
}

// listed is a file as READDIRPLUS describes it.
func (s *share) listed(name string) fuse.EntryOut {
	s.t.Helper()
	dir := s.openDirectory(1)
	list := fuse.NewDirEntryList(make([]byte, 1<<16), 0)
	s.ok("readdirplus", s.ReadDirPlus(nil, &fuse.ReadIn{InHeader: header(1), Fh: dir, Size: 1 << 16}, list))
	entries, outs, err := fuse.ParseDirLookupEntries(list.Bytes())
	if err != nil {
		s.t.Fatal(err)
	}
	i := slices.IndexFunc(entries, func(e fuse.DirEntry) bool { return e.Name == name })
	if i < 0 {
		s.t.Fatalf("%s is not listed", name)
	}
	return outs[i]
}

// checkMarked compares all answers about a file with those for one that is marked, or not.
func (s *share) checkMarked(what string, f fuse.CreateOut, name string, marked bool) {
	s.t.Helper()
	life, fopen := s.policy.timeout, s.policy.open
	if marked {
		life, fopen = 0, fopen&^fuse.FOPEN_KEEP_CACHE
	}
	attrs, opens := s.lifetimes(f, name)
	if slices.ContainsFunc(attrs, func(d time.Duration) bool { return d != life }) || slices.ContainsFunc(opens, func(o uint32) bool { return o != fopen }) {
		s.t.Errorf("%s: lifetimes %v, FOPEN flags %v; want %v and %v everywhere", what, attrs, opens, life, fopen)
	}
}

// TestMarks: after the host has refused bytes of a file, the guest is given nothing of it to keep, by
// any answer and in any mode, until it has forgotten the file; other files and guests are not touched.
func TestMarks(t *testing.T) {
	for _, mode := range allModes {
		for _, tt := range refusals {
			t.Run(string(mode)+" "+tt.name, func(t *testing.T) {
				host, pages := new(badHost), newPages(t, 64)
				s := newShare(t, Config{Faults: host, Cache: mode, Pages: pages})
				other := newShare(t, Config{Root: s.dir, Cache: mode, Pages: pages})
				s.put("f", text(1, 2*page))
				s.put("g", "untouched")
				f, g, theirs := s.opened("f", unix.O_RDWR), s.opened("g", unix.O_RDWR), other.opened("f", unix.O_RDWR)
				s.readOf(f, 2*page)
				s.checkMarked("before", f, "f", false)
				host.set(tt.op, tt.errno)
				host.after = tt.after
				st := tt.do(s, f)
				host.set("", 0)
				short := tt.name == "short write"
				if tt.errno == unix.EINTR {
					tt.errno = unix.EIO
				}
				if short != st.Ok() || !short && st != fuse.Status(tt.errno) {
					t.Errorf("%s: %v", tt.name, st)
				}
				s.checkMarked("after", f, "f", true)
				s.checkMarked("another file", g, "g", false)
				other.checkMarked("another guest", theirs, "f", false)
				for _, guest := range []*share{s, other} { // and nobody is shown what was refused
					if got, want := guest.readOf(guest.opened("f", unix.O_RDONLY), 2*page), s.text("f"); got != want {
						t.Errorf("a new open reads %.9q, the host has %.9q", got, want)
					}
				}
				s.Forget(f.NodeId, 1<<20)
				s.checkMarked("forgotten", s.opened("f", unix.O_RDWR), "f", false)
			})
		}
	}
}

// TestMarksOfRememberedFiles: a mark goes when the guest forgets the file, also if its node id comes
// back; and it survives the loss of the record's fd.
func TestMarksOfRememberedFiles(t *testing.T) {
	host := new(badHost)
	s := newShare(t, Config{Faults: host, Cache: CacheAlways})
	s.InitFlags(fuse.CAP_EXPORT_SUPPORT)
	s.put("f", "x")
	f := s.opened("f", unix.O_RDWR)
	host.set("write", unix.EIO)
	want(t, "write", s.put8(f, 0, 0), unix.EIO)
	host.set("", 0)
	s.relieve()
	s.checkMarked("evicted", f, "f", true)
	s.open.closeAll()
	s.Forget(f.NodeId, 1<<20)
	again := s.opened("f", unix.O_RDWR)
	if again.NodeId != f.NodeId {
		t.Fatalf("node %d, was %d", again.NodeId, f.NodeId)
	}
	s.checkMarked("remembered", again, "f", false)
}

// TestNoMarks: what is our own refusal, or the guest's, marks nothing.
func TestNoMarks(t *testing.T) {
	s := newShare(t, Config{Faults: new(badHost), Cache: CacheAlways, Pages: newPages(t, 64)})
	s.put("f", "0123456789")
	f, ro := s.opened("f", unix.O_RDWR), s.opened("f", unix.O_RDONLY)
	want(t, "not open for writing", s.put8(ro, 0, 0), unix.EBADF)
	in := &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Size: 8, Offset: 1 << 63}
	_, st := s.Writev(nil, in, [][]byte{make([]byte, 8)})
	want(t, "negative offset", st, unix.EINVAL)
	s.ok("write", s.put8(f, 0, 0))
	s.ok("fsync", s.Fsync(nil, &fuse.FsyncIn{InHeader: header(f.NodeId), Fh: f.Fh}))
	s.ok("flush", s.Flush(nil, &fuse.FlushIn{InHeader: header(f.NodeId), Fh: f.Fh}))
	if m := s.nodes.Marks(inodes.ID(f.NodeId)); m != inodes.Opened {
		t.Errorf("marks %#x", m)
	}
}

// TestCanceledRequests: what hangs below the page cache, and what waits for it there, ends with its
// request or with the cache; a request that was canceled marks nothing.
func TestCanceledRequests(t *testing.T) {
	pages := newPages(t, 64)
	s, j := faultyShareWith(t, Config{Cache: CacheAlways, Pages: pages}, "write range=0+1 hang")
	s.put("f", text(1, 2*page))
	f := s.opened("f", unix.O_RDWR)
	start := func(off uint64) (cancel chan struct{}, done chan fuse.Status) {
		cancel, done = make(chan struct{}), make(chan fuse.Status, 1)
		go func() {
			in := &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Size: 1, Offset: off}
			_, st := s.Writev(cancel, in, [][]byte{[]byte("x")})
			done <- st
		}()
		return cancel, done
	}
	hangs, hung := start(0)
	for j.Hanging() == 0 {
		time.Sleep(time.Millisecond)
	}
	waits, waited := start(5)
	_, other := start(page) // not in the way
	s.ok("write elsewhere", <-other)
	if got := s.readOf(f, 10); got != text(1, 10) {
		t.Errorf("meanwhile a reader gets %q", got)
	}
	select {
	case st := <-waited:
		t.Errorf("a write does not wait for one of the same page: %v", st)
	case <-time.After(10 * time.Millisecond):
	}
	close(waits)
	want(t, "a write that waits", <-waited, unix.EINTR)
	_, waited = start(5)
	pages.Shutdown()
	want(t, "a write that waits when the cache stops", <-waited, unix.EINTR)
	close(hangs)
	want(t, "a write that hangs", <-hung, unix.EINTR)
	if m := s.nodes.Marks(inodes.ID(f.NodeId)); m&inodes.Refused != 0 {
		t.Error("a canceled write counts as refused")
	}
	if got, want := s.text("f"), text(1, page)+"x"+text(1, page-1); got != want {
		t.Error("a canceled write has reached the host")
	}
}

// TestWholeHostFails: an error of SYNCFS drops the pages of all files.
func TestWholeHostFails(t *testing.T) {
	host, r := new(badHost), new(recorder)
	pages := newPages(t, 64)
	s := newShare(t, Config{Faults: r, Cache: CacheAlways, Pages: pages})
	bad := newShare(t, Config{Root: s.dir, Faults: host, Cache: CacheAlways, Pages: pages})
	s.change("f", text(1, page))
	f := s.opened("f", unix.O_RDONLY)
	s.cached(f, page, r)
	host.set("syncfs", unix.EIO)
	h := header(1)
	want(t, "syncfs", bad.SyncFs(nil, &h), unix.EIO)
	before := r.reads()
	if s.readOf(f, page); r.reads() == before {
		t.Error("a page is still there")
	}
}

// TestOwnPages: a file system without a page cache has one of its own, which it closes.
func TestOwnPages(t *testing.T) {
	fs, err := New(Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if fs.pages == nil {
		t.Fatal("no page cache")
	}
	if err := fs.Close(); err != nil {
		t.Error(err)
	}
	mine, err := cache.New(cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := newShare(t, Config{Pages: mine})
	if err := s.Close(); err != nil || s.pages != mine {
		t.Error(err)
	}
	if err := mine.Close(); err != nil {
		t.Error(err)
	}
}
