// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// TestExport asks for nodes as a guest's kernel does that was given a file handle: by their ids,
// which it has forgotten. Both with file handles of the host and with names.
func TestExport(t *testing.T) {
	for _, mode := range []hostfs.HandleMode{hostfs.HandlesPrefer, hostfs.HandlesNever} {
		t.Run(string(mode), func(t *testing.T) {
			dir := t.TempDir()
			for _, d := range []string{"d", "d/e"} {
				if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, "d/e/f"), "data")
			fs := shareFS(t, hostfs.Config{Root: dir, Handles: mode})
			t.Cleanup(func() { _ = fs.Close() })
			g := attach(t, fs, frontend.Options{})
			g.dir = dir
			testExport(g)
		})
	}
}

func testExport(g *guest) {
	t := g.t
	d := g.lookup(root, "d")
	e := g.lookup(d, "e")
	f := g.lookup(e, "f")
	for _, n := range []uint64{f, e, d, root} {
		g.Forget(n, 1)
	}

	again, errno := g.Lookup(f, ".")
	ok(t, "LOOKUP of . in a forgotten file", errno)
	if again.NodeId != f || again.Size != 4 {
		t.Errorf("node %#x of %d bytes, was %#x of 4", again.NodeId, again.Size, f)
	}
	open, errno := g.Open(f, syscall.O_RDONLY)
	ok(t, "OPEN", errno)
	data := make([]byte, 10)
	if n, errno := g.Read(f, open.Fh, 0, data); errno != 0 || string(data[:n]) != "data" {
		t.Errorf("reads %q, %v", data[:n], errno)
	}
	ok(t, "RELEASE", g.Release(f, open.Fh, 0))
	want(t, "LOOKUP of .. in a file", second(g.Lookup(f, "..")), syscall.ENOTDIR)

	again, errno = g.Lookup(e, ".")
	ok(t, "LOOKUP of . in a forgotten directory", errno)
	for _, c := range []struct{ child, parent uint64 }{{e, d}, {d, root}, {root, root}} {
		up, errno := g.Lookup(c.child, "..")
		ok(t, "LOOKUP of ..", errno)
		if up.NodeId != c.parent {
			t.Errorf("the parent of node %#x is %#x, want %#x", c.child, up.NodeId, c.parent)
		}
	}

	// A file that is gone is stale, also when its inode number belongs to another one.
	g.Forget(f, 2)
	if err := os.Remove(g.path("d/e/f")); err != nil {
		t.Fatal(err)
	}
	write(t, g.path("d/e/f"), "another")
	want(t, "LOOKUP of . in a file that is gone", second(g.Lookup(f, ".")), syscall.ESTALE)
	if now := g.lookup(e, "f"); now == f {
		t.Error("the new file has the old one's node")
	}
	want(t, "LOOKUP of . in a node that never was", second(g.Lookup(f+1<<32, ".")), syscall.ESTALE)
	g.alive()
}
