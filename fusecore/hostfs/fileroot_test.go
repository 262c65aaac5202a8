// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// TestFileAsRoot shares a single regular file: it can be used, there is nothing in it, and nothing
// beside it can be reached.
func TestFileAsRoot(t *testing.T) {
	bothWays(t, func(t *testing.T, c Config) {
		dir := t.TempDir()
		c.Root = filepath.Join(dir, "file")
		for _, name := range []string{"file", "other"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("text of "+name), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s := newShare(t, c)
		s.InitFlags(^uint64(0))
		a, st := s.attrOf(1)
		if s.ok("getattr", st); a.Mode != unix.S_IFREG|0o644 || a.Size != 12 {
			t.Errorf("%+v", a)
		}
		if got := s.readAll(1); got != "text of file" {
			t.Errorf("reads %q", got)
		}
		fh := s.openFile(1, unix.O_RDWR)
		_, st = s.Write(nil, &fuse.WriteIn{InHeader: header(1), Fh: fh}, []byte("TEXT"))
		s.ok("write", st)
		_, st = setAttr(s, 1, fuse.FATTR_SIZE, func(in *fuse.SetAttrIn) { in.Size = 7 })
		s.ok("truncate", st)
		if got, _ := os.ReadFile(c.Root); string(got) != "TEXT of" {
			t.Errorf("the host reads %q", got)
		}
		h := header(1)
		s.ok("syncfs", s.SyncFs(nil, &h))
		for _, name := range []string{"other", "file", ".."} {
			want(t, "lookup of "+name, s.Lookup(nil, &h, name, &fuse.EntryOut{}), unix.ENOTDIR)
		}
		want(t, "opendir", s.OpenDir(nil, &fuse.OpenIn{InHeader: h}, &fuse.OpenOut{}), unix.ENOTDIR)
		for op, do := range nameOps {
			if op != "link" { // which looks up a file first
				want(t, op, do(s, 1, "name"), unix.ENOTDIR)
			}
		}
	})
}
