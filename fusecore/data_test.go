// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// pattern returns n bytes that differ from place to place.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// readMsg asks for size bytes at off. The length in its header is what the Windows driver
// writes there: with the bytes that it wants to read.
func readMsg(t testing.TB, op Opcode, off uint64, size uint32) []byte {
	msg := message(t, op, 8, uint64(3), off, size, make([]byte, 20))
	if op == OpRead {
		copy(msg, wire(t, uint32(inHeaderSize)+size))
	}
	return msg
}

func TestRead(t *testing.T) {
	file := pattern(3<<20 + 100)
	for name, c := range map[string]struct {
		fs     func() fuse.RawFileSystem
		inline bool
		method string
	}{
		"Readv on a worker":   {fs: func() fuse.RawFileSystem { return &fullRecorder{recorder: &recorder{data: file}} }, method: "Readv"},
		"ReadvNowait":         {fs: func() fuse.RawFileSystem { return &fullRecorder{recorder: &recorder{data: file}} }, method: "Readv", inline: true},
		"Read through buffer": {fs: func() fuse.RawFileSystem { return &recorder{data: file} }, method: "Read"},
		"Read, own Readv":     {fs: func() fuse.RawFileSystem { return &bufferReader{recorder{data: file}} }, method: "Read"},
	} {
		t.Run(name, func(t *testing.T) {
			fs := c.fs()
			tt := newStarted(t, fs)
			for _, size := range []int{0, 1, 39, 4096, 1 << 20, 1<<20 + 1, 3 << 20, 4 << 20} {
				got, again := tt.try(readMsg(t, OpRead, 0, uint32(size)), 16+size, c.inline)
				if again || got.errno() != 0 {
					t.Fatalf("%d bytes: %v, again=%v", size, got.errno(), again)
				}
				if !bytes.Equal(got.body, file[:min(size, len(file))]) {
					t.Errorf("%d bytes asked for, %d wrong ones came", size, len(got.body))
				}
			}
			if got := tt.send(readMsg(t, OpRead, 0, 1<<30), 116); !bytes.Equal(got.body, file[:100]) {
				t.Errorf("with room for 100 bytes %d came", len(got.body))
			}
		})
	}
}

// bufferReader returns its data as a list of buffers, which go-fuse lets read themselves.
type bufferReader struct{ recorder }

func (f *bufferReader) Read(_ cancel, in *fuse.ReadIn, _ []byte) (fuse.ReadResult, fuse.Status) {
	data := f.data[min(int(in.Offset), len(f.data)):]
	data = data[:min(len(data), int(in.Size))]
	return fuse.ReadResultVector([][]byte{data[:len(data)/2], data[len(data)/2:]}), fuse.OK
}

// TestReadErrors: the file system's error arrives, and an answer longer than the question is
// its mistake.
func TestReadErrors(t *testing.T) {
	f := newFullRecorder()
	tt := newStarted(t, f)
	f.status = fuse.EBADF
	if got := tt.send(readMsg(t, OpRead, 0, 10), 26); got.errno() != syscall.EBADF {
		t.Errorf("Readv: %v", got.errno())
	}
	f.status, f.wide = fuse.OK, true
	if got := tt.send(readMsg(t, OpRead, 0, 10), 100); got.errno() != syscall.EIO {
		t.Errorf("Readv with too much: %v", got.errno())
	}
	if got := tt.send(message(t, OpWrite, 8, make([]byte, 16), uint32(4), make([]byte, 20), []byte("data")), 24); got.errno() != syscall.EIO {
		t.Errorf("Writev with too much: %v", got.errno())
	}
	plain := newRecorder()
	tt = newStarted(t, plain)
	plain.status = fuse.Status(syscall.EOVERFLOW)
	if got := tt.send(readMsg(t, OpRead, 0, 10), 26); got.errno() != syscall.EOVERFLOW {
		t.Errorf("Read: %v", got.errno())
	}
	for _, st := range []fuse.Status{-1, 512, 1 << 20} {
		plain.status = st
		if got := tt.send(message(t, OpStatfs, 2), 100); got.errno() != syscall.EIO {
			t.Errorf("status %d: %v, want EIO", int(st), got.errno())
		}
	}
}

func TestWrite(t *testing.T) {
	for name, fs := range map[string]interface {
		fuse.RawFileSystem
		last() call
	}{"Writev": newFullRecorder(), "Write": newRecorder()} {
		tt := newStarted(t, fs)
		for _, size := range []int{0, 1, 4096, 1 << 20} {
			data := pattern(size)
			got := tt.send(message(t, OpWrite, 8, uint64(3), uint64(55), uint32(size), make([]byte, 20), data), 24)
			var out fuse.WriteOut
			got.into(t, &out)
			c := fs.last()
			if c.method != name || !bytes.Equal(c.data, data) || out.Size != uint32(size) {
				t.Errorf("%s of %d bytes: the file system got %d by %s, the guest %d", name, size, len(c.data), c.method, out.Size)
			}
		}
	}
}

func TestReaddir(t *testing.T) {
	f := newFullRecorder()
	tt := newStarted(t, f)
	for _, op := range []Opcode{OpReaddir, OpReaddirplus} {
		for _, c := range []struct{ size, room, most int }{{4096, 4112, 4096}, {4096, 1000, 984}, {3, 16, 0}, {4 << 20, 4<<20 + 16, 1 << 20}} {
			got := tt.send(readMsg(t, op, 5, uint32(c.size)), c.room)
			if got.errno() != 0 || !bytes.Equal(got.body, f.out) {
				t.Fatalf("%v of %d bytes: %v, %d bytes, want %d", op, c.size, got.errno(), len(got.body), len(f.out))
			}
			var in fuse.ReadIn
			if _, err := binary.Decode(f.last().in, binary.NativeEndian, &in); err != nil {
				t.Fatal(err)
			}
			if int(in.Size) != c.most {
				t.Errorf("%v of %d bytes with room for %d: the file system was asked for %d", op, c.size, c.room, in.Size)
			}
			if len(got.body) > c.most || len(got.body) < c.most-200 {
				t.Errorf("%v of %d bytes with room for %d: %d bytes", op, c.size, c.room, len(got.body))
			}
		}
	}
	f.status = fuse.ENOTDIR
	if got := tt.send(readMsg(t, OpReaddir, 0, 4096), 4112); got.errno() != syscall.ENOTDIR {
		t.Errorf("READDIR: %v", got.errno())
	}
}

func TestXattr(t *testing.T) {
	f := newFullRecorder()
	tt := newStarted(t, f)
	f.data = pattern(1000)
	get := func(op Opcode, size uint32, room int) reply {
		parts := []any{size, uint32(0)}
		if op == OpGetxattr {
			parts = append(parts, "user.x")
		}
		return tt.send(message(t, op, 8, parts...), room)
	}
	for _, op := range []Opcode{OpGetxattr, OpListxattr} {
		var out fuse.GetXAttrOut
		get(op, 0, 24).into(t, &out)
		if out.Size != 1000 {
			t.Errorf("%v: the length is %d", op, out.Size)
		}
		for _, size := range []uint32{1000, 1001, 65536, 1 << 31} {
			if got := get(op, size, 2000); !bytes.Equal(got.body, f.data) {
				t.Errorf("%v of %d bytes: %v, %d bytes", op, size, got.errno(), len(got.body))
			}
		}
		if got := get(op, 999, 2000); got.errno() != syscall.ERANGE {
			t.Errorf("%v of 999 bytes: %v", op, got.errno())
		}
		if got := get(op, 1000, 1015); got.errno() != syscall.ERANGE {
			t.Errorf("%v with a byte of room missing: %v", op, got.errno())
		}
		if got := get(op, 0, 23); got.errno() != syscall.EINVAL {
			t.Errorf("%v's length with a byte of room missing: %v", op, got.errno())
		}
		data := f.data
		f.data, f.status = nil, fuse.ENODATA
		if got := get(op, 0, 24); got.errno() != syscall.ENODATA {
			t.Errorf("%v: %v", op, got.errno())
		}
		f.data, f.status = data, fuse.OK
	}
}

// liarFS says that an xattr is longer than the buffer, and still that all is well.
type liarFS struct{ fuse.RawFileSystem }

func (liarFS) GetXAttr(_ cancel, _ *fuse.InHeader, _ string, dest []byte) (uint32, fuse.Status) {
	return uint32(len(dest)) + 1, fuse.OK
}

func TestXattrTooLong(t *testing.T) {
	tt := newStarted(t, liarFS{fuse.NewDefaultRawFileSystem()})
	if got := tt.send(message(t, OpGetxattr, 8, uint32(10), uint32(0), "user.x"), 100); got.errno() != syscall.ERANGE {
		t.Errorf("%v, %d bytes", got.errno(), len(got.body))
	}
}

// TestSetxattr: the second word of flags is there only when it was negotiated.
func TestSetxattr(t *testing.T) {
	for _, c := range []struct {
		wanted uint64
		args   []uint32
		flags  uint32
	}{{0, []uint32{5, 2}, 0}, {fuse.CAP_SETXATTR_EXT, []uint32{5, 2, 1, 0}, 1}} {
		f := newFullRecorder()
		f.wanted = c.wanted
		tt := newStarted(t, f)
		if got := tt.send(message(t, OpSetxattr, 8, c.args, "user.x", []byte("va\x00ue")), 16); got.errno() != 0 {
			t.Fatal(got.errno())
		}
		got := f.last()
		want := encode(fuse.SetXAttrIn{Size: 5, Flags: 2, SetXAttrFlags: c.flags})
		if !bytes.Equal(got.in[inHeaderSize:], want[inHeaderSize:]) || string(got.data) != "va\x00ue" || got.names[0] != "user.x" {
			t.Errorf("the file system saw %+v", got)
		}
	}
}

func TestReadlink(t *testing.T) {
	f := newFullRecorder()
	tt := newStarted(t, f)
	f.data = []byte(strings.Repeat("../", 1365))
	if got := tt.send(message(t, OpReadlink, 8), 4112); !bytes.Equal(got.body, f.data) {
		t.Errorf("%v, %d bytes", got.errno(), len(got.body))
	}
	if got := tt.send(message(t, OpReadlink, 8), 4110); got.errno() != syscall.ENAMETOOLONG {
		t.Errorf("with a byte of room missing: %v", got.errno())
	}
}

func TestForget(t *testing.T) {
	f := newFullRecorder()
	tt := newStarted(t, f)
	if got := tt.send(messageFrom(t, fuse.InHeader{Opcode: uint32(OpForget), NodeId: 9}, uint64(1<<63)), 0); got.written != 0 {
		t.Error("FORGET was answered")
	}
	if c := f.last(); !bytes.Equal(c.in, encode([]uint64{9, 1 << 63})) {
		t.Errorf("forgot %x", c.in)
	}
	batch := func(count uint32, entries ...uint64) []call {
		f.calls = nil
		if got := tt.send(message(t, OpBatchForget, 3, count, uint32(0), entries), 100); got.written != 0 {
			t.Error("BATCH_FORGET was answered")
		}
		return f.calls
	}
	calls := batch(3, 2, 1, 3, 4, 5, 1<<64-1)
	var got []byte
	for _, c := range calls {
		got = append(got, c.in...)
	}
	if !bytes.Equal(got, encode([]uint64{2, 1, 3, 4, 5, 1<<64 - 1})) {
		t.Errorf("forgot %x", got)
	}
	for name, calls := range map[string][]call{
		"count too high": batch(3, 2, 1, 3, 4), "count too low": batch(1, 2, 1, 3, 4),
		"count huge": batch(1<<32-1, 2, 1), "half an entry": batch(1, 2), "none": batch(0),
	} {
		if len(calls) != 0 {
			t.Errorf("%s: %d forgotten", name, len(calls))
		}
	}
}

// TestRename: RENAME has no flags, whatever follows its one argument.
func TestRename(t *testing.T) {
	f := newFullRecorder()
	tt := newStarted(t, f)
	if got := tt.send(message(t, OpRename, 8, uint64(77), "old", "new"), 16); got.errno() != 0 {
		t.Fatal(got.errno())
	}
	c := f.last()
	if want := encode(fuse.RenameIn{Newdir: 77}); !bytes.Equal(c.in[inHeaderSize:], want[inHeaderSize:]) ||
		!slices.Equal(c.names, []string{"old", "new"}) {
		t.Errorf("the file system saw %+v", c)
	}
}

func TestCopyFileRange(t *testing.T) {
	f := newFullRecorder()
	tt := newStarted(t, f)
	args := []uint64{1, 2, 3, 4, 5, 1 << 40, 0}
	var small fuse.WriteOut
	tt.send(message(t, OpCopyFileRange, 8, args), 24).into(t, &small)
	if want := encode([]uint64{1, 2, 3, 4, 5, 1<<32 - 4096, 0}); small.Size != 0x1234567 || !bytes.Equal(f.last().in[inHeaderSize:], want) {
		t.Errorf("COPY_FILE_RANGE copied %#x", small.Size)
	}
	var big fuse.CopyFileRangeOut
	tt.send(message(t, OpCopyFileRange64, 8, args), 24).into(t, &big)
	if c := f.last(); big.BytesCopied != 1<<40 || !bytes.Equal(c.in[inHeaderSize:], encode(args)) || c.method != "CopyFileRange64" {
		t.Errorf("COPY_FILE_RANGE_64 copied %#x by %s", big.BytesCopied, c.method)
	}
}

func TestSyncfs(t *testing.T) {
	f := newFullRecorder()
	tt := newStarted(t, f)
	if got := tt.send(message(t, OpSyncfs, 8, uint64(0)), 16); got.errno() != 0 || f.last().method != "SyncFs" {
		t.Errorf("SYNCFS: %v", got.errno())
	}
}

func TestIoctl(t *testing.T) {
	f := newFullRecorder()
	tt := newStarted(t, f)
	f.data = []byte("result")
	args := fuse.IoctlIn{Fh: 1, Cmd: 0x6601, InSize: 4, OutSize: 8}
	got := tt.send(messageFrom(t, fuse.InHeader{Opcode: uint32(OpIoctl)}, encode(args)[inHeaderSize:], []byte("data")), 40)
	if got.errno() != 0 || string(got.body[16:]) != "result\x00\x00" || !bytes.Equal(got.body[:16], f.out) {
		t.Errorf("%v, %q", got.errno(), got.body)
	}
	if c := f.last(); string(c.data) != "data" || !bytes.Equal(c.in[inHeaderSize:], encode(args)[inHeaderSize:]) {
		t.Errorf("the file system saw %+v", c)
	}
	// Nothing of the last answer may show when the file system writes less.
	f.data = nil
	got = tt.send(messageFrom(t, fuse.InHeader{Opcode: uint32(OpIoctl)}, encode(args)[inHeaderSize:], []byte("data")), 40)
	if !bytes.Equal(got.body[16:], make([]byte, 8)) {
		t.Errorf("old bytes show: %q", got.body[16:])
	}
}

// TestGroups: creating operations carry groups when that is negotiated, and only then is the
// header's extension length believed.
func TestGroups(t *testing.T) {
	ext := func(words ...uint32) []uint32 { return words }
	for name, c := range map[string]struct {
		wanted uint64
		ext    []uint32
		extLen uint16 // in 8 bytes
		errno  syscall.Errno
		groups []uint32
	}{
		"one group":       {fuse.CAP_CREATE_SUPP_GROUP, ext(16, 32, 1, 1000), 2, 0, []uint32{1000}},
		"three groups":    {fuse.CAP_CREATE_SUPP_GROUP, ext(24, 32, 3, 7, 8, 9), 3, 0, []uint32{7, 8, 9}},
		"two records":     {fuse.CAP_CREATE_SUPP_GROUP, ext(16, 32, 1, 5, 16, 32, 1, 6), 4, 0, []uint32{5, 6}},
		"unknown record":  {fuse.CAP_CREATE_SUPP_GROUP, ext(16, 99, 1, 5), 2, 0, nil},
		"none":            {fuse.CAP_CREATE_SUPP_GROUP, nil, 0, 0, nil},
		"count too high":  {fuse.CAP_CREATE_SUPP_GROUP, ext(16, 32, 2, 5), 2, syscall.EINVAL, nil},
		"count huge":      {fuse.CAP_CREATE_SUPP_GROUP, ext(16, 32, 1<<32-1, 5), 2, syscall.EINVAL, nil},
		"no count":        {fuse.CAP_CREATE_SUPP_GROUP, ext(8, 32), 1, syscall.EINVAL, nil},
		"record of 0":     {fuse.CAP_CREATE_SUPP_GROUP, ext(0, 32, 1, 5), 2, syscall.EINVAL, nil},
		"record unpadded": {fuse.CAP_CREATE_SUPP_GROUP, ext(12, 32, 1, 5), 2, syscall.EINVAL, nil},
		"record too long": {fuse.CAP_CREATE_SUPP_GROUP, ext(24, 32, 1, 5), 2, syscall.EINVAL, nil},
		"more than comes": {fuse.CAP_CREATE_SUPP_GROUP, ext(16, 32, 1, 5), 60, syscall.EINVAL, nil},
		"a bit more":      {fuse.CAP_CREATE_SUPP_GROUP, ext(16, 32, 1, 5), 20, syscall.EINVAL, nil},
		"65535":           {fuse.CAP_CREATE_SUPP_GROUP, ext(16, 32, 1, 5), 65535, syscall.EINVAL, nil},
		"not negotiated":  {0, nil, 65535, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, op := range []Opcode{OpMkdir, OpMknod, OpSymlink, OpCreate, OpTmpfile} {
				f := newFullRecorder()
				f.wanted = c.wanted
				tt := newStarted(t, f)
				parts := []any{make([]byte, lookupOperation(op).args), "name"}
				if op == OpSymlink {
					parts = append(parts, "target")
				}
				h := fuse.InHeader{Opcode: uint32(op), TotalExtlen: c.extLen}
				got := tt.send(messageFrom(t, h, append(parts, c.ext)...), 200)
				if got.errno() != c.errno || !slices.Equal(f.groups, c.groups) {
					t.Errorf("%v: %v with groups %v, want %v with %v", op, got.errno(), f.groups, c.errno, c.groups)
				}
				if called := f.last().method != ""; called != (c.errno == 0) {
					t.Errorf("%v: the file system was called: %v", op, called)
				}
			}
		})
	}
}
