// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// TestKnownNames: a name that is known leads to its file, and to another one as soon as the host or the guest
// has changed that; with handles and by name.
func TestKnownNames(t *testing.T) {
	for _, mode := range []HandleMode{HandlesPrefer, HandlesNever} {
		s := newShare(t, Config{Handles: mode})
		s.put("a", "1")
		s.put("b", "22")
		fh := s.openDirectory(1)
		look := map[string]func(name string) fuse.EntryOut{
			"lookup": func(name string) fuse.EntryOut { return s.lookupAt(1, name) },
			"readdirplus": func(name string) (out fuse.EntryOut) {
				entries, outs := s.all(1, fh, 4096, true)
				for i, e := range entries {
					if e.Name == name {
						return outs[i]
					}
				}
				return out
			},
		}
		check := func(what, name string, size uint64) (id uint64) {
			t.Helper()
			for how, f := range look {
				for range 2 { // the second time it is known
					e := f(name)
					if e.Size != size || e.Attr.Mode&unix.S_IFMT != unix.S_IFREG || id != 0 && e.NodeId != id {
						t.Errorf("%s, %s, %s: %s is node %d of %d bytes, want %d of %d", mode, what, how, name, e.NodeId, e.Size, id, size)
					}
					id = e.NodeId
				}
			}
			return id
		}
		a, b := check("at first", "a", 1), check("at first", "b", 2)
		if err := os.Rename(s.path("b"), s.path("a")); err != nil {
			t.Fatal(err)
		}
		if id := check("renamed on the host", "a", 2); id != b {
			t.Errorf("%s: a renamed file is node %d, was %d", mode, id, b)
		}
		if attr, st := s.attrOf(a); !st.Ok() || attr.Nlink != 0 {
			t.Errorf("%s: the file that was replaced: %+v, %v", mode, attr, st)
		}
		h := header(1)
		s.ok("unlink", s.Unlink(nil, &h, "a"))
		var out fuse.EntryOut
		if st := s.Lookup(nil, &h, "a", &out); st.Ok() && out.NodeId != 0 {
			t.Errorf("%s: a removed name leads to node %d", mode, out.NodeId)
		}
		s.put("a", "333")
		if id := check("made anew", "a", 3); id == a || id == b {
			t.Errorf("%s: a new file is node %d", mode, id)
		}
	}
}

// TestForgottenAndGone: a removed file that the guest forgets gives its space back at once.
func TestForgottenAndGone(t *testing.T) {
	s := newShare(t, Config{})
	s.setExport(true)
	s.put("f", "x")
	id := s.nodeOf("f")
	h := header(1)
	s.ok("unlink", s.Unlink(nil, &h, "f"))
	if attr, st := s.attrOf(id); !st.Ok() || attr.Nlink != 0 {
		t.Fatalf("removed, but known: %+v, %v", attr, st)
	}
	fds := s.nodes.FDs()
	s.Forget(id, 1)
	if s.nodes.Len() != 1 || s.nodes.FDs() != fds-1 {
		t.Errorf("%d nodes and %d fds, before %d", s.nodes.Len(), s.nodes.FDs(), fds)
	}
}
