// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// roomy is more than any reply's fixed part.
const roomy = 256

// raw sends bytes as a request and waits until the device is done with them. It returns the
// status of the reply, or answered=false if there was none.
func (g *guest) raw(frame []byte, room ...int) (errno syscall.Errno, answered bool) {
	g.t.Helper()
	if room == nil {
		room = []int{16, roomy}
	}
	p := g.Client.Queue().Submit([][]byte{frame}, room)
	n, err := p.Wait()
	if err != nil {
		g.t.Fatalf("request of %d bytes: %v", len(frame), err)
	}
	defer p.Free()
	var h [16]byte
	if n == 0 {
		return 0, false
	}
	if n < 16 || p.Read(h[:], 0) < 16 || int(binary.NativeEndian.Uint32(h[:])) != n {
		g.t.Fatalf("reply of %d bytes says %x", n, h)
	}
	return syscall.Errno(-int32(binary.NativeEndian.Uint32(h[4:]))), true
}

// refused sends a frame that has to be answered with an error, and looks that the guest is
// served after it.
func (g *guest) refused(what string, frame []byte, room ...int) {
	g.t.Helper()
	if errno, answered := g.raw(frame, room...); !answered || errno == 0 {
		g.t.Errorf("%s: answered %v with %v, want an error", what, answered, errno)
	}
	g.alive()
}

// samples are a well-formed request of each operation, with node and handle to be used.
func samples(node, fh uint64) map[string]frontend.Message { return frontend.Samples(node, fh, roomy) }

// setLength puts a length into a request's header.
func setLength(frame []byte, n uint32) []byte {
	if len(frame) >= 4 {
		binary.NativeEndian.PutUint32(frame, n)
	}
	return frame
}

// Every operation, cut after every byte, once with the length that it should have had and once
// with the one that it has: each is answered or dropped, and the guest goes on.
func TestFramesCutAnywhere(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	node, fh := g.create("f")
	write(t, g.path("sample"), "untouched")
	for name, m := range samples(node, fh) {
		whole := g.Frame(m)
		for n := range whole {
			if errno, answered := g.raw(append([]byte(nil), whole[:n]...)); answered && errno == 0 {
				t.Errorf("%s cut to %d of %d bytes was carried out", name, n, len(whole))
			}
			g.raw(setLength(append([]byte(nil), whole[:n]...), uint32(n)))
		}
		g.alive()
	}
	if _, errno := g.GetAttrFh(node, fh); errno != 0 {
		t.Errorf("the open file was lost: %v", errno)
	}
}

// Every operation with room for a reply from nothing to all that it needs: what does not fit is
// an error, or nothing at all where not even the header fits.
func TestReplyRoom(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	node, fh := g.create("f")
	for name, m := range samples(node, fh) {
		for _, room := range []int{1, 8, 15, 16, 17, 23, 24, 31, 32, 100, 143, 159} {
			p := g.Client.Queue().Submit([][]byte{g.Frame(m)}, []int{room})
			n, err := p.Wait()
			if err != nil {
				t.Fatalf("%s with room for %d bytes: %v", name, room, err)
			}
			if n > room || n != 0 && n < 16 {
				t.Fatalf("%s with room for %d bytes: %d written", name, room, n)
			}
			p.Free()
		}
		p := g.Client.Queue().Submit([][]byte{g.Frame(m)}, nil)
		if n, err := p.Wait(); err != nil || n != 0 {
			t.Fatalf("%s without room: %d bytes, %v", name, n, err)
		}
		p.Free()
		g.alive()
	}
}

// A request may be laid out in any way: byte by byte is the same as in one piece.
func TestFramesInSmallPieces(t *testing.T) {
	g := newGuest(t, frontend.Options{RingSize: 256})
	write(t, g.path("f"), "content")
	for _, piece := range []int{1, 3, 7} {
		frame := g.Frame(frontend.Message{Op: frontend.OpLookup, Node: root, Names: []string{"f"}})
		var in [][]byte
		for len(frame) > 0 {
			n := min(piece, len(frame))
			in, frame = append(in, frame[:n]), frame[n:]
		}
		var out []int
		for n := 16 + 128; n > 0; n -= piece {
			out = append(out, min(piece, n))
		}
		p := g.Client.Queue().Submit(in, out)
		n, err := p.Wait()
		if err != nil || n != 16+128 {
			t.Errorf("LOOKUP in pieces of %d: %d bytes, %v; want %d", piece, n, err, 16+128)
		}
		p.Free()
	}
}

func TestHeaderLength(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	for name, m := range samples(root, 0) {
		whole := g.Frame(m)
		for _, n := range []uint32{0, 1, 39, uint32(len(whole)) - 1, uint32(len(whole)) + 1, 1 << 20, 1<<32 - 1} {
			g.raw(setLength(append([]byte(nil), whole...), n))
		}
		if errno, answered := g.raw(setLength(append([]byte(nil), whole...), 1<<31)); answered && errno == 0 {
			t.Errorf("%s with a length of 2 GiB was carried out", name)
		}
		g.alive()
	}
}

// Names that are not terminated, missing, or more than there should be.
func TestFramesWithBadNames(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	write(t, g.path("a"), "a")
	arg := make([]byte, 16)
	binary.NativeEndian.PutUint64(arg, root)
	for name, m := range map[string]frontend.Message{
		"LOOKUP without NUL":             {Op: frontend.OpLookup, Node: root, Args: []byte("a")},
		"LOOKUP without name":            {Op: frontend.OpLookup, Node: root},
		"LOOKUP with two names":          {Op: frontend.OpLookup, Node: root, Names: []string{"a", "b"}},
		"MKDIR without NUL":              {Op: frontend.OpMkdir, Node: root, Args: append(make([]byte, 8), "x"...)},
		"RENAME with one name":           {Op: frontend.OpRename, Node: root, Args: arg[:8], Names: []string{"a"}},
		"RENAME with one and a half":     {Op: frontend.OpRename, Node: root, Args: append(append([]byte{}, arg[:8]...), "a\x00b"...)},
		"RENAME2 with one name":          {Op: frontend.OpRename2, Node: root, Args: arg, Names: []string{"a"}},
		"SYMLINK without target":         {Op: frontend.OpSymlink, Node: root, Names: []string{"l"}},
		"SYMLINK with an empty target":   {Op: frontend.OpSymlink, Node: root, Names: []string{"l", ""}},
		"LINK without name":              {Op: frontend.OpLink, Node: root, Args: arg[:8]},
		"GETXATTR without name":          {Op: frontend.OpGetxattr, Node: root, Args: make([]byte, 8)},
		"GETXATTR with an empty name":    {Op: frontend.OpGetxattr, Node: root, Args: make([]byte, 8), Names: []string{""}},
		"REMOVEXATTR without NUL":        {Op: frontend.OpRemovexattr, Node: root, Args: []byte("user.x")},
		"SETXATTR with too little value": {Op: frontend.OpSetxattr, Node: root, Args: []byte{100, 0, 0, 0, 0, 0, 0, 0}, Names: []string{"user.x"}, Data: []byte("v")},
		"SETXATTR with too much value":   {Op: frontend.OpSetxattr, Node: root, Args: []byte{1, 0, 0, 0, 0, 0, 0, 0}, Names: []string{"user.x"}, Data: []byte("value")},
		"SETXATTR of 4 GiB":              {Op: frontend.OpSetxattr, Node: root, Args: []byte{255, 255, 255, 255, 0, 0, 0, 0}, Names: []string{"user.x"}, Data: []byte("v")},
	} {
		g.refused(name, g.Frame(m))
	}
	if left, _ := os.ReadDir(g.dir); len(left) != 1 {
		t.Errorf("the share holds %v, want a alone", left)
	}
	if n, err := unix.Listxattr(g.dir, nil); err != nil || n != 0 {
		t.Errorf("the root has got xattrs: %d bytes, %v", n, err)
	}
}

// READ and WRITE whose size and buffers disagree.
func TestDataSizes(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	node, fh := g.create("f")
	_, errno := g.Write(node, fh, 0, []byte("0123456789"))
	ok(t, "WRITE", errno)
	sized := func(op frontend.Opcode, size uint32, data []byte) []byte {
		args := make([]byte, 40)
		binary.NativeEndian.PutUint64(args, fh)
		binary.NativeEndian.PutUint32(args[16:], size)
		return g.Frame(frontend.Message{Op: op, Node: node, Args: args, Data: data})
	}
	g.refused("WRITE of 4 with 100 bytes", sized(frontend.OpWrite, 4, make([]byte, 100)))
	g.refused("WRITE of 100 with 4 bytes", sized(frontend.OpWrite, 100, make([]byte, 4)))
	g.refused("WRITE of 4 GiB", sized(frontend.OpWrite, 1<<32-1, make([]byte, 4)))
	if got := read(t, g.path("f")); got != "0123456789" {
		t.Errorf("a refused WRITE left %q", got)
	}
	// With less room than size: an error, or what there is, never more than the room.
	g.raw(sized(frontend.OpRead, 1000, nil), 16, 4)
	g.alive()
	// With more room than size only size bytes come.
	p := g.Client.Queue().Submit([][]byte{sized(frontend.OpRead, 4, nil)}, []int{16, 1000})
	if n, err := p.Wait(); err != nil || n != 16+4 {
		t.Errorf("READ of 4 bytes with room for 1000: %d written, %v; want %d", n, err, 16+4)
	}
	p.Free()
	g.alive()
}

// Node ids and handles that mean nothing, offsets that overflow.
func TestForeignNumbers(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	node, fh := g.create("f")
	gone := g.lookup(root, "f")
	ok(t, "RELEASE", g.Release(node, fh, 0))
	g.Forget(gone, 2)
	for _, n := range []uint64{0, 2, gone, 1 << 31, 1 << 32, 1 << 63, 1<<64 - 1} {
		for name, m := range samples(n, n) {
			if m.Node != n || m.Op == frontend.OpForget {
				continue
			}
			errno, answered := g.raw(g.Frame(m))
			if answered && errno == 0 && m.Op != frontend.OpFlush && m.Op != frontend.OpRelease {
				t.Errorf("%s of node and handle %d was carried out", name, n)
			}
		}
		g.alive()
	}
	node, fh = g.create("g")
	for _, off := range []uint64{1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		buf := make([]byte, 100)
		if n, errno := g.Read(node, fh, off, buf); n != 0 {
			t.Errorf("READ at %d: %d bytes, %v", off, n, errno)
		}
		if n, errno := g.Write(node, fh, off, buf); errno == 0 || n != 0 {
			t.Errorf("WRITE at %d: %d bytes, %v", off, n, errno)
		}
		g.CopyFileRange(frontend.CopyRange{Node: node, Fh: fh, Off: off, NodeOut: node, FhOut: fh, OffOut: off, Len: 1<<64 - 1})
		g.CopyFileRange64(frontend.CopyRange{Node: node, Fh: fh, Off: off, NodeOut: node, FhOut: fh, OffOut: 0, Len: 1<<64 - 1})
		if d, errno := g.OpenDir(root); errno == 0 {
			g.Raw(frontend.OpReaddir, root, frontend.ReadMessage(root, d.Fh, off, 4096).Args, 4096)
			g.Raw(frontend.OpReaddirplus, root, frontend.ReadMessage(root, d.Fh, off, 4096).Args, 4096)
			ok(t, "RELEASEDIR", g.ReleaseDir(root, d.Fh))
		}
		g.alive()
	}
}

// Lookup counts are the guest's word; the root survives any of it.
func TestForget(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	write(t, g.path("f"), "content")
	g.Forget(root, 1<<64-1)
	g.Forget(root, 1)
	g.alive()
	for _, count := range []uint64{0, 1, 2, 1 << 40, 1<<64 - 1} {
		node := g.lookup(root, "f")
		g.Forget(node, count)
		if got := g.lookup(root, "f"); got == root {
			t.Errorf("LOOKUP after FORGET of %d: node %d", count, got)
		}
		g.Forget(1<<50, count)
		g.BatchForget(frontend.Forgotten{Node: node, Lookups: count}, frontend.Forgotten{Node: root, Lookups: count})
		g.alive()
	}
	for _, count := range []uint32{0, 1, 3, 1000, 1<<28 + 1, 1<<32 - 1} {
		node := g.lookup(root, "f")
		g.BatchForgetN(count, frontend.Forgotten{Node: node, Lookups: 1}, frontend.Forgotten{Node: node, Lookups: 1})
		g.alive()
	}
	// Without the counted structure, and on a request queue.
	for n := range 16 {
		g.raw(g.Frame(frontend.Message{Op: frontend.OpBatchForget, Args: make([]byte, n)}))
		g.raw(g.Frame(frontend.Message{Op: frontend.OpForget, Node: root, Args: make([]byte, n)}))
	}
	g.alive()
}

// A forgotten node is not found again by its old number, but by LOOKUP of "."; nor does that number
// ever mean another file.
func TestForgottenNodeIsStale(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	write(t, g.path("f"), "content")
	node := g.lookup(root, "f")
	g.Forget(node, 1)
	want(t, "GETATTR of a forgotten node", second(g.GetAttr(node)), syscall.ESTALE)
	ok(t, "unlink", g.Unlink(root, "f"))
	write(t, g.path("f"), "content")
	if again := g.lookup(root, "f"); again == node {
		t.Errorf("node id %d was used again", node)
	}
}

// Extensions (struct fuse_ext_header) that lie about their size.
func TestExtensions(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	// Without the flag the header's field is padding, and means nothing.
	out := g.MustInit()
	negotiated := out.Flags64()&fuse.CAP_CREATE_SUPP_GROUP != 0
	ext := func(size, kind uint32, body ...uint32) []byte {
		b := binary.NativeEndian.AppendUint32(nil, size)
		b = binary.NativeEndian.AppendUint32(b, kind)
		for _, w := range body {
			b = binary.NativeEndian.AppendUint32(b, w)
		}
		return b
	}
	const supGroups = 32 // FUSE_EXT_GROUPS
	for i, e := range [][]byte{
		ext(0, supGroups), ext(1, supGroups), ext(8, supGroups), ext(1<<31, supGroups), ext(1<<32-1, supGroups),
		ext(16, supGroups, 1<<32-1, 7), ext(16, supGroups, 2, 7), ext(16, supGroups, 1<<30, 0), ext(16, 99, 1, 2), ext(7, 99, 1, 2),
	} {
		g.Client.Extensions = e
		frame := g.Frame(frontend.Message{Op: frontend.OpMkdir, Node: root, Args: []byte{0xc0, 1, 0, 0, 0, 0, 0, 0}, Names: []string{fmt.Sprint("d", i)}})
		g.Client.Extensions = nil
		g.raw(frame)
		g.alive()
		// The header says that there are extensions where there are none.
		for _, n := range []uint16{1, 100, 1<<16 - 1} {
			frame := g.Frame(frontend.Message{Op: frontend.OpMkdir, Node: root, Args: []byte{0xc0, 1, 0, 0, 0, 0, 0, 0}, Names: []string{fmt.Sprint("e", i)}})
			binary.NativeEndian.PutUint16(frame[36:], n)
			if errno, answered := g.raw(frame); !answered || negotiated && errno == 0 {
				t.Errorf("MKDIR with extensions that are not there: answered %v with %v", answered, errno)
			}
			g.alive()
		}
	}
}

// INIT in other shapes, at other times, with other versions.
func TestInit(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	frame := func(args ...uint32) []byte {
		var b []byte
		for _, w := range args {
			b = binary.NativeEndian.AppendUint32(b, w)
		}
		return g.Frame(frontend.Message{Op: frontend.OpInit, Args: b})
	}
	for _, f := range [][]byte{frame(), frame(7), frame(7, 38), frame(6, 99, 0, 0), frame(7, 1, 0, 0), frame(0, 0, 0, 0), frame(1<<32-1, 1<<32-1, 1<<32-1, 1<<32-1)} {
		g.raw(f)
		g.MustInit()
		g.alive()
	}
	// A version above ours is answered with ours, for the guest to ask again.
	g.raw(frame(8, 0, 0, 0))
	out := g.MustInit()
	if out.Major != 7 || out.Minor < 27 {
		t.Errorf("INIT: version %d.%d", out.Major, out.Minor)
	}
	write(t, g.path("f"), "content")
	node := g.lookup(root, "f")
	ok(t, "DESTROY", g.Destroy())
	if errno := second(g.GetAttr(root)); errno == 0 {
		t.Error("GETATTR was answered without a session")
	}
	g.MustInit()
	want(t, "GETATTR of the last session's node", second(g.GetAttr(node)), syscall.ESTALE)
	g.alive()
}
