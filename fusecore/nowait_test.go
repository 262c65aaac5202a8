// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"slices"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// inPlaceFS does everything in a queue's loop that it may.
type inPlaceFS struct {
	*recorder
	busy bool // a WRITE would have to wait
	wide bool
}

func (f *inPlaceFS) MayBlock(uint32) bool { return false }

func (f *inPlaceFS) Writev(_ cancel, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	return in.Size, f.recordData("Writev", in, nil, slices.Concat(data...))
}

func (f *inPlaceFS) WritevNowait(in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if f.busy {
		return 0, fuse.EAGAIN
	}
	n := in.Size
	if f.wide {
		n++
	}
	return n, f.recordData("WritevNowait", in, nil, slices.Concat(data...))
}

// TestWriteNowait: in the loop a WRITE is tried without waiting; one that would have to wait is done by
// a worker, once.
func TestWriteNowait(t *testing.T) {
	f := &inPlaceFS{recorder: newRecorder()}
	tt := newStarted(t, f)
	in := fuse.WriteIn{Offset: 3, Size: 5, Fh: 7}
	msg := message(t, OpWrite, 9, encode(&in)[inHeaderSize:], "hello")
	msg = msg[:len(msg)-1] // without the NUL
	msg[0]--
	check := func(method string) {
		t.Helper()
		if c := f.last(); c.method != method || string(c.data) != "hello" {
			t.Errorf("%s with %q, want %s", c.method, c.data, method)
		}
	}
	f.calls = nil
	if got, again := tt.try(msg, 24, true); again || got.errno() != 0 {
		t.Errorf("again=%v, %v", again, got.errno())
	}
	check("WritevNowait")
	f.busy, f.calls = true, nil
	if _, again := tt.try(msg, 24, true); !again || len(f.calls) != 0 {
		t.Errorf("again=%v, %d calls for a WRITE that would wait", again, len(f.calls))
	}
	if got := tt.send(msg, 24); got.errno() != 0 {
		t.Errorf("on a worker: %v", got.errno())
	}
	check("Writev")
	f.busy, f.status = false, fuse.Status(syscall.ENOSPC)
	if got, again := tt.try(msg, 24, true); again || got.errno() != syscall.ENOSPC {
		t.Errorf("again=%v, %v, want ENOSPC", again, got.errno())
	}
	f.status, f.wide = fuse.OK, true
	if got, again := tt.try(msg, 24, true); again || got.errno() != syscall.EIO {
		t.Errorf("again=%v, %v for more bytes than there were", again, got.errno())
	}
}

// TestChangesOfSizeLeaveTheLoop: what waits for writers does so on a worker, whatever MayBlock says.
func TestChangesOfSizeLeaveTheLoop(t *testing.T) {
	f := &inPlaceFS{recorder: newRecorder()}
	tt := newStarted(t, f)
	setAttr := func(valid uint32) []byte {
		in := fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{Valid: valid}}
		return message(t, OpSetattr, 9, encode(&in)[inHeaderSize:])
	}
	open := func(flags uint32) []byte {
		in := fuse.OpenIn{Flags: flags}
		return message(t, OpOpen, 9, encode(&in)[inHeaderSize:])
	}
	create := func(flags uint32) []byte {
		in := fuse.CreateIn{Flags: flags | syscall.O_CREAT}
		return message(t, OpCreate, 9, encode(&in)[inHeaderSize:], "name")
	}
	for name, c := range map[string]struct {
		msg    []byte
		worker bool
	}{
		"create":                {create(syscall.O_RDWR), false},
		"create O_TRUNC":        {create(syscall.O_RDWR | syscall.O_TRUNC), true},
		"create O_TRUNC O_EXCL": {create(syscall.O_RDWR | syscall.O_TRUNC | syscall.O_EXCL), false}, // it is new
		"mode":                  {setAttr(fuse.FATTR_MODE), false},
		"size":                  {setAttr(fuse.FATTR_SIZE), true},
		"size and FH":           {setAttr(fuse.FATTR_SIZE | fuse.FATTR_FH), true},
		"open":                  {open(syscall.O_RDWR), false},
		"open O_TRUNC":          {open(syscall.O_WRONLY | syscall.O_TRUNC), true},
	} {
		f.calls = nil
		_, again := tt.try(c.msg, 200, true)
		if again != c.worker || again == (len(f.calls) > 0) {
			t.Errorf("%s: again=%v after %d calls", name, again, len(f.calls))
		}
		f.calls = nil
		if tt.send(c.msg, 200); len(f.calls) != 1 {
			t.Errorf("%s: %d calls on a worker", name, len(f.calls))
		}
	}
}
