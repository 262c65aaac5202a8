// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// TestAccessOfHandles: pages of a file make no difference to what a handle is open for, and what it is
// not open for makes none to the pages.
func TestAccessOfHandles(t *testing.T) {
	r := new(recorder)
	s := newShare(t, Config{Faults: r, Cache: CacheAlways, Pages: newPages(t, 64)})
	s.change("f", text(1, 2*page))
	f, ro, wo := s.opened("f", unix.O_RDWR), s.opened("f", unix.O_RDONLY), s.opened("f", unix.O_WRONLY)
	s.cached(f, 2*page, r)
	for _, flags := range []uint32{0, unix.O_DIRECT} {
		in := &fuse.ReadIn{InHeader: header(f.NodeId), Fh: wo.Fh, Size: page, Flags: flags}
		_, st := s.Readv(nil, in, [][]byte{make([]byte, page)})
		want(t, "read", st, unix.EBADF)
		_, st = s.ReadvNowait(in, [][]byte{make([]byte, page)})
		want(t, "read in place", st, unix.EBADF)
	}
	asked := len(r.asked)
	for _, data := range []string{"", "x", text(2, page)} {
		in := &fuse.WriteIn{InHeader: header(f.NodeId), Fh: ro.Fh, Size: uint32(len(data))}
		_, st := s.Writev(nil, in, [][]byte{[]byte(data)})
		want(t, "write", st, unix.EBADF)
		in.WriteFlags = fuse.WRITE_CACHE
		_, st = s.Writev(nil, in, [][]byte{[]byte(data)})
		want(t, "write of the guest's pages", st, unix.EBADF)
	}
	if len(r.asked) != asked {
		t.Errorf("the host is asked %q for what cannot be", r.asked[asked:])
	}
	if got := s.readOf(f, 2*page); got != text(1, 2*page) {
		t.Error("wrong bytes")
	}
}

// TestSyncFsOfNothing: a guest that names files which are not there, or cannot be opened, does not cost
// the others their pages.
func TestSyncFsOfNothing(t *testing.T) {
	r, pages := new(recorder), newPages(t, 64)
	s := newShare(t, Config{Faults: r, Cache: CacheAlways, Pages: pages})
	bad := newShare(t, Config{Root: s.dir, Cache: CacheAlways, Pages: pages})
	s.change("f", text(1, page))
	if err := unix.Mkfifo(s.path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := bad.nodeOf("fifo")
	f := s.opened("f", unix.O_RDONLY)
	for range 100 { // a second may pass in between
		s.cached(f, page, r)
		drops := r.reads()
		h := header(12345)
		want(t, "no file", bad.SyncFs(nil, &h), unix.ESTALE)
		h = header(fifo)
		want(t, "a fifo", bad.SyncFs(nil, &h), unix.EBADF)
		if s.readOf(f, page); r.reads() == drops {
			return
		}
	}
	t.Error("the pages are dropped")
}
