// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// checkingFS is a file system that fails the test when it is handed a name that no directory
// can have, or data of another length than the request says.
type checkingFS struct {
	*fullRecorder
	t *testing.T
}

func (f checkingFS) check() {
	if len(f.calls) == 0 {
		return
	}
	c := f.last()
	for i, n := range c.names {
		target := c.method == "Symlink" && i == 0
		dots := c.method == "Lookup" && (n == "." || n == "..") // INIT has FUSE_EXPORT_SUPPORT
		attr := c.method == "GetXAttr" || c.method == "SetXAttr" || c.method == "RemoveXAttr"
		switch {
		case bytes.IndexByte([]byte(n), 0) >= 0, n == "":
			f.t.Errorf("%s%q", c.method, c.names)
		case !target && !attr && !dots && (n == "." || n == ".." || len(n) > 255 || bytes.IndexByte([]byte(n), '/') >= 0):
			f.t.Errorf("%s%q", c.method, c.names)
		}
	}
	if c.method == "Writev" && binary.NativeEndian.Uint32(c.in[56:]) != uint32(len(c.data)) {
		f.t.Errorf("WRITE of %d bytes", len(c.data))
	}
}

// FuzzRequest carries out any bytes, cut anywhere, with any room for the reply: it must not
// panic, the reply must be well-formed, and no bad name may come through.
func FuzzRequest(f *testing.F) {
	args := make([]byte, 128)
	for _, op := range plainOps {
		parts := []any{args[:binary.Size(op.in)-inHeaderSize]}
		for _, n := range op.names {
			parts = append(parts, n)
		}
		f.Add(message(f, op.op, 3, parts...), uint16(200), uint64(1), true)
	}
	f.Add(initWith(f, 7, 41, 0x1ff_7bfffffb), uint16(80), uint64(2), false)
	f.Add(readMsg(f, OpRead, 0, 4096), uint16(4112), uint64(3), true)
	f.Add(readMsg(f, OpReaddirplus, 0, 4096), uint16(4112), uint64(3), false)
	f.Add(message(f, OpWrite, 3, args[:16], uint32(4), args[:20], []byte("data")), uint16(24), uint64(4), false)
	f.Add(message(f, OpBatchForget, 3, uint32(2), uint32(0), args[:32]), uint16(0), uint64(5), false)
	f.Add(message(f, OpSetxattr, 3, uint32(3), uint32(0), "user.x", []byte("abc")), uint16(16), uint64(6), false)
	f.Add(message(f, OpGetxattr, 3, uint32(64), uint32(0), "user.x"), uint16(80), uint64(6), false)
	f.Add(message(f, OpIoctl, 3, args[:24], uint32(4), uint32(8), []byte("data")), uint16(40), uint64(7), false)
	f.Add(message(f, OpInterrupt, 3, uint64(9)), uint16(16), uint64(8), true)
	f.Add(message(f, OpDestroy, 3), uint16(16), uint64(8), false)
	f.Add(messageFrom(f, fuse.InHeader{Opcode: uint32(OpMkdir), TotalExtlen: 2}, args[:8], "d", []uint32{16, 32, 1, 5}),
		uint16(144), uint64(9), false)
	f.Fuzz(func(t *testing.T, msg []byte, room uint16, seed uint64, inline bool) {
		fs := checkingFS{newFullRecorder(), t}
		fs.data = args
		rng := rand.New(rand.NewPCG(seed, 0))
		s := NewSession(fs, Options{})
		init, out := initWith(t, 7, 41, 0x1ff_7bfffffb), make([]byte, max(int(room), 80))
		r := &Request{In: cut(rng, init), Out: cut(rng, out)}
		if n, _ := s.Handle(r, false); n != 80 {
			t.Fatalf("INIT's reply has %d bytes", n)
		}
		out = out[:room]
		r.In, r.Out = cut(rng, msg), cut(rng, out)
		n, again := s.Handle(r, inline)
		if again {
			if fs.last().method != "" || !inline {
				t.Fatal("again, but something was done")
			}
			n, _ = s.Handle(r, false)
		}
		checkReply(t, msg, out, n)
		fs.check()
	})
}
