// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// nopFS does nothing, quickly, without allocating.
type nopFS struct {
	fuse.RawFileSystem
	seen int
}

func (f *nopFS) BorrowsNames() bool   { return true }
func (f *nopFS) MayBlock(uint32) bool { return false }
func (f *nopFS) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	f.seen += len(name)
	out.NodeId = 7
	return fuse.OK
}
func (f *nopFS) Forget(uint64, uint64) { f.seen++ }
func (f *nopFS) GetAttr(<-chan struct{}, *fuse.GetAttrIn, *fuse.AttrOut) fuse.Status {
	return fuse.OK
}
func (f *nopFS) Readv(_ <-chan struct{}, in *fuse.ReadIn, dst [][]byte) (int, fuse.Status) {
	f.seen += len(dst)
	return int(in.Size), fuse.OK
}
func (f *nopFS) ReadvNowait(in *fuse.ReadIn, dst [][]byte) (int, fuse.Status) {
	return f.Readv(nil, in, dst)
}
func (f *nopFS) Writev(_ <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	f.seen += len(data)
	return in.Size, fuse.OK
}
func (f *nopFS) Rename(_ <-chan struct{}, _ *fuse.RenameIn, a, b string) fuse.Status {
	f.seen += len(a) + len(b)
	return fuse.OK
}
func (f *nopFS) ReadDir(_ <-chan struct{}, _ *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	for out.AddDirEntry(fuse.DirEntry{Name: "entry", Ino: 7}) {
	}
	return fuse.OK
}
func (f *nopFS) GetXAttr(_ <-chan struct{}, _ *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	f.seen += len(name)
	return uint32(len(dest)), fuse.OK
}

// pages returns n bytes in pieces of 4 KiB, as Linux hands data over.
func pages(n int) [][]byte {
	var segs [][]byte
	for ; n > 0; n -= 4096 {
		segs = append(segs, make([]byte, min(n, 4096)))
	}
	return segs
}

// hotRequests are requests as Linux lays them out, on a session of nopFS.
func hotRequests(t testing.TB) (*Session, map[string]*Request) {
	tt := newStarted(t, &nopFS{RawFileSystem: fuse.NewDefaultRawFileSystem()})
	request := func(op Opcode, in, out [][]byte, parts ...any) *Request {
		n := 0
		for _, s := range in {
			n += len(s)
		}
		msg := message(t, op, 5, append(parts, make([]byte, n))...)
		r := &Request{In: [][]byte{msg[:40]}, Out: append([][]byte{make([]byte, 16)}, out...)}
		if len(msg) > 40+n {
			r.In = append(r.In, msg[40:len(msg)-n])
		}
		r.In = append(r.In, in...)
		return r
	}
	io := func(size uint32) []any {
		return []any{uint64(1), uint64(0), size, make([]byte, 20)}
	}
	return tt.s, map[string]*Request{
		"LOOKUP":    request(OpLookup, nil, pages(128), "a.file.name"),
		"FORGET":    request(OpForget, nil, nil, uint64(1)),
		"GETATTR":   request(OpGetattr, nil, pages(104), make([]byte, 16)),
		"READ4K":    request(OpRead, nil, pages(4096), io(4096)...),
		"READ1M":    request(OpRead, nil, pages(1<<20), io(1<<20)...),
		"WRITE4K":   request(OpWrite, pages(4096), pages(8), io(4096)...),
		"WRITE1M":   request(OpWrite, pages(1<<20), pages(8), io(1<<20)...),
		"RENAME2":   request(OpRename2, nil, nil, make([]byte, 16), "old.name", "new.name"),
		"READDIR4K": request(OpReaddir, nil, pages(4096), io(4096)...),
		"GETXATTR":  request(OpGetxattr, nil, pages(100), uint32(100), uint32(0), "user.name"),
		"unknown":   request(99, nil, nil),
		"malformed": request(OpLookup, nil, pages(128), "a/b"),
	}
}

// TestAllocations: a request costs no garbage once its Request has been used, on the loop and
// on a worker.
func TestAllocations(t *testing.T) {
	s, requests := hotRequests(t)
	for name, r := range requests {
		for _, inline := range []bool{true, false} {
			n := testing.AllocsPerRun(200, func() {
				if _, again := s.Handle(r, inline); again {
					t.Fatalf("%s would block", name)
				}
			})
			if n != 0 {
				t.Errorf("%s, inline=%v: %v allocations", name, inline, n)
			}
		}
	}
}

// TestNoStalePointers: once it is done, a Request points to no guest memory but by In and Out,
// which are its owner's: the garbage collector must not find addresses that were unmapped.
func TestNoStalePointers(t *testing.T) {
	s, requests := hotRequests(t)
	long := newStarted(t, &bufferReader{recorder{data: pattern(2 << 20)}})
	long.r.In, long.r.Out = [][]byte{readMsg(t, OpRead, 0, 1<<20+4096)}, pages(16+1<<20+4096)
	if n, _ := long.s.Handle(&long.r, false); n != 16+1<<20+4096 {
		t.Fatalf("READ in two pieces: %d bytes", n)
	}
	requests["READ in pieces"] = &long.r
	for name, r := range requests {
		if r != &long.r {
			s.Handle(r, false)
		}
		for _, v := range r.vec[:cap(r.vec)] {
			if v != nil {
				t.Fatalf("%s leaves a range behind", name)
			}
		}
		if len(r.list.Bytes()) != 0 {
			t.Errorf("%s leaves its directory buffer behind", name)
		}
	}
}

func BenchmarkHandle(b *testing.B) {
	s, requests := hotRequests(b)
	for _, name := range []string{"LOOKUP", "FORGET", "GETATTR", "READ4K", "READ1M", "WRITE4K", "WRITE1M", "READDIR4K"} {
		b.Run(name, func(b *testing.B) {
			r := requests[name]
			b.ReportAllocs()
			for b.Loop() {
				s.Handle(r, true)
			}
		})
	}
}
