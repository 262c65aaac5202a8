// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/cache"
)

const page = cache.PageSize

// newPages is a page cache of so many pages that all file systems of a test share.
func newPages(t testing.TB, pages int64) *cache.Cache {
	t.Helper()
	c, err := cache.New(cache.Options{Size: pages * page})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// reads is how often the host was asked for data.
func (r *recorder) reads() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.asked {
		if strings.HasPrefix(q, "read ") {
			n++
		}
	}
	return n
}

// cached reads the first n bytes of an open file until the host need not be asked for them any more.
func (s *share) cached(f fuse.CreateOut, n int, r *recorder) {
	s.t.Helper()
	for range 100 {
		before := r.reads()
		s.readOf(f, n)
		if r.reads() == before {
			return
		}
	}
	s.t.Fatal("the host is asked for each read")
}

// readOf is the first n bytes of an open file.
func (s *share) readOf(f fuse.CreateOut, n int) string {
	s.t.Helper()
	got, st := s.read(f, 0, n)
	s.ok("read", st)
	return got
}

// opened looks a file up and opens it.
func (s *share) opened(name string, flags int) fuse.CreateOut {
	s.t.Helper()
	f := fuse.CreateOut{EntryOut: s.lookupAt(1, name)}
	f.Fh = s.openFile(f.NodeId, flags)
	return f
}

// text is n bytes that differ from those of other seeds.
func text(seed byte, n int) string {
	return strings.Repeat(string([]byte{'a' + seed%26}), n)
}

// change is a change by the host: other bytes of the same length, and a new mtime.
func (s *share) change(name, data string) {
	s.t.Helper()
	s.put(name, data)
	s.mtime++
	at := time.Unix(1_000_000+s.mtime, 0)
	if err := os.Chtimes(s.path(name), at, at); err != nil {
		s.t.Fatal(err)
	}
}

// TestPages: what is read is kept in the modes that keep data, from open to open, and not without memory.
func TestPages(t *testing.T) {
	for mode, want := range map[CacheMode]bool{CacheNever: false, CacheMetadata: false, CacheAuto: true, CacheAlways: true} {
		for _, pages := range []int64{0, 64} {
			r := new(recorder)
			s := newShare(t, Config{Faults: r, Cache: mode, Pages: newPages(t, pages)})
			s.change("f", text(1, 2*page))
			f := s.opened("f", unix.O_RDWR)
			kept := false
			for range 20 {
				before := r.reads()
				if got := s.readOf(f, 2*page); got != text(1, 2*page) {
					t.Fatalf("%s: wrong bytes", mode)
				}
				kept = kept || r.reads() == before
			}
			if kept != (want && pages > 0) {
				t.Errorf("%s, %d pages: kept: %v", mode, pages, kept)
			}
			in := &fuse.ReadIn{InHeader: header(f.NodeId), Fh: f.Fh, Size: page, Flags: unix.O_DIRECT}
			before := r.reads()
			if _, st := s.Readv(nil, in, [][]byte{make([]byte, page)}); !st.Ok() || r.reads() == before {
				t.Errorf("%s: a direct read: %v, the host was asked: %v", mode, st, r.reads() != before)
			}
		}
	}
}

// TestReadInPlace: pages answer where nobody may wait, though every call of the host may.
func TestReadInPlace(t *testing.T) {
	r := new(recorder)
	s := newShare(t, Config{Faults: r, Cache: CacheAlways, Pages: newPages(t, 64)})
	s.change("f", text(1, page))
	f := s.opened("f", unix.O_RDONLY)
	in := &fuse.ReadIn{InHeader: header(f.NodeId), Fh: f.Fh, Size: page}
	buf := make([]byte, page)
	_, st := s.ReadvNowait(in, [][]byte{buf})
	want(t, "without pages", st, unix.EAGAIN)
	for range 100 { // a second may pass in between
		s.cached(f, page, r)
		if n, st := s.ReadvNowait(in, [][]byte{buf}); st.Ok() && n == page && string(buf) == text(1, page) {
			return
		}
	}
	t.Error("pages do not answer")
}

// looks are the operations by which a guest gets to know what a file is like.
var looks = map[string]func(s *share, f fuse.CreateOut) fuse.Status{
	"lookup": func(s *share, f fuse.CreateOut) fuse.Status {
		h := header(1)
		return s.Lookup(nil, &h, "f", new(fuse.EntryOut))
	},
	"getattr": func(s *share, f fuse.CreateOut) fuse.Status { _, st := s.attrOf(f.NodeId); return st },
	"getattr by handle": func(s *share, f fuse.CreateOut) fuse.Status {
		in := fuse.GetAttrIn{InHeader: header(f.NodeId)}
		in.Flags_, in.Fh_ = fuse.FUSE_GETATTR_FH, f.Fh
		return s.GetAttr(nil, &in, new(fuse.AttrOut))
	},
	"statx": func(s *share, f fuse.CreateOut) fuse.Status {
		return s.Statx(nil, &fuse.StatxIn{InHeader: header(f.NodeId), SxMask: unix.STATX_MODE}, new(fuse.StatxOut))
	},
	"setattr": func(s *share, f fuse.CreateOut) fuse.Status {
		return s.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: header(f.NodeId), Valid: fuse.FATTR_MODE, Mode: 0o600}}, new(fuse.AttrOut))
	},
	"link": func(s *share, f fuse.CreateOut) fuse.Status {
		s.mtime++
		return s.Link(nil, &fuse.LinkIn{InHeader: header(1), Oldnodeid: f.NodeId}, fmt.Sprint("link", s.mtime), new(fuse.EntryOut))
	},
	"readdirplus": func(s *share, f fuse.CreateOut) fuse.Status {
		in := &fuse.ReadIn{InHeader: header(1), Fh: s.openDirectory(1), Size: 1 << 16}
		return s.ReadDirPlus(nil, in, fuse.NewDirEntryList(make([]byte, 1<<16), 0))
	},
	"open": func(s *share, f fuse.CreateOut) fuse.Status {
		return s.Open(nil, &fuse.OpenIn{InHeader: header(f.NodeId)}, new(fuse.OpenOut))
	},
	"create": func(s *share, f fuse.CreateOut) fuse.Status {
		return s.Create(nil, &fuse.CreateIn{InHeader: header(1), Mode: 0o600}, "f", new(fuse.CreateOut))
	},
}

// TestNothingOlderThanSeen: a guest that was shown a change of the host's by any operation reads what
// the host has now, also where files are trusted for long; and so does another guest.
func TestNothingOlderThanSeen(t *testing.T) {
	for _, mode := range []CacheMode{CacheAuto, CacheAlways} {
		for name, look := range looks {
			t.Run(string(mode)+" "+name, func(t *testing.T) {
				r, pages := new(recorder), newPages(t, 64)
				s := newShare(t, Config{Faults: r, Cache: mode, Pages: pages})
				other := newShare(t, Config{Root: s.dir, Faults: r, Cache: mode, Pages: pages})
				s.change("f", text(1, page))
				f, g := s.opened("f", unix.O_RDWR), other.opened("f", unix.O_RDWR)
				for i := range byte(5) {
					s.cached(f, page, r)
					other.cached(g, page, r)
					s.change("f", text(i, page))
					s.ok(name, look(s, f))
					if got, got2 := s.readOf(f, page), other.readOf(g, page); got != text(i, page) || got2 != got {
						t.Fatalf("round %d: reads %.9s and %.9s after %s", i, got, got2, name)
					}
				}
			})
		}
	}
}

// TestFirstOpenLooks: a guest reads nothing older than it was shown before it has opened the file,
// though another one has older pages of it.
func TestFirstOpenLooks(t *testing.T) {
	r, pages := new(recorder), newPages(t, 64)
	s := newShare(t, Config{Faults: r, Cache: CacheAlways, Pages: pages})
	other := newShare(t, Config{Root: s.dir, Cache: CacheAlways, Pages: pages})
	s.change("f", text(1, page))
	s.cached(s.opened("f", unix.O_RDONLY), page, r)
	other.nodeOf("f")
	s.change("f", text(2, page))
	other.nodeOf("f")
	if got := other.readOf(other.opened("f", unix.O_RDONLY), page); got != text(2, page) {
		t.Errorf("reads %.9s", got)
	}
}

// TestEvictionDropsPages: pages outlive a close as long as the guest's record holds the inode, and no
// longer.
func TestEvictionDropsPages(t *testing.T) {
	for name, drop := range map[string]func(s *share, f fuse.CreateOut){
		"evicted":   func(s *share, f fuse.CreateOut) { s.relieve() },
		"forgotten": func(s *share, f fuse.CreateOut) { s.Forget(f.NodeId, 1) },
		"reset":     func(s *share, f fuse.CreateOut) { s.Reset() },
		"nothing":   func(s *share, f fuse.CreateOut) {},
	} {
		r := new(recorder)
		s := newShare(t, Config{Faults: r, Cache: CacheAlways, Pages: newPages(t, 64)})
		s.change("f", text(1, page))
		for range 20 {
			f := s.opened("f", unix.O_RDONLY)
			s.cached(f, page, r)
			s.Release(nil, &fuse.ReleaseIn{InHeader: header(f.NodeId), Fh: f.Fh})
			drop(s, f)
			before := r.reads()
			again := s.opened("f", unix.O_RDONLY)
			if got := s.readOf(again, page); got != text(1, page) {
				t.Errorf("%s: reads %.9s", name, got)
			}
			asked := r.reads() > before
			s.Release(nil, &fuse.ReleaseIn{InHeader: header(again.NodeId), Fh: again.Fh})
			s.Forget(again.NodeId, 1)
			switch {
			case name != "nothing" && !asked:
				t.Errorf("%s: the pages are still there", name)
			case name == "nothing" && asked:
				continue // more than a second has passed
			}
			break
		}
	}
}

// relieve gives up all fds of known files.
func (s *share) relieve() {
	s.t.Helper()
	for range 4 {
		s.nodes.Relieve(100)
	}
	if n := s.nodes.FDs(); n != 0 {
		s.t.Fatalf("%d fds are left", n)
	}
}

// TestInodeNumbersComeAgain: a file that gets the inode number of a deleted one shows no byte of it, to
// a guest that trusts what it knows.
func TestInodeNumbersComeAgain(t *testing.T) {
	dir, err := os.MkdirTemp(".", "inodes-test-") // not in /tmp, which may never use a number again
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, let := range map[string]func(s *share, f fuse.CreateOut){
		"forgotten": func(s *share, f fuse.CreateOut) { s.Forget(f.NodeId, 1) },
		"evicted":   func(s *share, f fuse.CreateOut) { s.relieve() },
		"reset":     func(s *share, f fuse.CreateOut) { s.Reset() },
	} {
		s := newShare(t, Config{Root: dir, Cache: CacheAlways, Pages: newPages(t, 64)})
		again := 0
		for i := range 200 {
			s.put("old", text(1, page))
			f := s.opened("old", unix.O_RDWR)
			for range 3 {
				s.readOf(f, page)
			}
			s.Release(nil, &fuse.ReleaseIn{InHeader: header(f.NodeId), Fh: f.Fh})
			let(s, f)
			if err := os.Remove(s.path("old")); err != nil {
				t.Fatal(err)
			}
			s.put("new", text(2, page))
			g := s.opened("new", unix.O_RDWR)
			if g.Ino == f.Ino {
				again++
			}
			if got := s.readOf(g, page); got != text(2, page) {
				t.Fatalf("%s: round %d reads %.9s; the same number: %v", name, i, got, g.Ino == f.Ino)
			}
			s.Release(nil, &fuse.ReleaseIn{InHeader: header(g.NodeId), Fh: g.Fh})
			s.Forget(g.NodeId, 1)
			if err := os.Remove(s.path("new")); err != nil {
				t.Fatal(err)
			}
		}
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		if t.Logf("%s: %d of 200 inode numbers came again, on file system %#x", name, again, st.Type); again == 0 && st.Type == unix.EXT4_SUPER_MAGIC && s.host.handles {
			t.Errorf("%s: no inode number came again", name)
		}
	}
}

// TestTwoGuests: what one guest writes the other one reads, with whatever modes they have.
func TestTwoGuests(t *testing.T) {
	modes := []CacheMode{CacheNever, CacheMetadata, CacheAuto, CacheAlways}
	for _, pages := range []int64{0, 1, 64} {
		for _, one := range modes {
			for _, two := range modes {
				c := newPages(t, pages)
				a := newShare(t, Config{Cache: one, Pages: c})
				b := newShare(t, Config{Root: a.dir, Cache: two, Pages: c})
				a.put("f", text(0, 3*page))
				f, g := a.opened("f", unix.O_RDWR), b.opened("f", unix.O_RDWR)
				for i := range byte(6) {
					b.readOf(g, 3*page)
					part := text(i+1, page/2+int(i))
					off := uint64(i) * page / 3
					if n, st := a.write(f, off, part); !st.Ok() || int(n) != len(part) {
						t.Fatalf("write: %d, %v", n, st)
					}
					if got := b.readOf(g, 3*page); got != a.text("f") {
						t.Fatalf("%d pages, %s writes, %s reads: round %d differs", pages, one, two, i)
					}
					a, b, f, g = b, a, g, f
				}
			}
		}
	}
}

// TestTruncatingOpens: OPEN and CREATE with O_TRUNC empty the file, drop its pages and say so.
func TestTruncatingOpens(t *testing.T) {
	for _, flags := range []int{unix.O_RDWR, unix.O_WRONLY, unix.O_RDONLY} {
		s := newShare(t, Config{Cache: CacheAlways, Pages: newPages(t, 64)})
		s.put("f", text(1, 2*page))
		f := s.opened("f", unix.O_RDWR)
		s.readOf(f, 2*page)
		s.openFile(f.NodeId, flags|unix.O_TRUNC)
		if got := s.readOf(f, page); got != "" || s.text("f") != "" {
			t.Errorf("flags %#x: reads %d bytes after OPEN, the host has %d", flags, len(got), len(s.text("f")))
		}
		if n, st := s.write(f, 0, text(2, page)); !st.Ok() || n != page {
			t.Errorf("write: %d, %v", n, st)
		}
		s.readOf(f, page)
		if c := s.createFile("f", flags|unix.O_TRUNC); c.NodeId != f.NodeId || c.Size != 0 {
			t.Errorf("CREATE: %d bytes", c.Size)
		}
		if got := s.readOf(f, page); got != "" {
			t.Errorf("flags %#x: reads %d bytes after CREATE", flags, len(got))
		}
	}
}

// flagged is a host file that notes the flags of writes and the syncs.
type flagged struct {
	hostFile
	writes []cache.WriteFlags
	syncs  []bool
}

func (f *flagged) WriteAt(c <-chan struct{}, src [][]byte, off int64, fl cache.WriteFlags) (int, error) {
	f.writes = append(f.writes, fl)
	return f.hostFile.WriteAt(c, src, off, fl)
}

func (f *flagged) Sync(c <-chan struct{}, dataOnly bool) error {
	f.syncs = append(f.syncs, dataOnly)
	return f.hostFile.Sync(c, dataOnly)
}

// TestSynchronousWrites: O_SYNC and O_DSYNC of the WRITE or of the OPEN reach the host with each write,
// O_APPEND does with the WRITE alone, and none with a page that the guest writes back.
func TestSynchronousWrites(t *testing.T) {
	for _, tt := range []struct {
		open, write uint32
		cached      bool
		want        cache.WriteFlags
	}{
		{0, 0, false, 0},
		{unix.O_SYNC, 0, false, cache.WriteSync},
		{unix.O_DSYNC, 0, false, cache.WriteDSync},
		{0, unix.O_SYNC, false, cache.WriteSync},
		{0, unix.O_DSYNC, false, cache.WriteDSync},
		{unix.O_SYNC, unix.O_DSYNC, false, cache.WriteSync | cache.WriteDSync},
		{unix.O_APPEND, 0, false, 0},
		{0, unix.O_APPEND | unix.O_DIRECT, false, cache.WriteAppend},
		{unix.O_SYNC, unix.O_SYNC | unix.O_APPEND | unix.O_DIRECT, true, 0},
	} {
		s := newShare(t, Config{Cache: CacheAlways, Pages: newPages(t, 64)})
		s.put("f", "0123456789")
		f := s.opened("f", unix.O_RDWR|int(tt.open))
		h, err := s.open.file(f.Fh, f.NodeId)
		if err != nil {
			t.Fatal(err)
		}
		host := &flagged{hostFile: h.host}
		was := h.file
		h.file = s.pages.Open(h.key, cache.Handle{Host: host, Mode: cache.ModeAlways})
		in := &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Size: 1, Flags: tt.write}
		if tt.cached {
			in.WriteFlags = fuse.WRITE_CACHE
		}
		_, st := s.WritevNowait(in, [][]byte{[]byte("x")})
		if sync := tt.want&(cache.WriteSync|cache.WriteDSync) != 0; sync {
			want(t, "in place", st, unix.EAGAIN)
			_, st = s.Writev(nil, in, [][]byte{[]byte("x")})
		}
		s.ok("write", st)
		if len(host.writes) != 1 || host.writes[0] != tt.want {
			t.Errorf("open %#x, write %#x: flags %v, want %v", tt.open, tt.write, host.writes, tt.want)
		}
		s.ok("fallocate", s.Fallocate(nil, &fuse.FallocateIn{InHeader: header(f.NodeId), Fh: f.Fh, Length: 20}))
		if synced := len(host.syncs) > 0; synced != (tt.open&unix.O_DSYNC != 0) {
			t.Errorf("open %#x: a fallocate is synchronous: %v", tt.open, synced)
		}
		h.file.Close()
		h.file = was
		h.release()
	}
}

// TestManyShapes holds random requests of two guests, one after the other, against the host's file.
func TestManyShapes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for _, pages := range []int64{0, 1, 5, 64} {
		for _, mode := range []CacheMode{CacheNever, CacheAuto, CacheAlways} {
			manyShapes(t, seed, pages, mode)
		}
	}
}

func (s *share) sameAsHost(f fuse.CreateOut, off uint64, n int) string {
	got, st := s.read(f, off, n)
	if !st.Ok() {
		return st.String()
	}
	data := []byte(s.text("f"))
	want := data[min(off, uint64(len(data))):min(off+uint64(n), uint64(len(data)))]
	if !bytes.Equal([]byte(got), want) {
		return fmt.Sprintf("read %d+%d: %d bytes, %d wanted, or others", off, n, len(got), len(want))
	}
	return ""
}
