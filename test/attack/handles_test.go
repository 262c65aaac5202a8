// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// TestMovedOutOfShare: a directory that the host moves out of the share leads a guest that knows it to what
// is below it, and nowhere else: not up, and not to what is beside it.
func TestMovedOutOfShare(t *testing.T) {
	for _, handles := range []string{"prefer", "never"} {
		t.Run(handles, func(t *testing.T) {
			bin, err := realDaemon()
			if err != nil {
				t.Fatal(err)
			}
			d := startDaemon(t, bin, 1, "--inode-file-handles="+handles)
			s := setStage(t, d.shares[0])
			vm, g := guestOn(t, d.socks[0], frontend.Options{})
			defer vm.Close()
			var nodes []uint64 // d, d/sub, d/sub/f
			at := uint64(frontend.RootID)
			for _, name := range []string{"d", "sub", "f"} {
				e, errno := g.Lookup(at, name)
				if errno != 0 {
					t.Fatal(errno)
				}
				at, nodes = e.NodeId, append(nodes, e.NodeId)
			}
			if err := os.Rename(s.share+"/d", s.outside+"/moved"); err != nil {
				t.Fatal(err)
			}
			before := s.fingerprint(t)
			for _, dir := range nodes[:2] {
				for _, name := range []string{"..", "../f", s.outside + "/f"} {
					e, errno := g.Lookup(dir, name)
					if errno == 0 && e.NodeId != nodes[0] { // the parent of sub is d, which it knows
						t.Errorf("LOOKUP of %q in what was moved out leads to %d", name, e.Ino)
					}
				}
			}
			if e, errno := g.Lookup(nodes[0], ".."); errno == 0 {
				t.Errorf("the parent of what was moved out is %d", e.Ino)
			}
			// It keeps what it knows, as on any such daemon: it would do so by not forgetting it.
			if n := readAll(t, g.Client, nodes[2]); n != 1 {
				t.Error("a file that was moved out cannot be read: docs/threats.md says something else")
			}
			if after := s.fingerprint(t); after != before {
				t.Errorf("outside is\n%s\nand was\n%s", after, before)
			}
		})
	}
}

// TestForgedNumbers: nodes and handles are numbers that a guest can make up. None leads anywhere that it
// was not told of, to the end of its last lookup or its release.
func TestForgedNumbers(t *testing.T) {
	bin, err := realDaemon()
	if err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, bin, 1, "--xattr", "--posix-lock", "--flock")
	s := setStage(t, d.shares[0])
	before := s.fingerprint(t)
	vm, g := guestOn(t, d.socks[0], frontend.Options{})
	defer vm.Close()
	var known, fhs []uint64
	for _, name := range []string{"f", "spare"} {
		e, errno := g.Lookup(frontend.RootID, name)
		if errno != 0 {
			t.Fatal(errno)
		}
		f, errno := g.Open(e.NodeId, unix.O_RDWR)
		if errno != 0 {
			t.Fatal(errno)
		}
		known, fhs = append(known, e.NodeId), append(fhs, f.Fh)
	}
	g.Release(known[1], fhs[1], 0)
	g.Forget(known[1], 1)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 4000 {
		node := forge(rnd, known)
		if node == known[0] || node == frontend.RootID {
			continue
		}
		for what, errno := range byNode(g, node) {
			if errno == 0 {
				t.Fatalf("%s of node %#x, which was made up: known are %#x", what, node, known)
			}
		}
	}
	for range 4000 {
		if fh := forge(rnd, fhs); fh != fhs[0] {
			for what, errno := range byHandle(g, known[0], fh) {
				if errno == 0 {
					t.Fatalf("%s of handle %#x, which was made up: known are %#x", what, fh, fhs)
				}
			}
		}
	}
	if _, errno := g.Write(known[0], fhs[0], 0, []byte(inside)); errno != 0 {
		t.Errorf("WRITE by the handle that is there: %v", errno)
	}
	d.alive()
	if after := s.fingerprint(t); after != before {
		t.Errorf("outside is\n%s\nand was\n%s", after, before)
	}
	if b, err := os.ReadFile(filepath.Join(d.shares[0], "f")); err != nil || string(b) != inside {
		t.Errorf("f has %q, %v", b, err)
	}
}

// forge makes up a number: near those that are known, with other generations, or any.
func forge(rnd *rand.Rand, known []uint64) uint64 {
	n := known[rnd.IntN(len(known))]
	switch rnd.IntN(4) {
	case 0:
		return n ^ 1<<rnd.IntN(64)
	case 1:
		return n + uint64(rnd.IntN(64)) - 32
	case 2:
		return n&^0xffff_ffff | uint64(rnd.Uint32())
	}
	return rnd.Uint64()
}

var modeZero = fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE}

// byNode does what needs only a node. The root's node, 1, is always known.
func byNode(g *frontend.Driver, node uint64) map[string]syscall.Errno {
	second := func(_ any, errno syscall.Errno) syscall.Errno { return errno }
	all := map[string]syscall.Errno{
		"GETATTR": second(g.GetAttr(node)), "OPEN": second(g.Open(node, unix.O_RDWR)), "OPENDIR": second(g.OpenDir(node)),
		"LOOKUP": second(g.Lookup(node, "f")), "MKDIR": second(g.Mkdir(node, "x", 0o755, 0)), "UNLINK": g.Unlink(node, "f"),
		"READLINK": second(g.Readlink(node)), "LINK": second(g.Link(node, frontend.RootID, "linked")), "RENAME": g.Rename(frontend.RootID, "f", node, "f"),
		"SETATTR": second(g.SetAttr(node, modeZero)), "SETXATTR": g.SetXAttr(node, "user.x", []byte("x"), 0), "STATFS": second(g.StatFs(node)),
		"CREATE": second(g.Create(node, "x", unix.O_RDWR, 0o600, 0)), "TMPFILE": second(g.Tmpfile(node, unix.O_RDWR, 0o600, 0)),
	}
	g.Forget(node, 1<<40)
	return all
}

// byHandle does what needs a handle.
func byHandle(g *frontend.Driver, node, fh uint64) map[string]syscall.Errno {
	second := func(_ any, errno syscall.Errno) syscall.Errno { return errno }
	g.Release(node, fh, 0) // these are always answered well
	g.ReleaseDir(node, fh)
	data := slices.Repeat([]byte{'x'}, 16)
	return map[string]syscall.Errno{
		"READ": second(g.Read(node, fh, 0, data)), "WRITE": second(g.Write(node, fh, 0, []byte("forged"))), "FSYNC": g.Fsync(node, fh, false),
		"FLUSH": g.Flush(node, fh, 0), "READDIR": second(g.ReadDir(node, fh, 0, 1024)), "LSEEK": second(g.Lseek(node, fh, 0, unix.SEEK_DATA)),
		"FALLOCATE": g.Fallocate(node, fh, 0, 10, 0),
	}
}
