// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	unix.Umask(0) // as a daemon serves
	os.Exit(m.Run())
}

// share is a file system on a directory of its own, with helpers that fail the test.
type share struct {
	*FS
	t     testing.TB
	dir   string
	mtime int64 // see change
}

func newShare(t testing.TB, c Config) *share {
	t.Helper()
	if c.Root == "" {
		c.Root = t.TempDir()
	}
	if c.MaxInodes == 0 {
		c.MaxInodes = 1 << 20
	}
	fs, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fs.Close() })
	return &share{FS: fs, t: t, dir: c.Root}
}

func (s *share) path(name string) string { return filepath.Join(s.dir, name) }

func (s *share) put(name, data string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(data), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *share) text(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func header(node uint64) fuse.InHeader {
	return fuse.InHeader{NodeId: node, Caller: fuse.Caller{Owner: fuse.Owner{
		Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}}}
}

func (s *share) ok(what string, st fuse.Status) {
	s.t.Helper()
	if !st.Ok() {
		s.t.Fatalf("%s: %v", what, st)
	}
}

func want(t testing.TB, what string, got fuse.Status, errno unix.Errno) {
	t.Helper()
	if got != fuse.Status(errno) {
		t.Errorf("%s: got %v, want %v", what, got, fuse.Status(errno))
	}
}

func (s *share) lookupAt(dir uint64, name string) fuse.EntryOut {
	s.t.Helper()
	h, out := header(dir), fuse.EntryOut{}
	s.ok("lookup "+name, s.Lookup(nil, &h, name, &out))
	return out
}

func (s *share) nodeOf(name string) uint64 {
	s.t.Helper()
	return s.lookupAt(1, name).NodeId
}

func (s *share) openFile(node uint64, flags int) uint64 {
	s.t.Helper()
	var out fuse.OpenOut
	s.ok("open", s.Open(nil, &fuse.OpenIn{InHeader: header(node), Flags: uint32(flags)}, &out))
	return out.Fh
}

func (s *share) openDirectory(node uint64) uint64 {
	s.t.Helper()
	var out fuse.OpenOut
	s.ok("opendir", s.OpenDir(nil, &fuse.OpenIn{InHeader: header(node)}, &out))
	return out.Fh
}

func (s *share) createFile(name string, flags int) fuse.CreateOut {
	s.t.Helper()
	var out fuse.CreateOut
	s.ok("create "+name, s.Create(nil, &fuse.CreateIn{InHeader: header(1), Flags: uint32(flags), Mode: 0o644}, name, &out))
	return out
}

func (s *share) mkdir(dir uint64, name string) uint64 {
	s.t.Helper()
	var out fuse.EntryOut
	s.ok("mkdir "+name, s.Mkdir(nil, &fuse.MkdirIn{InHeader: header(dir), Mode: 0o755}, name, &out))
	return out.NodeId
}

func (s *share) attrOf(node uint64) (fuse.Attr, fuse.Status) {
	var out fuse.AttrOut
	st := s.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(node)}, &out)
	return out.Attr, st
}
