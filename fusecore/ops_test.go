// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// plainOps are the operations that pass a structure and names in and a structure out.
var plainOps = []struct {
	op     Opcode
	method string
	in     any // the structure with its header
	names  []string
	sent   []string // names as they are sent, when the order differs or they are dropped
	out    any
}{
	{op: OpLookup, method: "Lookup", in: fuse.InHeader{}, names: []string{"a name"}, out: fuse.EntryOut{}},
	{op: OpGetattr, method: "GetAttr", in: fuse.GetAttrIn{}, out: fuse.AttrOut{}},
	{op: OpSetattr, method: "SetAttr", in: fuse.SetAttrIn{}, out: fuse.AttrOut{}},
	{op: OpSymlink, method: "Symlink", in: fuse.InHeader{}, names: []string{"../../to/", "from"},
		sent: []string{"from", "../../to/"}, out: fuse.EntryOut{}},
	{op: OpMknod, method: "Mknod", in: fuse.MknodIn{}, names: []string{"...\xff"}, out: fuse.EntryOut{}},
	{op: OpMkdir, method: "Mkdir", in: fuse.MkdirIn{}, names: []string{"d"}, out: fuse.EntryOut{}},
	{op: OpUnlink, method: "Unlink", in: fuse.InHeader{}, names: []string{"gone"}},
	{op: OpRmdir, method: "Rmdir", in: fuse.InHeader{}, names: []string{"gone too"}},
	{op: OpRename2, method: "Rename", in: fuse.RenameIn{}, names: []string{"old", "new"}},
	{op: OpLink, method: "Link", in: fuse.LinkIn{}, names: []string{"second"}, out: fuse.EntryOut{}},
	{op: OpOpen, method: "Open", in: fuse.OpenIn{}, out: fuse.OpenOut{}},
	{op: OpStatfs, method: "StatFs", in: fuse.InHeader{}, out: fuse.StatfsOut{}},
	{op: OpRelease, method: "Release", in: fuse.ReleaseIn{}},
	{op: OpFsync, method: "Fsync", in: fuse.FsyncIn{}},
	{op: OpRemovexattr, method: "RemoveXAttr", in: fuse.InHeader{}, names: []string{"user./.."}},
	{op: OpFlush, method: "Flush", in: fuse.FlushIn{}},
	{op: OpOpendir, method: "OpenDir", in: fuse.OpenIn{}, out: fuse.OpenOut{}},
	{op: OpReleasedir, method: "ReleaseDir", in: fuse.ReleaseIn{}},
	{op: OpFsyncdir, method: "FsyncDir", in: fuse.FsyncIn{}},
	{op: OpGetlk, method: "GetLk", in: fuse.LkIn{}, out: fuse.LkOut{}},
	{op: OpSetlk, method: "SetLk", in: fuse.LkIn{}},
	{op: OpSetlkw, method: "SetLkw", in: fuse.LkIn{}},
	{op: OpAccess, method: "Access", in: fuse.AccessIn{}},
	{op: OpCreate, method: "Create", in: fuse.CreateIn{}, names: []string{"new"}, out: fuse.CreateOut{}},
	{op: OpFallocate, method: "Fallocate", in: fuse.FallocateIn{}},
	{op: OpLseek, method: "Lseek", in: fuse.LseekIn{}, out: fuse.LseekOut{}},
	{op: OpTmpfile, method: "Tmpfile", in: fuse.CreateIn{}, sent: []string{"/"}, out: fuse.CreateOut{}},
	{op: OpStatx, method: "Statx", in: fuse.StatxIn{}, out: fuse.StatxOut{}},
}

// TestPlainOperations sends each operation with random arguments and looks at what the file
// system got and what came back.
func TestPlainOperations(t *testing.T) {
	for _, op := range plainOps {
		t.Run(op.op.String(), func(t *testing.T) {
			f := newFullRecorder()
			tt := newStarted(t, f)
			f.wanted = 0
			args := make([]byte, binary.Size(op.in)-inHeaderSize)
			for i := range args {
				args[i] = byte(tt.rng.Uint32())
			}
			h := randomHeader(tt.rng, op.op)
			parts := []any{args}
			sent := op.names
			if op.sent != nil {
				sent = op.sent
			}
			for _, n := range sent {
				parts = append(parts, n)
			}
			room := outHeaderSize
			if op.out != nil {
				room += binary.Size(op.out)
			}
			msg := messageFrom(t, h, parts...)
			got := tt.send(msg, room)
			if got.errno() != 0 || got.written != room {
				t.Fatalf("%v, %d bytes, want OK and %d", got.errno(), got.written, room)
			}
			c := f.last()
			if c.method != op.method || !slices.Equal(c.names, op.names) {
				t.Fatalf("the file system saw %s%q, want %s%q", c.method, c.names, op.method, op.names)
			}
			if want := msg[:inHeaderSize+len(args)]; !bytes.Equal(c.in, want) {
				t.Fatalf("the file system saw\n%x\nwant\n%x", c.in, want)
			}
			if !bytes.Equal(got.body, f.out) {
				t.Fatalf("the guest saw\n%x\nthe file system wrote\n%x", got.body, f.out)
			}
			if op.out != nil && bytes.Equal(got.body, make([]byte, len(got.body))) {
				t.Fatal("a reply of zeros proves nothing")
			}
			checkErrors(t, tt, f, msg, room, op.out != nil)
		})
	}
}

func randomHeader(rng *rand.Rand, op Opcode) fuse.InHeader {
	return fuse.InHeader{Opcode: uint32(op), Unique: rng.Uint64(), NodeId: rng.Uint64(),
		Caller: fuse.Caller{Owner: fuse.Owner{Uid: rng.Uint32(), Gid: rng.Uint32()}, Pid: rng.Uint32()}}
}

// checkErrors sends a good message again with an error of the file system, too little room, and
// cut short.
func checkErrors(t *testing.T, tt *tester, f *fullRecorder, msg []byte, room int, hasOut bool) {
	t.Helper()
	f.status = fuse.Status(42)
	returnsStatus := f.op(msg) != "Release" && f.op(msg) != "ReleaseDir"
	if got := tt.send(msg, room); returnsStatus && got.errno() != 42 {
		t.Errorf("the file system's errno 42 arrived as %v", got.errno())
	}
	f.status = fuse.OK
	f.calls = nil
	if hasOut {
		if got := tt.send(msg, room-1); got.errno() != 22 {
			t.Errorf("with a byte of room missing: %v, want EINVAL", got.errno())
		}
	}
	if got := tt.send(msg, outHeaderSize-1); got.written != 0 {
		t.Errorf("without room for a header: %d bytes", got.written)
	}
	if op := lookupOperation(Opcode(binary.NativeEndian.Uint32(msg[4:]))); op.args > 0 {
		short := slices.Clone(msg[:inHeaderSize+op.args-1])
		binary.NativeEndian.PutUint32(short, uint32(len(short)))
		if got := tt.send(short, room); got.errno() != 22 {
			t.Errorf("with a byte of arguments missing: %v, want EINVAL", got.errno())
		}
	}
	if c := f.last(); c.method != "" {
		t.Errorf("a refused request reached the file system: %s", c.method)
	}
}

// op returns the method that a message led to last.
func (f *fullRecorder) op(msg []byte) string {
	return lookupMethod[Opcode(binary.NativeEndian.Uint32(msg[4:]))]
}

var lookupMethod = func() map[Opcode]string {
	m := make(map[Opcode]string)
	for _, op := range plainOps {
		m[op.op] = op.method
	}
	return m
}()

// TestTableSizes holds the table's sizes against go-fuse's structures, for the operations that
// TestPlainOperations does not go through.
func TestTableSizes(t *testing.T) {
	for _, c := range []struct {
		op      Opcode
		in, out any
		less    int // arguments that older guests leave out, in bytes
	}{
		{op: OpForget, in: fuse.ForgetIn{}},
		{op: OpRead, in: fuse.ReadIn{}},
		{op: OpReaddir, in: fuse.ReadIn{}},
		{op: OpReaddirplus, in: fuse.ReadIn{}},
		{op: OpWrite, in: fuse.WriteIn{}, out: fuse.WriteOut{}},
		{op: OpSetxattr, in: fuse.SetXAttrIn{}, less: setxattrExt},
		{op: OpGetxattr, in: fuse.GetXAttrIn{}},
		{op: OpListxattr, in: fuse.GetXAttrIn{}},
		{op: OpInit, in: fuse.InitIn{}, out: fuse.InitOut{}, less: initExt},
		{op: OpInterrupt, in: fuse.InterruptIn{}},
		{op: OpIoctl, in: fuse.IoctlIn{}, out: fuse.IoctlOut{}},
		{op: OpRename, in: fuse.RenameIn{}, less: 8},
		{op: OpCopyFileRange, in: fuse.CopyFileRangeIn{}, out: fuse.WriteOut{}},
		{op: OpCopyFileRange64, in: fuse.CopyFileRangeIn{}, out: fuse.CopyFileRangeOut{}},
	} {
		op := lookupOperation(c.op)
		if want := binary.Size(c.in) - inHeaderSize - c.less; op.args != want {
			t.Errorf("%v has %d bytes of arguments, want %d", c.op, op.args, want)
		}
		if c.out != nil && op.reply != binary.Size(c.out) {
			t.Errorf("%v has %d bytes of reply, want %d", c.op, op.reply, binary.Size(c.out))
		}
	}
}

// TestUnsupported: what nobody has is ENOSYS, which guests remember.
func TestUnsupported(t *testing.T) {
	tt := newStarted(t, fuse.NewDefaultRawFileSystem())
	for _, op := range []Opcode{0, 7, 19, OpBmap, OpPoll, OpNotifyReply, OpSetupmapping,
		OpRemovemapping, OpSyncfs, OpCopyFileRange64, 54, 100, OpCuseInit, 1<<32 - 1} {
		if got := tt.send(message(t, op, 9, make([]byte, 200)), 500); got.errno() != 38 {
			t.Errorf("%v: %v, want ENOSYS", op, got.errno())
		}
	}
}

func TestOpcodeString(t *testing.T) {
	for op, want := range map[Opcode]string{OpLookup: "LOOKUP", OpCopyFileRange64: "COPY_FILE_RANGE_64",
		7: "OPCODE(7)", OpCuseInit: "OPCODE(4096)"} {
		if op.String() != want {
			t.Errorf("%d is %q, want %q", uint32(op), op, want)
		}
	}
}
