// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// TestHandleModes: on a file system with handles, and on one without.
func TestHandleModes(t *testing.T) {
	with := t.TempDir()
	possible := mayUseHandles(t, with)
	for _, c := range []struct {
		mode        HandleMode
		dir         string
		fails, uses bool
	}{
		{"", with, false, possible},
		{HandlesPrefer, with, false, possible},
		{HandlesNever, with, false, false},
		{HandlesMandatory, with, !possible, possible},
		{HandlesPrefer, "/proc/self", false, false}, // procfs: no handles that can be opened
		{HandlesMandatory, "/proc/self", true, false},
	} {
		before := fdCount(t)
		fs, err := New(Config{Root: c.dir, Handles: c.mode})
		if (err != nil) != c.fails || c.fails && !errors.Is(err, ErrNoHandles) {
			t.Errorf("%q on %s: %v", c.mode, c.dir, err)
		}
		if err == nil {
			if fs.UsesHandles() != c.uses {
				t.Errorf("%q on %s: handles are used: %v", c.mode, c.dir, fs.UsesHandles())
			}
			_ = fs.Close()
		}
		if got := fdCount(t); got != before {
			t.Errorf("%q on %s: %d fds leaked", c.mode, c.dir, got-before)
		}
	}
	for name, c := range map[string]Config{
		"unknown mode":         {Handles: "sometimes"},
		"mandatory and faults": {Handles: HandlesMandatory, Faults: &recorder{}},
	} {
		c.Root = with
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestExportParents: what a guest can ask for by LOOKUP of ".." never leads out of the share.
func TestExportParents(t *testing.T) {
	bothWays(t, func(t *testing.T, c Config) {
		s := newShare(t, c)
		s.InitFlags(^uint64(0))
		d := s.mkdir(1, "d")
		e := s.mkdir(d, "e")
		if up := s.lookupAt(e, ".."); up.NodeId != d {
			t.Errorf("parent %#x, want %#x", up.NodeId, d)
		}
		if up := s.lookupAt(1, ".."); up.NodeId != 1 {
			t.Errorf("the root's parent is node %#x", up.NodeId)
		}
		outside := t.TempDir()
		if err := unix.Rename(s.path("d"), outside+"/d"); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []uint64{d, e} {
			h := header(dir)
			want(t, "parent of what was moved out", s.Lookup(nil, &h, "..", new(fuse.EntryOut)), unix.ESTALE)
		}
	})
}
