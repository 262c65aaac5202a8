// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"encoding/binary"
	"reflect"
	"slices"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// call is one call that a recorder saw.
type call struct {
	method string
	in     []byte   // the request structure as bytes
	names  []string // in the order of the method's parameters
	data   []byte
}

// recorder is a file system that remembers its last call, fills the reply with numbers and
// returns a status that the test chose. It has every method of fuse.RawFileSystem.
type recorder struct {
	fuse.RawFileSystem
	calls  []call
	out    []byte // the reply structure of the last call as bytes
	status fuse.Status
	data   []byte // answer of READ, READLINK, xattrs and ioctl
}

func newRecorder() *recorder {
	return &recorder{RawFileSystem: fuse.NewDefaultRawFileSystem()}
}

// encode returns a structure as bytes, with the unexported fields that binary cannot set.
func encode(p any) []byte {
	b, err := binary.Append(nil, binary.NativeEndian, p)
	if err != nil {
		panic(err)
	}
	return b
}

// fill gives every field of the structure p points to another number.
func fill(p any) {
	n := uint64(0x41)
	var walk func(reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case reflect.Array:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		default:
			if n++; !v.CanSet() {
				return
			}
			if v.CanInt() {
				v.SetInt(int64(n))
			} else {
				v.SetUint(n)
			}
		}
	}
	walk(reflect.ValueOf(p).Elem())
}

func (f *recorder) record(method string, in, out any, names ...string) fuse.Status {
	for i := range names {
		names[i] = string([]byte(names[i])) // borrowed
	}
	f.calls = append(f.calls, call{method: method, in: encode(in), names: names})
	f.out = nil
	if out != nil {
		fill(out)
		f.out = encode(out)
	}
	return f.status
}

func (f *recorder) recordData(method string, in, out any, data []byte, names ...string) fuse.Status {
	st := f.record(method, in, out, names...)
	f.calls[len(f.calls)-1].data = slices.Clone(data)
	return st
}

// last returns the last call and forgets all; method "" means there was none.
func (f *recorder) last() call {
	if len(f.calls) == 0 {
		return call{}
	}
	c := f.calls[len(f.calls)-1]
	f.calls = nil
	return c
}

type cancel = <-chan struct{}

func (f *recorder) Lookup(_ cancel, h *fuse.InHeader, n string, out *fuse.EntryOut) fuse.Status {
	return f.record("Lookup", h, out, n)
}
func (f *recorder) Forget(node, nlookup uint64) {
	f.record("Forget", []uint64{node, nlookup}, nil)
}
func (f *recorder) GetAttr(_ cancel, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return f.record("GetAttr", in, out)
}
func (f *recorder) SetAttr(_ cancel, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return f.record("SetAttr", in, out)
}
func (f *recorder) Mknod(_ cancel, in *fuse.MknodIn, n string, out *fuse.EntryOut) fuse.Status {
	return f.record("Mknod", in, out, n)
}
func (f *recorder) Mkdir(_ cancel, in *fuse.MkdirIn, n string, out *fuse.EntryOut) fuse.Status {
	return f.record("Mkdir", in, out, n)
}
func (f *recorder) Unlink(_ cancel, h *fuse.InHeader, n string) fuse.Status {
	return f.record("Unlink", h, nil, n)
}
func (f *recorder) Rmdir(_ cancel, h *fuse.InHeader, n string) fuse.Status {
	return f.record("Rmdir", h, nil, n)
}
func (f *recorder) Rename(_ cancel, in *fuse.RenameIn, o, n string) fuse.Status {
	return f.record("Rename", in, nil, o, n)
}
func (f *recorder) Link(_ cancel, in *fuse.LinkIn, n string, out *fuse.EntryOut) fuse.Status {
	return f.record("Link", in, out, n)
}
func (f *recorder) Symlink(_ cancel, h *fuse.InHeader, to, n string, out *fuse.EntryOut) fuse.Status {
	return f.record("Symlink", h, out, to, n)
}
func (f *recorder) Readlink(_ cancel, h *fuse.InHeader) ([]byte, fuse.Status) {
	return f.data, f.record("Readlink", h, nil)
}
func (f *recorder) Access(_ cancel, in *fuse.AccessIn) fuse.Status {
	return f.record("Access", in, nil)
}
func (f *recorder) GetXAttr(_ cancel, h *fuse.InHeader, n string, dest []byte) (uint32, fuse.Status) {
	st := f.record("GetXAttr", h, nil, n)
	if len(dest) < len(f.data) {
		return uint32(len(f.data)), fuse.ERANGE
	}
	return uint32(copy(dest, f.data)), st
}
func (f *recorder) ListXAttr(_ cancel, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	st := f.record("ListXAttr", h, nil)
	if len(dest) < len(f.data) {
		return uint32(len(f.data)), fuse.ERANGE
	}
	return uint32(copy(dest, f.data)), st
}
func (f *recorder) SetXAttr(_ cancel, in *fuse.SetXAttrIn, n string, data []byte) fuse.Status {
	return f.recordData("SetXAttr", in, nil, data, n)
}
func (f *recorder) RemoveXAttr(_ cancel, h *fuse.InHeader, n string) fuse.Status {
	return f.record("RemoveXAttr", h, nil, n)
}
func (f *recorder) Create(_ cancel, in *fuse.CreateIn, n string, out *fuse.CreateOut) fuse.Status {
	return f.record("Create", in, out, n)
}
func (f *recorder) Tmpfile(_ cancel, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	return f.record("Tmpfile", in, out)
}
func (f *recorder) Open(_ cancel, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return f.record("Open", in, out)
}
func (f *recorder) Read(_ cancel, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	st := f.record("Read", in, nil)
	off := min(int(in.Offset), len(f.data))
	return fuse.ReadResultData(buf[:copy(buf, f.data[off:])]), st
}
func (f *recorder) Lseek(_ cancel, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	return f.record("Lseek", in, out)
}
func (f *recorder) GetLk(_ cancel, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	return f.record("GetLk", in, out)
}
func (f *recorder) SetLk(_ cancel, in *fuse.LkIn) fuse.Status  { return f.record("SetLk", in, nil) }
func (f *recorder) SetLkw(_ cancel, in *fuse.LkIn) fuse.Status { return f.record("SetLkw", in, nil) }
func (f *recorder) Release(_ cancel, in *fuse.ReleaseIn)       { f.record("Release", in, nil) }
func (f *recorder) Write(_ cancel, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return uint32(len(data)), f.recordData("Write", in, nil, data)
}
func (f *recorder) CopyFileRange(_ cancel, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	return 0x1234567, f.record("CopyFileRange", in, nil)
}
func (f *recorder) Ioctl(_ cancel, in *fuse.IoctlIn, data []byte, out *fuse.IoctlOut, res []byte) fuse.Status {
	copy(res, f.data)
	return f.recordData("Ioctl", in, out, data)
}
func (f *recorder) Flush(_ cancel, in *fuse.FlushIn) fuse.Status { return f.record("Flush", in, nil) }
func (f *recorder) Fsync(_ cancel, in *fuse.FsyncIn) fuse.Status { return f.record("Fsync", in, nil) }
func (f *recorder) Fallocate(_ cancel, in *fuse.FallocateIn) fuse.Status {
	return f.record("Fallocate", in, nil)
}
func (f *recorder) OpenDir(_ cancel, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return f.record("OpenDir", in, out)
}
func (f *recorder) ReadDir(_ cancel, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	st := f.record("ReadDir", in, nil)
	for out.AddDirEntry(fuse.DirEntry{Name: "an entry", Ino: 7, Mode: fuse.S_IFREG}) {
	}
	f.out = slices.Clone(out.Bytes())
	return st
}
func (f *recorder) ReadDirPlus(_ cancel, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	st := f.record("ReadDirPlus", in, nil)
	for {
		e := out.AddDirLookupEntry(fuse.DirEntry{Name: "an entry", Ino: 7, Mode: fuse.S_IFREG})
		if e == nil {
			break
		}
		fill(e)
	}
	f.out = slices.Clone(out.Bytes())
	return st
}
func (f *recorder) ReleaseDir(in *fuse.ReleaseIn) { f.record("ReleaseDir", in, nil) }
func (f *recorder) FsyncDir(_ cancel, in *fuse.FsyncIn) fuse.Status {
	return f.record("FsyncDir", in, nil)
}
func (f *recorder) StatFs(_ cancel, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return f.record("StatFs", h, out)
}
func (f *recorder) Statx(_ cancel, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	return f.record("Statx", in, out)
}

// fullRecorder has the optional interfaces too.
type fullRecorder struct {
	*recorder
	wanted   uint64 // INIT flags
	resets   int
	groups   []uint32
	label    string // name=value
	requires uint64
	cold     bool // ReadvNowait would block
	wide     bool // Readv's answer is longer than asked for
}

func newFullRecorder() *fullRecorder {
	return &fullRecorder{recorder: newRecorder(), wanted: ^uint64(0)}
}

func (f *fullRecorder) Readv(_ cancel, in *fuse.ReadIn, dst [][]byte) (int, fuse.Status) {
	st := f.record("Readv", in, nil)
	out := newCursor(dst)
	n := out.write(f.data)
	if f.wide {
		n = int(in.Size) + 1
	}
	return n, st
}
func (f *fullRecorder) ReadvNowait(in *fuse.ReadIn, dst [][]byte) (int, fuse.Status) {
	if f.cold {
		return 0, fuse.EAGAIN
	}
	return f.Readv(nil, in, dst)
}
func (f *fullRecorder) Writev(_ cancel, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	st := f.recordData("Writev", in, nil, slices.Concat(data...))
	if f.wide {
		return in.Size + 1, st
	}
	return in.Size, st
}
func (f *fullRecorder) SyncFs(_ cancel, h *fuse.InHeader) fuse.Status {
	return f.record("SyncFs", h, nil)
}
func (f *fullRecorder) CopyFileRange64(_ cancel, in *fuse.CopyFileRangeIn) (uint64, fuse.Status) {
	return 1 << 40, f.record("CopyFileRange64", in, nil)
}
func (f *fullRecorder) InitFlags(uint64) uint64 { return f.wanted }
func (f *fullRecorder) Reset()                  { f.resets++ }
func (f *fullRecorder) BorrowsNames() bool      { return true }
func (f *fullRecorder) MayBlock(op uint32) bool { return Opcode(op) != OpGetattr }
func (f *fullRecorder) InitRequires() uint64    { return f.requires }

func (f *fullRecorder) WithSecurityContext(name string, value []byte) fuse.RawFileSystem {
	f.label = name + "=" + string(value)
	return f
}

func (f *fullRecorder) WithGroups(groups []uint32) fuse.RawFileSystem {
	f.groups = slices.Clone(groups)
	return f.recorder
}
