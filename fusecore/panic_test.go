// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// panicFS panics in GETATTR, with a nil pointer in STATFS, and touches its argument in WRITE.
type panicFS struct {
	fuse.RawFileSystem
	nowhere *fuse.StatfsOut
}

func (panicFS) GetAttr(<-chan struct{}, *fuse.GetAttrIn, *fuse.AttrOut) fuse.Status {
	panic("on purpose")
}

func (p panicFS) StatFs(<-chan struct{}, *fuse.InHeader, *fuse.StatfsOut) fuse.Status {
	p.nowhere.Blocks = 1
	return fuse.OK
}

func (panicFS) Writev(_ <-chan struct{}, _ *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	return uint32(data[0][0]), fuse.OK
}

func (panicFS) Reset() { panic("on purpose too") }

func TestPanics(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	tt := newTester(t, panicFS{RawFileSystem: fuse.NewDefaultRawFileSystem()}, Options{Logger: zap.New(core)})
	tt.init()
	for _, c := range []struct {
		msg  []byte
		line string
	}{
		{message(t, OpGetattr, 2, make([]byte, 16)), "on purpose"},
		{message(t, OpStatfs, 3), "nil pointer"},
	} {
		if got := tt.send(c.msg, 200); got.errno() != syscall.EIO {
			t.Errorf("%v", got.errno())
		}
		lines := logs.TakeAll()
		if len(lines) != 1 {
			t.Fatalf("%d log lines, want one", len(lines))
		}
		fields := lines[0].ContextMap()
		if text, _ := fields["panic"].(string); !strings.Contains(text, c.line) {
			t.Errorf("the log says %q", text)
		}
		if stack, _ := fields["stack"].(string); !strings.Contains(stack, "panic_test.go") {
			t.Errorf("the log's stack is %q", stack)
		}
	}
	if got := tt.send(message(t, OpDestroy, 4), 16); got.errno() != 0 || logs.Len() != 1 {
		t.Errorf("DESTROY with a Reset that panics: %v, %d log lines", got.errno(), logs.Len())
	}
	if got := tt.init(); got.errno() != 0 {
		t.Errorf("INIT afterwards: %v", got.errno())
	}
	if !tt.s.inflight.drain(false) {
		t.Error("a panicked request is still in flight")
	}
}

// unreadable is a page of memory that cannot be read until the test ends.
func unreadable(t *testing.T) []byte {
	t.Helper()
	gone, err := unix.Mmap(-1, 0, 4096, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(gone); err != nil {
			t.Error(err)
		}
	})
	return gone
}

// TestMemoryFault: a fault in guest memory passes through Handle, wherever it happens, and the
// session goes on.
func TestMemoryFault(t *testing.T) {
	gone := unreadable(t)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tt := newTester(t, panicFS{RawFileSystem: fuse.NewDefaultRawFileSystem()}, Options{})
	tt.init()
	statfs := message(t, OpAccess, 3, make([]byte, 8))
	write := message(t, OpWrite, 3, make([]byte, 16), uint32(1), make([]byte, 20), []byte{0})
	for name, r := range map[string]*Request{
		"in the header":       {In: [][]byte{gone[:40]}, Out: [][]byte{make([]byte, 100)}},
		"in the arguments":    {In: [][]byte{statfs[:40], gone[:8]}, Out: [][]byte{make([]byte, 100)}},
		"in the reply":        {In: [][]byte{statfs}, Out: [][]byte{gone[:16]}},
		"in the file system":  {In: [][]byte{write[:80], gone[:1]}, Out: [][]byte{make([]byte, 100)}},
		"behind an empty one": {In: [][]byte{{}, gone[:40]}, Out: [][]byte{make([]byte, 100)}},
	} {
		t.Run(name, func(t *testing.T) {
			debug.SetPanicOnFault(true) // per goroutine
			func() {
				defer func() {
					p := recover()
					if !isMemoryFault(p) {
						t.Errorf("the panic is %v", p)
					}
				}()
				tt.s.Handle(r, false)
			}()
			if !tt.s.inflight.drain(false) {
				t.Error("the request is still in flight")
			}
			out := make([]byte, 16)
			r.In, r.Out = [][]byte{statfs}, [][]byte{out}
			if n, _ := tt.s.Handle(r, false); checkReply(t, statfs, out, n).errno() != syscall.ENOSYS {
				t.Error("the Request is of no use any more")
			}
		})
	}
}
