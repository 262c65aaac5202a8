// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"bytes"
	"encoding/binary"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// TestHeaders: a request is answered as soon as its id is known.
func TestHeaders(t *testing.T) {
	whole := message(t, OpGetattr, 77, make([]byte, 16))
	with := func(length uint32) []byte {
		m := bytes.Clone(whole)
		binary.NativeEndian.PutUint32(m, length)
		return m
	}
	for name, c := range map[string]struct {
		msg     []byte
		room    int
		written int
		errno   syscall.Errno
	}{
		"nothing":                     {nil, 120, 0, 0},
		"id cut":                      {whole[:15], 120, 0, 0},
		"header cut":                  {whole[:39], 120, 16, syscall.EINVAL},
		"header cut after the id":     {whole[:16], 120, 16, syscall.EINVAL},
		"arguments cut":               {whole[:50], 120, 16, syscall.EINVAL},
		"length 0":                    {with(0), 120, 16, syscall.EINVAL},
		"length 39":                   {with(39), 120, 16, syscall.EINVAL},
		"length without arguments":    {with(40), 120, 16, syscall.EINVAL},
		"length one too long":         {with(57), 120, 16, syscall.EINVAL},
		"length huge":                 {with(1<<32 - 1), 120, 16, syscall.EINVAL},
		"no room":                     {whole, 0, 0, 0},
		"no room for a header":        {whole, 15, 0, 0},
		"room for a header":           {whole, 16, 16, syscall.EINVAL},
		"one byte of room missing":    {whole, 119, 16, syscall.EINVAL},
		"just enough room":            {whole, 120, 120, 0},
		"bytes behind the length":     {append(bytes.Clone(whole), 1, 2, 3), 120, 120, 0},
		"malformed and without reply": {with(39), 15, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFullRecorder()
			tt := newStarted(t, f)
			got := tt.send(c.msg, c.room)
			if got.written != c.written || got.errno() != c.errno {
				t.Errorf("%d bytes, %v; want %d, %v", got.written, got.errno(), c.written, c.errno)
			}
			if called := f.last().method == "GetAttr"; called != (c.written == 120) {
				t.Errorf("the file system was called: %v", called)
			}
			if got := tt.send(whole, 120).errno(); got != 0 {
				t.Errorf("the next request: %v", got)
			}
		})
	}
}

// TestDots: a file system that asks for FUSE_EXPORT_SUPPORT gets "." and "..", in LOOKUP only.
func TestDots(t *testing.T) {
	f := newFullRecorder()
	tt := newStarted(t, f)
	for _, name := range []string{".", ".."} {
		if got := tt.send(message(t, OpLookup, 5, name), 200).errno(); got != 0 {
			t.Errorf("LOOKUP of %q: %v", name, got)
		}
		if c := f.last(); c.method != "Lookup" || c.names[0] != name {
			t.Errorf("%s%q reached the file system for %q", c.method, c.names, name)
		}
		if got := tt.send(message(t, OpUnlink, 5, name), 200).errno(); got != syscall.EINVAL {
			t.Errorf("UNLINK of %q: %v", name, got)
		}
		if got := tt.send(message(t, OpRename, 5, make([]byte, 8), "a", name), 200).errno(); got != syscall.EINVAL {
			t.Errorf("RENAME to %q: %v", name, got)
		}
	}
	if got := tt.send(message(t, OpLookup, 5, "../x"), 200).errno(); got != syscall.EINVAL {
		t.Errorf("LOOKUP of a path: %v", got)
	}
}

// TestNames: no operation lets a name through that is not the name of one entry.
func TestNames(t *testing.T) {
	long := strings.Repeat("n", 256)
	bad := map[string]syscall.Errno{"": syscall.EINVAL, ".": syscall.EINVAL, "..": syscall.EINVAL,
		"/": syscall.EINVAL, "a/b": syscall.EINVAL, "/etc": syscall.EINVAL, "../x": syscall.EINVAL,
		"a/": syscall.EINVAL, "nul\x00inside": syscall.EINVAL, long: syscall.ENAMETOOLONG}
	good := []string{"...", "a", " ", "\xff\xfe", "-", long[1:], ".a", "..a"}
	for _, op := range []struct {
		op   Opcode
		args int
		more []string // names behind the tested one
	}{
		{OpLookup, 0, nil}, {OpSymlink, 0, []string{"target"}}, {OpMknod, 16, nil}, {OpMkdir, 8, nil},
		{OpUnlink, 0, nil}, {OpRmdir, 0, nil}, {OpRename, 8, []string{"to"}}, {OpRename2, 16, []string{"to"}},
		{OpLink, 8, nil}, {OpCreate, 16, nil},
	} {
		t.Run(op.op.String(), func(t *testing.T) {
			f := newFullRecorder()
			f.wanted &^= fuse.CAP_EXPORT_SUPPORT
			tt := newStarted(t, f)
			send := func(names ...string) reply {
				parts := []any{make([]byte, op.args)}
				for _, n := range names {
					parts = append(parts, n)
				}
				return tt.send(message(t, op.op, 5, parts...), 200)
			}
			for name, errno := range bad {
				if got := send(append([]string{name}, op.more...)...).errno(); got != errno {
					t.Errorf("name %.20q: %v, want %v", name, got, errno)
				}
				if op.more != nil && op.op != OpSymlink {
					if got := send("from", name).errno(); got != errno {
						t.Errorf("second name %.20q: %v, want %v", name, got, errno)
					}
				}
			}
			if c := f.last(); c.method != "" {
				t.Fatalf("%s%q reached the file system", c.method, c.names)
			}
			for _, name := range good {
				if got := send(append([]string{name}, op.more...)...).errno(); got != 0 {
					t.Errorf("name %.20q: %v", name, got)
				}
			}
			if len(f.calls) != len(good) {
				t.Errorf("%d calls, want %d", len(f.calls), len(good))
			}
		})
	}
}

// TestBodies: what else can be wrong behind the header.
func TestBodies(t *testing.T) {
	args := func(n int) []byte { return make([]byte, n) }
	setx := func(size uint32) []uint32 { return []uint32{size, 0} }
	write := func(size uint32) []any { return []any{uint64(1), uint64(0), size, args(20)} }
	long := strings.Repeat("x", 4096)
	for name, c := range map[string]struct {
		op    Opcode
		parts []any
		errno syscall.Errno
	}{
		"LOOKUP without NUL":            {OpLookup, []any{[]byte("name")}, syscall.EINVAL},
		"LOOKUP without a name":         {OpLookup, nil, syscall.EINVAL},
		"LOOKUP, bytes after the name":  {OpLookup, []any{"name", []byte("x")}, syscall.EINVAL},
		"LOOKUP, endless":               {OpLookup, []any{args(100000)}, syscall.ENAMETOOLONG},
		"RENAME with one name":          {OpRename, []any{args(8), "name"}, syscall.EINVAL},
		"RENAME, second without NUL":    {OpRename, []any{args(8), "name", []byte("to")}, syscall.EINVAL},
		"RENAME2 with three names":      {OpRename2, []any{args(16), "a", "b", "c"}, syscall.EINVAL},
		"SYMLINK with one name":         {OpSymlink, []any{"name"}, syscall.EINVAL},
		"SYMLINK to nothing":            {OpSymlink, []any{"name", ""}, syscall.EINVAL},
		"SYMLINK, third name":           {OpSymlink, []any{"name", "to", "x"}, syscall.EINVAL},
		"SYMLINK, longest target":       {OpSymlink, []any{"name", long[1:]}, 0},
		"SYMLINK, target too long":      {OpSymlink, []any{"name", long}, syscall.ENAMETOOLONG},
		"SYMLINK, target far too long":  {OpSymlink, []any{"name", long + long}, syscall.ENAMETOOLONG},
		"SETXATTR":                      {OpSetxattr, []any{setx(3), "user.x", []byte("abc")}, 0},
		"SETXATTR, empty value":         {OpSetxattr, []any{setx(0), "user.x"}, 0},
		"SETXATTR, value short":         {OpSetxattr, []any{setx(3), "user.x", []byte("ab")}, syscall.EINVAL},
		"SETXATTR, value long":          {OpSetxattr, []any{setx(3), "user.x", []byte("abcd")}, syscall.EINVAL},
		"SETXATTR, size huge":           {OpSetxattr, []any{setx(1<<32 - 1), "user.x", []byte("a")}, syscall.E2BIG},
		"SETXATTR, longest value":       {OpSetxattr, []any{setx(65536), "user.x", args(65536)}, 0},
		"SETXATTR, value above 64 KiB":  {OpSetxattr, []any{setx(65537), "user.x", args(65537)}, syscall.E2BIG},
		"SETXATTR, more than it says":   {OpSetxattr, []any{setx(1), "user.x", args(70000)}, syscall.EINVAL},
		"SETXATTR without NUL":          {OpSetxattr, []any{setx(0), []byte("user.x")}, syscall.EINVAL},
		"SETXATTR, no name":             {OpSetxattr, []any{setx(1), "", []byte("a")}, syscall.ERANGE},
		"SETXATTR, name too long":       {OpSetxattr, []any{setx(0), long[:256]}, syscall.ERANGE},
		"GETXATTR, no name":             {OpGetxattr, []any{args(8), ""}, syscall.ERANGE},
		"GETXATTR without NUL":          {OpGetxattr, []any{args(8), []byte("user.x")}, syscall.EINVAL},
		"REMOVEXATTR, name too long":    {OpRemovexattr, []any{long[:300]}, syscall.ERANGE},
		"REMOVEXATTR, endless":          {OpRemovexattr, []any{long}, syscall.ERANGE},
		"WRITE":                         {OpWrite, append(write(4), []byte("data")), 0},
		"WRITE of nothing":              {OpWrite, write(0), 0},
		"WRITE, size above the data":    {OpWrite, append(write(100), []byte("data")), syscall.EINVAL},
		"WRITE, size below the data":    {OpWrite, append(write(4), args(100)), syscall.EINVAL},
		"WRITE, size huge":              {OpWrite, append(write(1<<32-1), []byte("data")), syscall.EINVAL},
		"WRITE, more than max_write":    {OpWrite, append(write(1<<20+1), args(1<<20+1)), syscall.EINVAL},
		"IOCTL, data short":             {OpIoctl, []any{args(24), uint32(9), uint32(0), args(8)}, syscall.EINVAL},
		"IOCTL, result above the room":  {OpIoctl, []any{args(24), uint32(0), uint32(200)}, syscall.EINVAL},
		"IOCTL, result huge":            {OpIoctl, []any{args(24), uint32(0), uint32(1<<32 - 1)}, syscall.EINVAL},
		"IOCTL, data beyond 14 bits":    {OpIoctl, []any{args(24), uint32(1<<14 + 1), uint32(0), args(1<<14 + 1)}, syscall.EINVAL},
		"RELEASE, arguments short":      {OpRelease, []any{args(23)}, syscall.EINVAL},
		"INIT, arguments short":         {OpInit, []any{args(15)}, syscall.EINVAL},
		"INTERRUPT, arguments short":    {OpInterrupt, []any{args(7)}, syscall.EINVAL},
		"INTERRUPT of nobody":           {OpInterrupt, []any{uint64(4711)}, syscall.EAGAIN},
		"COPY_FILE_RANGE, arguments":    {OpCopyFileRange, []any{args(55)}, syscall.EINVAL},
		"COPY_FILE_RANGE_64, arguments": {OpCopyFileRange64, []any{args(55)}, syscall.EINVAL},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFullRecorder()
			f.wanted = 0
			tt := newStarted(t, f)
			if got := tt.send(message(t, c.op, 6, c.parts...), 160); got.errno() != c.errno || got.written == 0 {
				t.Errorf("%v, want %v", got.errno(), c.errno)
			}
			if called := f.last().method != ""; called != (c.errno == 0) {
				t.Errorf("the file system was called: %v", called)
			}
		})
	}
}
