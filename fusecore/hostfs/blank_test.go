// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// TestOpenOfBlankFiles: what has no pages is not looked at by an OPEN, and yet read as new as it was seen;
// with pages it is.
func TestOpenOfBlankFiles(t *testing.T) {
	pages := newPages(t, 64)
	s := newShare(t, Config{Cache: CacheAuto, Pages: pages})
	s.change("f", text(1, page))
	id := s.nodeOf("f")
	for i := range byte(5) {
		s.change("f", text(i, page))
		fh := s.openFile(id, unix.O_RDONLY)
		f := fuse.CreateOut{EntryOut: fuse.EntryOut{NodeId: id}, OpenOut: fuse.OpenOut{Fh: fh}}
		if got := s.readOf(f, page); got != text(i, page) {
			t.Fatalf("round %d: reads %.9s", i, got)
		}
		if i%2 == 0 {
			pages.DropAll()
		}
		s.Release(nil, &fuse.ReleaseIn{InHeader: header(id), Fh: fh})
	}
}
