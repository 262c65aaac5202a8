// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// TestOwners: what a guest's user makes belongs to him; a daemon without privileges makes
// everything its own.
func TestOwners(t *testing.T) {
	s := newShare(t, Config{})
	if err := os.Chmod(s.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	uid, gid := uint32(12345), uint32(23456)
	h := header(1)
	h.Uid, h.Gid = uid, gid
	var e fuse.EntryOut
	var c, tmp fuse.CreateOut
	s.ok("mkdir", s.Mkdir(nil, &fuse.MkdirIn{InHeader: h, Mode: 0o755}, "dir", &e))
	s.ok("mknod", s.Mknod(nil, &fuse.MknodIn{InHeader: h, Mode: unix.S_IFIFO | 0o644}, "fifo", &e))
	s.ok("symlink", s.Symlink(nil, &h, "x", "link", &e))
	s.ok("create", s.Create(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_RDWR, Mode: 0o644}, "file", &c))
	s.ok("tmpfile", s.Tmpfile(nil, &fuse.CreateIn{InHeader: h, Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: 0o644}, &tmp))
	if os.Geteuid() != 0 {
		uid, gid = uint32(os.Geteuid()), uint32(os.Getegid())
	}
	for _, name := range []string{"dir", "fifo", "link", "file"} {
		if e := s.lookupAt(1, name); e.Uid != uid || e.Gid != gid {
			t.Errorf("%s belongs to %d:%d", name, e.Uid, e.Gid)
		}
	}
	if c.Uid != uid || c.Gid != gid || tmp.Uid != uid || tmp.Gid != gid {
		t.Errorf("created %d:%d, unnamed %d:%d", c.Uid, c.Gid, tmp.Uid, tmp.Gid)
	}
	// A directory that only root may write to: the guest's kernel has let the caller through.
	root := s.mkdir(1, "private")
	h.NodeId = root
	s.ok("mkdir where the caller may not", s.Mkdir(nil, &fuse.MkdirIn{InHeader: h, Mode: 0o755}, "dir", &e))
	// A group's directory hands its group on.
	if err := unix.Chown(s.path("private"), -1, os.Getegid()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.path("private"), 0o755|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	s.ok("mkdir in a group's directory", s.Mkdir(nil, &fuse.MkdirIn{InHeader: h, Mode: 0o755}, "inherits", &e))
	if e.Uid != uid || e.Gid != uint32(os.Getegid()) || e.Mode&unix.S_ISGID == 0 {
		t.Errorf("in a group's directory: %d:%d %o", e.Uid, e.Gid, e.Mode)
	}
}

// TestCallersGroups: a setgid bit stays with who is in the group of the directory, and groups that
// came with one request are not those of the next, however many run at once.
func TestCallersGroups(t *testing.T) {
	const group = 3333
	s := newShare(t, Config{GIDs: idMap(t, "guest:33:3333:1", "forbid-guest:34:1")})
	root := os.Geteuid() == 0
	if root {
		if err := unix.Chown(s.dir, -1, group); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Chmod(s.dir, 0o2777); err != nil {
		t.Fatal(err)
	}
	make := func(name string, groups ...uint32) fuse.Status {
		in := fuse.CreateIn{InHeader: caller(1, 1000, 1000), Flags: unix.O_RDWR, Mode: 0o2755}
		var out fuse.CreateOut
		fs := fuse.RawFileSystem(s.FS)
		if len(groups) > 0 {
			fs = s.WithGroups(groups)
		}
		st := fs.Create(nil, &in, name, &out)
		if kept := out.Mode&unix.S_ISGID != 0; root && st.Ok() && kept != (len(groups) > 0) {
			t.Errorf("%s, made with groups %v, has mode %o", name, groups, out.Mode)
		}
		if st.Ok() {
			s.Release(nil, &fuse.ReleaseIn{InHeader: header(out.NodeId), Fh: out.Fh})
		}
		return st
	}
	want(t, "create with a forbidden group", make("forbidden", 34), unix.EPERM)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 50 {
				groups := []uint32{33, 7}[:n%3] // none, one or two
				if st := make(fmt.Sprintf("f%d-%d", i, n), groups...); !st.Ok() {
					t.Errorf("create with groups %v: %v", groups, st)
				}
			}
		})
	}
	wg.Wait()
}
