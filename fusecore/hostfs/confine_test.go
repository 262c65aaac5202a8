// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// nameOps are all operations that take a name, done with it in directory node dir.
var nameOps = map[string]func(s *share, dir uint64, name string) fuse.Status{
	"lookup": func(s *share, dir uint64, name string) fuse.Status {
		h := header(dir)
		return s.Lookup(nil, &h, name, &fuse.EntryOut{})
	},
	"mkdir": func(s *share, dir uint64, name string) fuse.Status {
		return s.Mkdir(nil, &fuse.MkdirIn{InHeader: header(dir), Mode: 0o755}, name, &fuse.EntryOut{})
	},
	"mknod": func(s *share, dir uint64, name string) fuse.Status {
		return s.Mknod(nil, &fuse.MknodIn{InHeader: header(dir), Mode: unix.S_IFREG | 0o644}, name, &fuse.EntryOut{})
	},
	"create": func(s *share, dir uint64, name string) fuse.Status {
		return s.Create(nil, &fuse.CreateIn{InHeader: header(dir), Flags: unix.O_RDWR | unix.O_CREAT}, name, &fuse.CreateOut{})
	},
	"symlink": func(s *share, dir uint64, name string) fuse.Status {
		h := header(dir)
		return s.Symlink(nil, &h, "target", name, &fuse.EntryOut{})
	},
	"link": func(s *share, dir uint64, name string) fuse.Status {
		return s.Link(nil, &fuse.LinkIn{InHeader: header(dir), Oldnodeid: s.nodeOf("file")}, name, &fuse.EntryOut{})
	},
	"unlink": func(s *share, dir uint64, name string) fuse.Status {
		h := header(dir)
		return s.Unlink(nil, &h, name)
	},
	"rmdir": func(s *share, dir uint64, name string) fuse.Status {
		h := header(dir)
		return s.Rmdir(nil, &h, name)
	},
	"rename from": func(s *share, dir uint64, name string) fuse.Status {
		return s.Rename(nil, &fuse.RenameIn{InHeader: header(dir), Newdir: 1}, name, "moved")
	},
	"rename to": func(s *share, dir uint64, name string) fuse.Status {
		return s.Rename(nil, &fuse.RenameIn{InHeader: header(1), Newdir: dir}, "file", name)
	},
}

// TestNamesCannotLeave: no name reaches beyond its directory, in any operation, and nothing
// inside or outside is touched by the attempt.
func TestNamesCannotLeave(t *testing.T) {
	names := map[string]unix.Errno{
		"": unix.EINVAL, ".": unix.EINVAL, "..": unix.EINVAL, "/": unix.EINVAL, "../x": unix.EINVAL,
		"a/b": unix.EINVAL, "/etc/passwd": unix.EINVAL, "sub/../../victim": unix.EINVAL, "../victim": unix.EINVAL,
		"file/": unix.EINVAL, "./file": unix.EINVAL, "file\x00": unix.EINVAL, "\x00": unix.EINVAL, "a\x00/../b": unix.EINVAL,
		strings.Repeat("x", 256): unix.ENAMETOOLONG, strings.Repeat("x", 5000): unix.ENAMETOOLONG,
	}
	bothWays(t, func(t *testing.T, c Config) {
		outside := t.TempDir()
		c.Root = filepath.Join(outside, "share")
		for _, dir := range []string{"share/sub", "victim-dir"} {
			if err := os.MkdirAll(filepath.Join(outside, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		s := newShare(t, c)
		s.put("file", "data")
		s.put("../victim", "precious")
		before := snapshot(t, outside)
		sub := s.nodeOf("sub")
		for op, do := range nameOps {
			for name, errno := range names {
				for _, dir := range []uint64{1, sub} {
					want(t, op+" "+name, do(s, dir, name), errno)
				}
			}
		}
		if after := snapshot(t, outside); after != before {
			t.Errorf("touched:\n%s\nbefore:\n%s", after, before)
		}
	})
}

// snapshot lists all that is below dir, with types, sizes and link counts.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		all = append(all, strings.Join([]string{path, d.Type().String(), string(rune('0' + st.Nlink))}, " "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(all)
	return strings.Join(all, "\n")
}

// TestLinksAreNotFollowed: a link in the share, in the last place or as a directory, leads nowhere.
func TestLinksAreNotFollowed(t *testing.T) {
	s := newShare(t, Config{})
	for name, target := range map[string]string{"etc": "/etc", "up": "..", "self": ".", "magic": "/proc/self/root"} {
		if err := os.Symlink(target, s.path(name)); err != nil {
			t.Fatal(err)
		}
		e := s.lookupAt(1, name)
		if e.Mode&unix.S_IFMT != unix.S_IFLNK {
			t.Errorf("%s was followed: mode %o", name, e.Mode)
		}
		h := header(e.NodeId)
		want(t, "lookup below "+name, s.Lookup(nil, &h, "passwd", &fuse.EntryOut{}), unix.ENOTDIR)
		want(t, "opendir of "+name, s.OpenDir(nil, &fuse.OpenIn{InHeader: h}, &fuse.OpenOut{}), unix.ENOTDIR)
		want(t, "mkdir below "+name, s.Mkdir(nil, &fuse.MkdirIn{InHeader: h}, "x", &fuse.EntryOut{}), unix.ENOTDIR)
		_, st := setAttr(s, e.NodeId, fuse.FATTR_SIZE, func(*fuse.SetAttrIn) {})
		want(t, "truncate of "+name, st, unix.EINVAL)
	}
}

// TestMovedOutside: a directory that the host moved out of the share still cannot be left upwards.
func TestMovedOutside(t *testing.T) {
	outside := t.TempDir()
	root := filepath.Join(outside, "share")
	if err := os.MkdirAll(filepath.Join(root, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := newShare(t, Config{Root: root})
	h := header(s.nodeOf("d"))
	if err := os.Rename(filepath.Join(root, "d"), filepath.Join(outside, "d")); err != nil {
		t.Fatal(err)
	}
	want(t, "lookup", s.Lookup(nil, &h, "..", &fuse.EntryOut{}), unix.EINVAL)
}

// TestRawNames: names are bytes.
func TestRawNames(t *testing.T) {
	s := newShare(t, Config{})
	for _, name := range []string{"\xff\xfe", "a\nb", " ", "...", "..a", strings.Repeat("\xc3", 255)} {
		id := s.mkdir(1, name)
		if got := s.nodeOf(name); got != id {
			t.Errorf("%q: node %d, then %d", name, id, got)
		}
	}
	d, err := os.ReadDir(s.dir)
	if err != nil || len(d) != 6 {
		t.Errorf("%d names on the host, %v", len(d), err)
	}
}
