// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func BenchmarkLookupForget(b *testing.B) {
	for _, known := range []bool{false, true} {
		name := "new"
		if known {
			name = "known"
		}
		b.Run(name, func(b *testing.B) {
			s := newShare(b, Config{})
			s.put("f", "x")
			if known {
				s.nodeOf("f")
			}
			h := header(1)
			var e fuse.EntryOut
			b.ReportAllocs()
			for b.Loop() {
				if st := s.Lookup(nil, &h, "f", &e); !st.Ok() {
					b.Fatal(st)
				}
				s.Forget(e.NodeId, 1)
			}
		})
	}
}

func BenchmarkGetAttr(b *testing.B) {
	s := newShare(b, Config{})
	s.put("f", "x")
	in := &fuse.GetAttrIn{InHeader: header(s.nodeOf("f"))}
	var out fuse.AttrOut
	b.ReportAllocs()
	for b.Loop() {
		if st := s.GetAttr(nil, in, &out); !st.Ok() {
			b.Fatal(st)
		}
	}
}

func BenchmarkRead4k(b *testing.B) {
	s := newShare(b, Config{})
	s.put("f", string(make([]byte, 4096)))
	n := s.nodeOf("f")
	in := &fuse.ReadIn{InHeader: header(n), Fh: s.openFile(n, unix.O_RDONLY), Size: 4096}
	dst := [][]byte{make([]byte, 4096)}
	for _, nowait := range []bool{false, true} {
		name := "wait"
		if nowait {
			name = "nowait"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var got int
				var st fuse.Status
				if nowait {
					got, st = s.ReadvNowait(in, dst)
				} else {
					got, st = s.Readv(nil, in, dst)
				}
				if got != 4096 {
					b.Fatal(got, st)
				}
			}
		})
	}
}

func BenchmarkWrite4k(b *testing.B) {
	s := newShare(b, Config{})
	s.put("f", "")
	n := s.nodeOf("f")
	in := &fuse.WriteIn{InHeader: header(n), Fh: s.openFile(n, unix.O_RDWR), Size: 4096}
	src := [][]byte{make([]byte, 4096)}
	b.ReportAllocs()
	for b.Loop() {
		if got, st := s.Writev(nil, in, src); got != 4096 {
			b.Fatal(got, st)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s := newShare(b, Config{})
	s.put("f", "")
	n := s.nodeOf("f")
	b.ReportAllocs()
	for b.Loop() {
		fh := s.openFile(n, unix.O_RDWR)
		s.Release(nil, &fuse.ReleaseIn{InHeader: header(n), Fh: fh})
	}
}

func BenchmarkSmallFile(b *testing.B) {
	s := newShare(b, Config{})
	h := header(1)
	in := &fuse.CreateIn{InHeader: h, Flags: unix.O_RDWR, Mode: 0o600}
	data := [][]byte{make([]byte, 1024)}
	b.ReportAllocs()
	for b.Loop() {
		var c fuse.CreateOut
		if st := s.Create(nil, in, "f", &c); !st.Ok() {
			b.Fatal(st)
		}
		_, _ = s.Writev(nil, &fuse.WriteIn{InHeader: header(c.NodeId), Fh: c.Fh}, data)
		s.Release(nil, &fuse.ReleaseIn{InHeader: h, Fh: c.Fh})
		s.Unlink(nil, &h, "f")
		s.Forget(c.NodeId, 1)
	}
}
