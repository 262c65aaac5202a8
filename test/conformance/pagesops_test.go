// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// pagesClient is one goroutine of a guest's: a file handle for each file.
type pagesClient struct {
	*frontend.Client
	g    *pagesGuest
	r    *rand.Rand
	node [pagesFiles]uint64
	fh   [pagesFiles]uint64
}

// client does random operations.
func (w *pagesWorld) client(g *pagesGuest, on *frontend.Client, r *rand.Rand) {
	c := &pagesClient{Client: on, g: g, r: r}
	for i := range pagesFiles {
		e, errno := c.Lookup(root, filepath.Base(w.path(i)))
		if errno != 0 {
			w.t.Errorf("LOOKUP: %v", errno)
			return
		}
		c.node[i] = e.NodeId
		c.open(i, 0)
	}
	for range pagesOps {
		c.operation(r.IntN(pagesFiles))
		if w.t.Failed() {
			break
		}
	}
	for i := range pagesFiles {
		c.Release(c.node[i], c.fh[i], unix.O_RDWR)
	}
}

func (c *pagesClient) operation(file int) {
	switch x := c.r.IntN(100); {
	case x < 38:
		c.read(file)
	case x < 68:
		c.write(file)
	case x < 73:
		c.truncate(file)
	case x < 77:
		c.punch(file)
	case x < 80:
		c.copy(file)
	case x < 86:
		c.Release(c.node[file], c.fh[file], unix.O_RDWR)
		c.open(file, uint32(c.r.IntN(5)/4*unix.O_TRUNC))
	case x < 94:
		c.look(file)
	case x < 96:
		if c.Fsync(c.node[file], c.fh[file], true) != 0 {
			c.g.failed[file].Store(true)
		}
	case x < 97:
		c.SyncFs(c.node[file])
	default: // a change of the file's attributes alone
		h := c.g.w.files[file]
		ch := h.begin(change{})
		c.SetAttr(c.node[file], fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE, Mode: 0o600 | uint32(c.r.IntN(64))})
		h.end(ch, 0, 0)
	}
}

// open opens a file anew; with O_TRUNC it is emptied.
func (c *pagesClient) open(file int, flags uint32) {
	h := c.g.w.files[file]
	failed := c.g.failed[file].Load()
	var ch *change
	if flags&unix.O_TRUNC != 0 {
		ch = h.begin(change{hi: math.MaxInt64})
	}
	out, errno := c.Open(c.node[file], unix.O_RDWR|flags)
	if ch != nil {
		h.end(ch, math.MaxInt64, math.MaxInt64)
	}
	if errno != 0 {
		c.g.t.Errorf("OPEN: %v", errno)
	}
	c.fh[file] = out.Fh
	c.g.keeps(file, failed, out.OpenFlags)
}

func (c *pagesClient) read(file int) {
	n := 1 + c.r.Int64N(40)
	if c.r.IntN(10) == 0 {
		n = 130 // longer than what goes through the pages
	}
	c.readCells(file, c.r.Int64N(pagesCells), n)
}

// readCells holds one READ against the history.
func (c *pagesClient) readCells(file int, lo, n int64) {
	h := c.g.w.files[file]
	in := fuse.ReadIn{Fh: c.fh[file], Offset: uint64(lo * cellSize), Size: uint32(n * cellSize)}
	if c.r.IntN(8) == 0 {
		in.Flags = unix.O_DIRECT
	}
	buf := make([]byte, n*cellSize)
	l := look{seen: c.g.seen[file].Load(), start: h.clock.tick(), began: time.Now(), trust: c.g.trust}
	got, errno := c.DoVar(frontend.Message{Op: frontend.OpRead, Node: c.node[file], Args: frontend.Wire(&in)[40:]}, buf)
	if errno == unix.EIO {
		return // a fault
	}
	if errno != 0 {
		c.g.t.Errorf("READ: %v", errno)
		return
	}
	if s := h.wrong(l, lo, buf[:got], n); s != "" {
		c.g.t.Errorf("seed %d: file %d, a READ under %s (flags %#x) of %d cells from %d on: %s", c.g.w.seed, file, c.g.mode, in.Flags, n, lo, s)
	}
}

func (c *pagesClient) write(file int) {
	w := c.g.w
	h := w.files[file]
	lo, n := c.r.Int64N(pagesCells), 1+c.r.Int64N(20)
	if c.r.IntN(20) == 0 {
		n = 130
	}
	in := fuse.WriteIn{Fh: c.fh[file], Offset: uint64(lo * cellSize), Size: uint32(n * cellSize)}
	switch c.r.IntN(20) {
	case 0:
		in.Flags = unix.O_DIRECT
	case 1:
		in.Flags = unix.O_SYNC
	case 2, 3:
		in.WriteFlags = fuse.WRITE_CACHE
	case 4:
		in.Flags = unix.O_APPEND
	}
	ch := h.begin(change{lo: lo, hi: lo + n, tag: w.tags.Add(1), floats: in.Flags&unix.O_APPEND != 0})
	var out fuse.WriteOut
	errno := c.Do(frontend.Message{Op: frontend.OpWrite, Node: c.node[file], Args: frontend.Wire(&in)[40:], Data: ch.bytes()}, frontend.Wire(&out))
	took := int64(out.Size) / cellSize
	switch {
	case errno == 0:
		h.end(ch, took, took)
	case in.Flags&(unix.O_SYNC|unix.O_DIRECT) != 0 || in.WriteFlags&fuse.WRITE_CACHE != 0: // some may have been taken
		h.end(ch, 0, n)
	default:
		h.end(ch, 0, 0)
	}
	if out.Size%cellSize != 0 {
		c.g.t.Errorf("WRITE: %d bytes", out.Size)
	}
	if took < n {
		c.g.failed[file].Store(true)
		c.readCells(file, lo, n) // nobody is shown what was refused
	}
	if errno == 0 && took < n && in.WriteFlags&fuse.WRITE_CACHE != 0 {
		c.g.t.Errorf("WRITE of the guest's pages is answered with %d of %d bytes", out.Size, in.Size)
	}
	c.mayFail("WRITE", errno, unix.EIO, unix.ENOSPC)
}

func (c *pagesClient) truncate(file int) {
	h := c.g.w.files[file]
	lo := c.r.Int64N(pagesCells + 20)
	in := fuse.SetAttrInCommon{Valid: fuse.FATTR_SIZE, Size: uint64(lo * cellSize)}
	if c.r.IntN(2) == 0 {
		in.Valid |= fuse.FATTR_FH
		in.Fh = c.fh[file]
	}
	ch := h.begin(change{lo: lo, hi: math.MaxInt64})
	_, errno := c.SetAttr(c.node[file], in)
	if errno != 0 {
		h.end(ch, 0, 0)
	} else {
		h.end(ch, math.MaxInt64, math.MaxInt64)
	}
	c.mayFail("SETATTR", errno, unix.EDQUOT)
}

func (c *pagesClient) punch(file int) {
	h := c.g.w.files[file]
	lo, n := c.r.Int64N(pagesCells), 1+c.r.Int64N(20)
	ch := h.begin(change{lo: lo, hi: lo + n})
	errno := c.Fallocate(c.node[file], c.fh[file], uint64(lo*cellSize), uint64(n*cellSize), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE)
	h.end(ch, n, n)
	c.mayFail("FALLOCATE", errno)
}

// copy copies from another file, or within one.
func (c *pagesClient) copy(file int) {
	h, from := c.g.w.files[file], c.r.IntN(pagesFiles)
	lo, src, n := c.r.Int64N(pagesCells/2-20), pagesCells/2+c.r.Int64N(pagesCells/4), 1+c.r.Int64N(20)
	ch := h.begin(change{lo: lo, hi: lo + n, any: true})
	took, errno := c.CopyFileRange(frontend.CopyRange{
		Node: c.node[from], Fh: c.fh[from], Off: uint64(src * cellSize),
		NodeOut: c.node[file], FhOut: c.fh[file], OffOut: uint64(lo * cellSize), Len: uint64(n * cellSize),
	})
	h.end(ch, int64(took)/cellSize, int64(took+cellSize-1)/cellSize)
	c.mayFail("COPY_FILE_RANGE", errno)
}

// look is what shows a guest the state of a file.
func (c *pagesClient) look(file int) {
	start, failed := c.g.w.clock.tick(), c.g.failed[file].Load()
	var valid time.Duration
	var errno syscall.Errno
	switch c.r.IntN(3) {
	case 0:
		var a fuse.AttrOut
		a, errno = c.GetAttr(c.node[file])
		valid = a.Timeout()
	case 1:
		var a fuse.AttrOut
		a, errno = c.GetAttrFh(c.node[file], c.fh[file])
		valid = a.Timeout()
	default:
		var e fuse.EntryOut
		e, errno = c.Lookup(root, filepath.Base(c.g.w.path(file)))
		valid = e.AttrTimeout()
	}
	c.mayFail("a look", errno)
	if failed && valid != 0 {
		c.g.t.Errorf("file %d: after a failed WRITE its attributes are good for %v", file, valid)
	}
	for seen := &c.g.seen[file]; ; {
		was := seen.Load()
		if was >= start || seen.CompareAndSwap(was, start) {
			return
		}
	}
}

// mayFail fails the test for an errno that nothing asks for.
func (c *pagesClient) mayFail(what string, errno syscall.Errno, allowed ...syscall.Errno) {
	for _, a := range append(allowed, 0) {
		if errno == a {
			return
		}
	}
	c.g.t.Errorf("%s: %v", what, errno)
}
