// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"golang.org/x/sys/unix"
)

// bothWays runs a test with files that are reopened by handle, where the process may, and by name.
func bothWays(t *testing.T, f func(t *testing.T, c Config)) {
	t.Run("name", func(t *testing.T) { f(t, Config{Handles: HandlesNever}) })
	t.Run("handle", func(t *testing.T) {
		s := newShare(t, Config{})
		if got, want := s.host.handles, mayUseHandles(t, s.dir); got != want {
			t.Fatalf("handles are used: %v, possible: %v", got, want)
		}
		f(t, Config{})
	})
}

// mayUseHandles finds out by the plain calls of x/sys whether handles work in dir.
func mayUseHandles(t *testing.T, dir string) bool {
	fh, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir, 0)
	if err != nil {
		return false
	}
	mount, err := unix.Open(dir, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(mount)
	fd, err := unix.OpenByHandleAt(mount, fh, unix.O_PATH)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

// TestEvictedFiles knows 1,000 files with 8 fds, renames some meanwhile, and reaches them all.
func TestEvictedFiles(t *testing.T) {
	bothWays(t, func(t *testing.T, c Config) {
		const files = 1000
		c.FDBudget = 8
		s := newShare(t, c)
		dirs := []uint64{s.mkdir(1, "d0"), s.mkdir(1, "d1")}
		deep := s.mkdir(dirs[1], "deep")
		ids, names := make([]uint64, files), make([]string, files)
		for i := range ids {
			names[i] = fmt.Sprint("f", i)
			s.put("d0/"+names[i], names[i])
			ids[i] = s.lookupAt(dirs[0], names[i]).NodeId
			switch h := header(dirs[0]); i % 10 {
			case 1: // the file moves
				s.ok("rename", s.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: deep}, names[i], names[i]))
			case 2: // it goes away, but the guest has it open
				fh := s.openFile(ids[i], unix.O_RDONLY)
				s.ok("unlink", s.Unlink(nil, &h, names[i]))
				defer s.Release(nil, &fuse.ReleaseIn{InHeader: header(ids[i]), Fh: fh})
			case 3: // it gets another name and loses the first
				var e fuse.EntryOut
				s.ok("link", s.Link(nil, &fuse.LinkIn{InHeader: header(deep), Oldnodeid: ids[i]}, names[i], &e))
				s.ok("unlink", s.Unlink(nil, &h, names[i]))
			case 4: // another one is moved over it, then back
				s.ok("exchange", s.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: dirs[0], Flags: unix.RENAME_EXCHANGE}, names[i], names[i-4]))
			}
		}
		s.ok("rename of a directory", s.Rename(nil, &fuse.RenameIn{InHeader: header(dirs[1]), Newdir: 1}, "deep", "moved"))
		for i, id := range ids {
			a, st := s.attrOf(id)
			if !st.Ok() || a.Size != uint64(len(names[i])) {
				t.Fatalf("%s: %v, size %d", names[i], st, a.Size)
			}
			if got := s.readAll(id); got != names[i] {
				t.Fatalf("node of %s reads %q", names[i], got)
			}
		}
		// Removed files that are reopened by name must keep theirs.
		if got, most := s.nodes.FDs(), 8+files/10+64; got > most {
			t.Errorf("%d fds", got)
		}
	})
}

func (s *share) readAll(node uint64) string {
	s.t.Helper()
	fh := s.openFile(node, unix.O_RDONLY)
	buf := make([]byte, 4096)
	n, st := s.Readv(nil, &fuse.ReadIn{InHeader: header(node), Fh: fh, Size: 4096}, [][]byte{buf})
	s.ok("read", st)
	s.Release(nil, &fuse.ReleaseIn{InHeader: header(node), Fh: fh})
	return string(buf[:n])
}

// TestEvictedAndGone: a file that the host removed while it was evicted is stale, and so is one
// that was replaced; nobody gets the new file by the old one's node.
func TestEvictedAndGone(t *testing.T) {
	bothWays(t, func(t *testing.T, c Config) {
		s := newShare(t, c)
		s.put("gone", "1")
		s.put("replaced", "2")
		gone, replaced := s.nodeOf("gone"), s.nodeOf("replaced")
		for range 4 {
			s.nodes.Relieve(10)
		}
		if n := s.nodes.FDs(); n != 0 {
			t.Fatalf("%d fds are left", n)
		}
		for _, name := range []string{"gone", "replaced"} {
			if err := os.Remove(s.path(name)); err != nil {
				t.Fatal(err)
			}
		}
		s.put("replaced", "new")
		_, st := s.attrOf(gone)
		want(t, "removed", st, unix.ESTALE)
		_, st = s.attrOf(replaced)
		want(t, "replaced", st, unix.ESTALE)
		if n := s.nodeOf("replaced"); n == replaced {
			t.Error("the new file has the old one's node")
		}
	})
}

// TestHandleLimit: too many open files are refused, and after a close it goes on.
func TestHandleLimit(t *testing.T) {
	s := newShare(t, Config{MaxHandles: 3})
	s.put("a", "x")
	n := s.nodeOf("a")
	open := []uint64{s.openFile(n, 0), s.openFile(n, 0), s.openDirectory(1)}
	var out fuse.OpenOut
	want(t, "open", s.Open(nil, &fuse.OpenIn{InHeader: header(n)}, &out), unix.ENFILE)
	want(t, "opendir", s.OpenDir(nil, &fuse.OpenIn{InHeader: header(1)}, &out), unix.ENFILE)
	before := s.nodes.Len()
	want(t, "create", s.Create(nil, &fuse.CreateIn{InHeader: header(1), Flags: unix.O_RDWR, Mode: 0o600}, "new", &fuse.CreateOut{}), unix.ENFILE)
	if got := s.nodes.Len(); got != before {
		t.Errorf("a failed create left %d nodes behind", got-before)
	}
	if _, err := os.Lstat(filepath.Join(s.dir, "new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a failed create left a file behind: %v", err)
	}
	s.Release(nil, &fuse.ReleaseIn{InHeader: header(n), Fh: open[0]})
	s.openFile(n, 0)
}

// TestReset forgets nodes and handles; the root stays.
func TestReset(t *testing.T) {
	s := newShare(t, Config{})
	f := s.createFile("f", unix.O_RDWR)
	before := fdCount(t)
	s.Reset()
	if got := fdCount(t); got != before-2 {
		t.Errorf("%d fds after a reset, %d before", got, before)
	}
	_, st := s.attrOf(f.NodeId)
	want(t, "old node", st, unix.ESTALE)
	_, st = s.Write(nil, &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh}, []byte("x"))
	want(t, "old handle", st, unix.EBADF)
	if n := s.nodeOf("f"); n == f.NodeId {
		t.Error("node id came back")
	}
}

func fdCount(t testing.TB) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// TestMemoryPerFile: what 200,000 known files cost beyond their fds.
func TestMemoryPerFile(t *testing.T) {
	const files, most = 200_000, 200
	name := func(i int) string { return "some-file-" + strconv.Itoa(i) }
	root := quickDir(t)
	dir, err := unix.Open(root, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	for i := range files {
		if err := unix.Mknodat(dir, name(i), unix.S_IFREG|0o600, 0); err != nil {
			t.Fatal(err)
		}
	}
	bothWays(t, func(t *testing.T, c Config) {
		c.FDBudget, c.Root = 200, root
		s := newShare(t, c)
		h := header(1)
		before := memory(t)
		var e fuse.EntryOut
		for i := range files {
			if st := s.Lookup(nil, &h, name(i), &e); !st.Ok() {
				t.Fatalf("%s: %v", name(i), st)
			}
		}
		used := memory(t) - before
		t.Logf("%d bytes a file; the table says %d", used/files, s.nodes.Memory()/files)
		if s.nodes.Len() != files+1 || used/files > most {
			t.Errorf("%d nodes, %d bytes each", s.nodes.Len(), used/files)
		}
		if n := s.nodes.FDs(); n > 400 {
			t.Errorf("%d fds", n)
		}
		if _, st := s.attrOf(e.NodeId - files/2); !st.Ok() {
			t.Errorf("a file in the middle: %v", st)
		}
	})
}

// quickDir is a directory in memory if there is room for the files there.
func quickDir(t *testing.T) string {
	const shm, files = "/dev/shm", 300_000
	var st unix.Statfs_t
	if unix.Statfs(shm, &st) != nil || st.Type != unix.TMPFS_MAGIC || st.Ffree < files || unix.Access(shm, unix.W_OK) != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(shm, "hostfs-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// memory is the process's own memory, its memfds included, in bytes.
func memory(t *testing.T) int {
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) == 3 && (f[0] == "RssAnon:" || f[0] == "RssShmem:") {
			kb, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			total += kb << 10
		}
	}
	return total
}

// TestBirthChanges: what counts at eviction is the birth time that the file has then.
func TestBirthChanges(t *testing.T) {
	bothWays(t, func(t *testing.T, c Config) {
		s := newShare(t, c)
		s.put("f", "x")
		root, err := s.node(1)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Release()
		fd, err := unix.Openat(root.FD(), "f", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		var st unix.Statx_t
		if err := statFD(fd, &st); err != nil {
			t.Fatal(err)
		}
		now := identity(&st)
		cold := inodes.Cold{Identity: now}
		cold.Birth--
		if s.host.named(now.Mnt) {
			cold.Name = []byte("f")
		}
		handle, birth, ok := s.host.Freeze(fd, cold, root.FD(), nil)
		if !ok || birth != now.Birth || s.host.named(now.Mnt) == (len(handle) > 0) {
			t.Errorf("%v, birth %d, handle %v; the file's birth is %d", ok, birth, handle, now.Birth)
		}
	})
}
