// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"math/rand/v2"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/fault"
	"go.uber.org/zap"
)

// manyShapes does random requests of two guests on one file, of a host that fails now and then. After
// each the file reads as the host has it: through both, by old and new handles, evicted or not.
func manyShapes(t *testing.T, seed uint64, pages int64, mode CacheMode) {
	rnd := rand.New(rand.NewPCG(seed, uint64(pages)))
	rule, err := fault.Parse("write,fsync,truncate p=0.1 error=EIO")
	if err != nil {
		t.Fatal(err)
	}
	short, err := fault.Parse("read,write p=0.2 short=1000")
	if err != nil {
		t.Fatal(err)
	}
	faults := fault.New([]fault.Rule{rule, short}, zap.NewNop())
	defer faults.Close()
	c := newPages(t, pages)
	guests := []*share{newShare(t, Config{Faults: faults, Cache: mode, Pages: c})}
	guests[0].put("f", text(1, 5*page+123))
	guests = append(guests, newShare(t, Config{Root: guests[0].dir, Cache: CacheAlways, Pages: c}))
	files := []fuse.CreateOut{guests[0].opened("f", unix.O_RDWR), guests[1].opened("f", unix.O_RDWR)}
	for i := range 400 {
		g := rnd.IntN(2)
		what := guests[g].shape(rnd, &files[g])
		for k, s := range guests {
			off, n := uint64(rnd.IntN(7*page)), 1+rnd.IntN(4*page)
			if rnd.IntN(2) == 0 {
				off, n = off&^(page-1), (n+page-1)&^(page-1)
			}
			if bad := s.sameAsHost(files[k], off, n); bad != "" {
				t.Fatalf("seed %d, %d pages, %s: guest %d after %q of guest %d in round %d: %s", seed, pages, mode, k, what, g, i, bad)
			}
		}
	}
}

// shape does one random request.
func (s *share) shape(rnd *rand.Rand, f *fuse.CreateOut) string {
	h, off := header(f.NodeId), uint64(rnd.IntN(6*page))
	switch rnd.IntN(12) {
	case 0:
		in := fuse.SetAttrInCommon{InHeader: h, Valid: fuse.FATTR_SIZE, Size: off, Fh: f.Fh}
		if rnd.IntN(2) == 0 {
			in.Valid |= fuse.FATTR_FH
		}
		s.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: in}, new(fuse.AttrOut))
		return "truncate"
	case 1:
		s.Fallocate(nil, &fuse.FallocateIn{InHeader: h, Fh: f.Fh, Offset: off, Length: page,
			Mode: []uint32{0, unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE}[rnd.IntN(2)]})
		return "fallocate"
	case 2:
		s.CopyFileRange(nil, &fuse.CopyFileRangeIn{InHeader: h, FhIn: f.Fh, NodeIdOut: f.NodeId, FhOut: f.Fh, OffIn: off, OffOut: uint64(rnd.IntN(6 * page)), Len: 3000})
		return "copy"
	case 3:
		s.Fsync(nil, &fuse.FsyncIn{InHeader: h, Fh: f.Fh})
		return "fsync"
	case 4:
		s.Release(nil, &fuse.ReleaseIn{InHeader: h, Fh: f.Fh})
		f.Fh = s.openFile(f.NodeId, unix.O_RDWR)
		return "reopen"
	case 5:
		s.relieve()
		return "evict"
	case 6:
		if rnd.IntN(5) == 0 {
			s.openFile(f.NodeId, unix.O_RDWR|unix.O_TRUNC)
			return "O_TRUNC"
		}
		_, _ = s.attrOf(f.NodeId)
		return "getattr"
	}
	in := &fuse.WriteIn{InHeader: h, Fh: f.Fh, Offset: off,
		Flags: []uint32{0, 0, 0, unix.O_DIRECT, unix.O_DSYNC, unix.O_APPEND}[rnd.IntN(6)]}
	if in.Flags == unix.O_APPEND && rnd.IntN(4) > 0 { // the file shall not get long
		in.Flags = 0
	}
	if rnd.IntN(4) == 0 {
		in.WriteFlags = fuse.WRITE_CACHE
	}
	data := []byte(text(byte(rnd.Uint32()), 1+rnd.IntN(3*page)))
	in.Size = uint32(len(data))
	s.Writev(nil, in, [][]byte{data})
	return "write"
}
