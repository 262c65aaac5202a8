// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// list returns what READDIRPLUS of the root says of a name, and forgets nothing.
func (s *share) list(name string) (out fuse.EntryOut) {
	s.t.Helper()
	fh := s.openDirectory(1)
	entries, outs := s.all(1, fh, 4096, true)
	for i, e := range entries {
		if e.Name == name {
			out = outs[i]
		}
	}
	s.ReleaseDir(&fuse.ReleaseIn{InHeader: header(1), Fh: fh})
	return out
}

// TestListedFiles: files that were only listed take no fds, and are there when they are used, also after the
// guest has renamed them, linked them or removed their name.
func TestListedFiles(t *testing.T) {
	bothWays(t, func(t *testing.T, c Config) {
		s := newShare(t, c)
		if !s.host.births {
			t.Fatal("this file system has no birth times: run the test elsewhere (TMPDIR)")
		}
		names := []string{"used", "renamed", "over", "removed", "linked", "exchanged"}
		for _, n := range names {
			s.put(n, n)
		}
		ids := map[string]uint64{}
		for _, n := range names {
			ids[n] = s.list(n).NodeId
		}
		if n := s.nodes.FDs(); n != 0 {
			t.Errorf("%d fds of files that nobody has used", n)
		}
		h := header(1)
		s.ok("rename", s.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: 1}, "renamed", "over"))
		s.ok("unlink", s.Unlink(nil, &h, "removed"))
		var e fuse.EntryOut
		s.ok("link", s.Link(nil, &fuse.LinkIn{InHeader: h, Oldnodeid: ids["linked"]}, "link", &e))
		s.ok("exchange", s.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: 1, Flags: unix.RENAME_EXCHANGE}, "exchanged", "used"))
		for _, n := range names {
			a, st := s.attrOf(ids[n])
			links := map[string]uint32{"removed": 0, "over": 0, "linked": 2}
			want, special := links[n]
			if !special {
				want = 1
			}
			if !st.Ok() || a.Size != uint64(len(n)) || a.Nlink != want {
				t.Errorf("%s: %v, %d bytes, %d links, want %d", n, st, a.Size, a.Nlink, want)
				continue
			}
			if got := s.readAll(ids[n]); got != n {
				t.Errorf("%s reads %q", n, got)
			}
		}
		if id := s.nodeOf("over"); id != ids["renamed"] {
			t.Errorf("a renamed file is node %d, was %d", id, ids["renamed"])
		}
	})
}

// TestListedAndReplaced: a listed file whose name the host has given to another one is stale, not that one; one that
// was looked up before stays what it is.
func TestListedAndReplaced(t *testing.T) {
	bothWays(t, func(t *testing.T, c Config) {
		s := newShare(t, c)
		s.put("listed", "1")
		s.put("lookedup", "22")
		listed, lookedUp := s.list("listed").NodeId, s.nodeOf("lookedup")
		for _, n := range []string{"listed", "lookedup"} {
			s.put("new", "333")
			if err := os.Rename(s.path("new"), s.path(n)); err != nil {
				t.Fatal(err)
			}
		}
		_, st := s.attrOf(listed)
		want(t, "a listed file that is gone", st, unix.ESTALE)
		if a, st := s.attrOf(lookedUp); !st.Ok() || a.Size != 2 || a.Nlink != 0 {
			t.Errorf("a known file that was replaced: %v, %+v", st, a)
		}
		now := s.list("listed")
		if now.NodeId == listed || now.Size != 3 {
			t.Errorf("the new file is node %d of %d bytes, the old one %d", now.NodeId, now.Size, listed)
		}
		if got := s.readAll(s.nodeOf("listed")); got != "333" {
			t.Errorf("the new file reads %q", got)
		}
	})
}
