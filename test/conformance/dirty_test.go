// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// Every page that the device writes while the log is on is marked. The requests are put into
// the rings while the VM is stopped, and the driver touches nothing until all have come back:
// so every difference between the two pictures of memory is the device's doing.
func TestDirtyLogIsComplete(t *testing.T) {
	for name, o := range drivers {
		t.Run(name, func(t *testing.T) {
			// Memory in two parts, the second not at a multiple of what a log byte covers.
			o.Memory = []frontend.MemSpec{{GPA: 0, Size: 4 << 20}, {GPA: 1<<32 + 3*frontend.PageSize, Size: 8 << 20}}
			g := newGuest(t, o)
			node, fh := g.create("f")
			_, errno := g.Write(node, fh, 0, pattern(5*frontend.PageSize, 1))
			ok(t, "WRITE", errno)
			for i := range 30 {
				write(t, g.path(fmt.Sprint("entry", i)), "")
			}
			d, errno := g.OpenDir(root)
			ok(t, "OPENDIR", errno)

			g.vm.LogOn()
			g.vm.Stop()
			start := g.Client.Queue().AvailIdx()
			before, n := pictureOf(g.vm.RAM, func() int { return addMixed(g.Client, node, fh, d.Fh) })
			g.vm.TakeDirty()
			g.vm.Cont()
			q := g.Client.Queue()
			q.ForceKick()
			waitFor(t, "the completions", func() bool { return int(q.UsedIdx()-start) == n })
			if err := g.vm.Conn.Alive(); err != nil {
				t.Fatal(err)
			}
			dirty := g.vm.TakeDirty()
			after, _ := pictureOf(g.vm.RAM, nil)
			checkMarks(t, g.vm.RAM, before, after, dirty)
		})
	}
}

// addMixed puts requests with replies of all kinds into the ring and returns how many.
func addMixed(c *frontend.Client, node, fh, dir uint64) int {
	arg := make([]byte, 16)
	ms := []frontend.Message{
		{Op: frontend.OpGetattr, Node: root, Args: arg, Out: 104},
		{Op: frontend.OpLookup, Node: root, Names: []string{"f"}, Out: 128},
		{Op: frontend.OpLookup, Node: root, Names: []string{"missing"}, Out: 128},
		{Op: frontend.OpStatfs, Node: root, Out: 80},
		{Op: 4000, Node: root, Args: arg},
		frontend.ReadMessage(node, fh, 100, 3*frontend.PageSize),
		frontend.WriteMessage(node, fh, 10, []byte("dirty")),
	}
	listing := frontend.ReadMessage(root, dir, 0, frontend.PageSize)
	listing.Op = frontend.OpReaddir
	for _, m := range append(ms, listing) {
		c.Add(m)
	}
	return len(ms) + 1
}

// pictureOf copies all of guest memory, after f has worked on it.
func pictureOf(ram *frontend.RAM, f func() int) (picture [][]byte, n int) {
	if f != nil {
		n = f()
	}
	for _, r := range ram.Regions() {
		picture = append(picture, bytes.Clone(ram.Slice(r.GPA, r.Size)))
	}
	return picture, n
}

func checkMarks(t *testing.T, ram *frontend.RAM, before, after [][]byte, dirty func(uint64) bool) {
	t.Helper()
	changed, marked, pages := 0, 0, 0
	for i, r := range ram.Regions() {
		for off := uint64(0); off < r.Size; off += frontend.PageSize {
			pages++
			same := bytes.Equal(before[i][off:off+frontend.PageSize], after[i][off:off+frontend.PageSize])
			if dirty(r.GPA + off) {
				marked++
			}
			if !same {
				changed++
				if !dirty(r.GPA + off) {
					t.Errorf("page %#x was written and not marked", r.GPA+off)
				}
			}
		}
	}
	// Replies, data, used ring: what the requests make the device write at least; and a log
	// that marks much more than that is of no use.
	if changed < 5 || marked > 40 {
		t.Errorf("of %d pages %d changed and %d are marked", pages, changed, marked)
	}
}

// Without the log nothing is marked; on again, everything is.
func TestDirtyLogOnAndOff(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	for range 3 {
		g.vm.LogOn()
		g.alive()
		if err := g.vm.Conn.Alive(); err != nil {
			t.Fatal(err)
		}
		if dirty := g.vm.TakeDirty(); !anyDirty(g.vm.RAM, dirty) {
			t.Error("requests were served and no page was marked")
		}
		g.vm.LogOff()
		g.alive()
	}
}

func anyDirty(ram *frontend.RAM, dirty func(uint64) bool) bool {
	for _, r := range ram.Regions() {
		for off := uint64(0); off < r.Size; off += frontend.PageSize {
			if dirty(r.GPA + off) {
				return true
			}
		}
	}
	return false
}

// Logs that are too small, empty, or not there are refused or do no harm.
func TestBadDirtyLog(t *testing.T) {
	for name, c := range map[string]struct{ size, offset, file uint64 }{
		"empty":                {0, 0, 4096},
		"too small for memory": {1, 0, 4096},
		"beyond the file":      {1 << 20, 0, 4096},
		"huge":                 {1 << 60, 0, 4096},
		"offset overflows":     {4096, 1<<64 - 4096, 4096},
		"offset odd":           {4096, 1, 8192},
		"empty file":           {4096, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBare(t)
			b.handshake()
			if err := b.memory(memSize, frontend.MemRegion{Size: memSize, UserAddr: userAddr}); err != nil {
				t.Fatal(err)
			}
			f, err := frontend.Memfd("dirty-log", c.file, false)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			b.ack(frontend.SetLogBase, append(frontend.U64(c.size), frontend.U64(c.offset)...), int(f.Fd()))
			if !b.answers() {
				return
			}
			if err := b.ack(frontend.SetFeatures, frontend.U64(frontend.FeatureVersion1|frontend.FeatureProtocolFeatures|frontend.FeatureLogAll)); err != nil {
				return
			}
			r := goodRing()
			r.addr.Flags = frontend.VringLog
			b.start(r)
			b.answers()
		})
	}
}
