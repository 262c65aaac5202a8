// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// anyNames are names of every byte that a name can have: alone, and behind what is no UTF-8.
func anyNames() (names []string) {
	for c := 1; c < 256; c++ {
		if c != '/' {
			if c != '.' {
				names = append(names, string([]byte{byte(c)}))
			}
			names = append(names, string([]byte{0xc3, byte(c), 0xff}))
		}
	}
	return names
}

// Names are bytes, not text: made, listed, renamed and removed as they are.
func TestNamesOfAnyBytes(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	names := anyNames()
	for _, name := range names {
		out, errno := g.Create(root, name, unix.O_RDWR|unix.O_EXCL, 0o644, 0)
		ok(t, "CREATE", errno)
		ok(t, "RELEASE", g.Release(out.NodeId, out.Fh, 0))
		if g.lookup(root, name) != out.NodeId {
			t.Errorf("%q is another file when it is looked up", name)
		}
	}
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		t.Fatal(err)
	}
	var onHost []string
	for _, e := range entries {
		onHost = append(onHost, e.Name())
	}
	slices.Sort(names)
	slices.Sort(onHost)
	if !slices.Equal(names, onHost) {
		t.Errorf("the host has %q", onHost)
	}
	dir, errno := g.OpenDir(root)
	ok(t, "OPENDIR", errno)
	var listed []string
	for off := uint64(0); ; {
		es, errno := g.ReadDirPlus(root, dir.Fh, off, 4096)
		ok(t, "READDIRPLUS", errno)
		if len(es) == 0 {
			break
		}
		for _, e := range es {
			if off = e.Off; e.Name != "." && e.Name != ".." {
				listed = append(listed, e.Name)
			}
		}
	}
	if slices.Sort(listed); !slices.Equal(names, listed) {
		t.Errorf("listed are %q", listed)
	}
	for _, name := range names {
		to := name + "\n" + name
		ok(t, "RENAME", g.Rename(root, name, root, to))
		ok(t, "UNLINK", g.Unlink(root, to))
	}
}

// Names and values of attributes are bytes, too.
func TestXAttrsOfAnyBytes(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	write(t, g.path("f"), "")
	node := g.lookup(root, "f")
	value := make([]byte, 256)
	for i := range value {
		value[i] = byte(i)
	}
	for c := 1; c < 256; c++ {
		name := "user." + string([]byte{byte(c), 0xff})
		ok(t, "SETXATTR", g.SetXAttr(node, name, value, 0))
		got := make([]byte, 300)
		n, err := unix.Lgetxattr(g.path("f"), name, got)
		if err != nil || !slices.Equal(got[:n], value) {
			t.Fatalf("%q on the host: %x, %v", name, got[:max(n, 0)], err)
		}
		back, errno := g.GetXAttr(node, name, 300)
		if ok(t, "GETXATTR", errno); !slices.Equal(back, value) {
			t.Errorf("%q: %x", name, back)
		}
		list, errno := g.ListXAttr(node, 1000)
		if ok(t, "LISTXATTR", errno); !slices.Contains(list, name) {
			t.Errorf("%q is not in the list %q", name, list)
		}
		ok(t, "REMOVEXATTR", g.RemoveXAttr(node, name))
	}
}
