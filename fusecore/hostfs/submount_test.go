// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// TestSubmounts: the root of another mount is told as such, what lies in it is not, and only to a
// guest that was asked whether it knows.
func TestSubmounts(t *testing.T) {
	all := ^uint64(0)
	for _, c := range []struct {
		announce bool
		offered  uint64
		flags    uint32
	}{
		{true, all, fuse.ATTR_SUBMOUNT},
		{true, all &^ fuse.CAP_SUBMOUNTS, 0},
		{false, all, 0},
	} {
		s := newShare(t, Config{Root: "/", ReadOnly: true, AnnounceSubmounts: c.announce})
		if got := s.InitFlags(c.offered)&fuse.CAP_SUBMOUNTS != 0; got != (c.flags != 0) {
			t.Errorf("%+v: wants FUSE_SUBMOUNTS: %v", c, got)
		}
		proc := s.lookupAt(1, "proc")
		for name, e := range map[string]fuse.EntryOut{"etc": s.lookupAt(1, "etc"), "proc/self": s.lookupAt(proc.NodeId, "self"),
			"proc/version": s.lookupAt(proc.NodeId, "version")} {
			if e.Flags != 0 {
				t.Errorf("%+v: %s has flags %#x", c, name, e.Flags)
			}
		}
		if proc.Flags != c.flags {
			t.Errorf("%+v: /proc has flags %#x", c, proc.Flags)
		}
		if plus := s.plusFlags("proc"); plus != c.flags {
			t.Errorf("%+v: /proc has flags %#x in READDIRPLUS", c, plus)
		}
	}
}

// plusFlags are the attribute flags of an entry of the root in READDIRPLUS.
func (s *share) plusFlags(name string) uint32 {
	s.t.Helper()
	entries, outs := s.all(1, s.openDirectory(1), 1<<16, true)
	for i, e := range entries {
		if e.Name == name {
			return outs[i].Flags
		}
	}
	s.t.Fatalf("%s is not listed", name)
	return 0
}

// TestSyncBelow: a guest that is not told of mounts has them synced with the root. A mount that
// is gone is left out.
func TestSyncBelow(t *testing.T) {
	for _, announce := range []bool{false, true} {
		s := newShare(t, Config{Root: "/", ReadOnly: true, AnnounceSubmounts: announce})
		s.InitFlags(^uint64(0))
		h := header(1)
		s.ok("syncfs", s.SyncFs(nil, &h))
		s.lookupAt(s.nodeOf("proc"), "version")
		var st unix.Stat_t
		if err := unix.Stat("/proc", &st); err != nil {
			t.Fatal(err)
		}
		dev := uint64(unix.Major(st.Dev))<<32 | uint64(unix.Minor(st.Dev))
		want := "/proc"
		if announce {
			want = ""
		}
		if got := s.below.paths[dev]; got != want {
			t.Errorf("announced %v: the file system of /proc is reached by %q, want %q", announce, got, want)
		}
		if announce {
			continue
		}
		fd, err := s.openBelow("/proc", dev)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
		s.ok("syncfs", s.SyncFs(nil, &h))
		s.below.paths[dev] = "/etc" // as if it were mounted elsewhere now
		before := fdCount(t)
		s.ok("syncfs without the mount", s.SyncFs(nil, &h))
		if len(s.below.paths) != 0 || fdCount(t) != before {
			t.Errorf("%d mounts are known, %d fds leaked", len(s.below.paths), fdCount(t)-before)
		}
	}
}
