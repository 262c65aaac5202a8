// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// counted is a Config that counts what OnLimit is told.
func counted(c Config) (Config, map[string]int) {
	told := map[string]int{}
	c.OnLimit = func(limit string) { told[limit]++ }
	return c, told
}

// TestFDLimit: removed files that cannot be opened again, and which the guest has opened, are kept open up
// to MaxFDs. Beyond it nothing new is found or made, what is known works, and after FORGET it goes on.
func TestFDLimit(t *testing.T) {
	const most = 20
	c, told := counted(Config{Handles: HandlesNever, FDBudget: 10, MaxFDs: most})
	s := newShare(t, c)
	s.put("there", "x")
	var nodes []uint64
	for i := range most {
		var e fuse.CreateOut
		name := fmt.Sprint(i)
		h := header(1)
		s.ok("create "+name, s.Create(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_RDWR, Mode: 0o600}, name, &e))
		s.Release(nil, &fuse.ReleaseIn{InHeader: header(e.NodeId), Fh: e.Fh})
		s.ok("unlink "+name, s.Unlink(nil, &h, name))
		nodes = append(nodes, e.NodeId)
	}
	if n := s.nodes.FDs(); n != most {
		t.Fatalf("%d fds, want %d", n, most)
	}
	h := header(1)
	want(t, "lookup", s.Lookup(nil, &h, "there", &fuse.EntryOut{}), unix.ENFILE)
	want(t, "mkdir", s.Mkdir(nil, &fuse.MkdirIn{InHeader: h, Mode: 0o700}, "new", &fuse.EntryOut{}), unix.ENFILE)
	want(t, "create", s.Create(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_RDWR, Mode: 0o600}, "new", &fuse.CreateOut{}), unix.ENFILE)
	if _, err := os.Lstat(s.path("new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a request that was refused has made a file: %v", err)
	}
	if told[limitFiles] != 3 {
		t.Errorf("told of limits: %v, want 3 times %q", told, limitFiles)
	}
	for _, n := range nodes {
		if _, st := s.attrOf(n); !st.Ok() {
			t.Fatalf("a removed file that is known: %v", st)
		}
	}
	s.Forget(nodes[0], 1)
	s.ok("lookup after a forget", s.Lookup(nil, &h, "there", &fuse.EntryOut{}))
}

// TestDirectHandlesCountTwice: a file with O_DIRECT has two fds.
func TestDirectHandlesCountTwice(t *testing.T) {
	c, told := counted(Config{MaxHandles: 3, AllowDirectIO: true})
	s := newShare(t, c)
	s.put("a", "x")
	n := s.nodeOf("a")
	direct := func() (uint64, fuse.Status) {
		var out fuse.OpenOut
		st := s.Open(nil, &fuse.OpenIn{InHeader: header(n), Flags: unix.O_DIRECT}, &out)
		return out.Fh, st
	}
	fh, st := direct()
	s.ok("open", st)
	_, st = direct()
	want(t, "a second one", st, unix.ENFILE)
	plain := s.openFile(n, 0)
	s.Release(nil, &fuse.ReleaseIn{InHeader: header(n), Fh: plain})
	s.Release(nil, &fuse.ReleaseIn{InHeader: header(n), Fh: fh})
	_, st = direct()
	s.ok("after a close", st)
	if told[limitOpen] != 1 {
		t.Errorf("told of limits: %v, want once %q", told, limitOpen)
	}
}
