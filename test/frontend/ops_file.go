// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Operations on open files.

// Open opens a file; flags are those of open(2).
func (c *Client) Open(node uint64, flags uint32) (fuse.OpenOut, syscall.Errno) {
	in := fuse.OpenIn{Flags: flags}
	return do[fuse.OpenOut](c, Message{Op: OpOpen, Node: node, Args: args(&in)})
}

// ReadMessage is the request for a READ of size bytes.
func ReadMessage(node, fh, off uint64, size int) Message {
	in := fuse.ReadIn{Fh: fh, Offset: off, Size: uint32(size)}
	return Message{Op: OpRead, Node: node, Args: args(&in), Out: size}
}

// Read fills dst and returns the number of bytes.
func (c *Client) Read(node, fh, off uint64, dst []byte) (int, syscall.Errno) {
	return c.DoVar(ReadMessage(node, fh, off, len(dst)), dst)
}

// WriteMessage is the request for a WRITE. data must stay until it is sent.
func WriteMessage(node, fh, off uint64, data []byte) Message {
	in := fuse.WriteIn{Fh: fh, Offset: off, Size: uint32(len(data))}
	return Message{Op: OpWrite, Node: node, Args: args(&in), Data: data, Out: 8}
}

// Write writes data and returns the number of bytes.
func (c *Client) Write(node, fh, off uint64, data []byte) (int, syscall.Errno) {
	out, errno := do[fuse.WriteOut](c, WriteMessage(node, fh, off, data))
	return int(out.Size), errno
}

// Release closes a file.
func (c *Client) Release(node, fh uint64, flags uint32) syscall.Errno {
	return c.release(OpRelease, node, fh, flags)
}

func (c *Client) release(op Opcode, node, fh uint64, flags uint32) syscall.Errno {
	in := fuse.ReleaseIn{Fh: fh, Flags: flags}
	return c.Do(Message{Op: op, Node: node, Args: args(&in)}, nil)
}

// Flush is a close(2) of one of the file's descriptors.
func (c *Client) Flush(node, fh, lockOwner uint64) syscall.Errno {
	in := fuse.FlushIn{Fh: fh, LockOwner: lockOwner}
	return c.Do(Message{Op: OpFlush, Node: node, Args: args(&in)}, nil)
}

// Fsync makes a file durable; data only, if dataOnly.
func (c *Client) Fsync(node, fh uint64, dataOnly bool) syscall.Errno {
	return c.fsync(OpFsync, node, fh, dataOnly)
}

func (c *Client) fsync(op Opcode, node, fh uint64, dataOnly bool) syscall.Errno {
	in := fuse.FsyncIn{Fh: fh}
	if dataOnly {
		in.FsyncFlags = 1 // FUSE_FSYNC_FDATASYNC
	}
	return c.Do(Message{Op: op, Node: node, Args: args(&in)}, nil)
}

// Lseek asks for the next data or hole; whence is as in lseek(2).
func (c *Client) Lseek(node, fh, off uint64, whence uint32) (uint64, syscall.Errno) {
	in := fuse.LseekIn{Fh: fh, Offset: off, Whence: whence}
	out, errno := do[fuse.LseekOut](c, Message{Op: OpLseek, Node: node, Args: args(&in)})
	return out.Offset, errno
}

// Fallocate is fallocate(2).
func (c *Client) Fallocate(node, fh, off, length uint64, mode uint32) syscall.Errno {
	in := fuse.FallocateIn{Fh: fh, Offset: off, Length: length, Mode: mode}
	return c.Do(Message{Op: OpFallocate, Node: node, Args: args(&in)}, nil)
}

// CopyRange is what the two copy operations take.
type CopyRange struct {
	Node, Fh, Off          uint64
	NodeOut, FhOut, OffOut uint64
	Len                    uint64
}

func (r CopyRange) message(op Opcode) Message {
	in := fuse.CopyFileRangeIn{FhIn: r.Fh, OffIn: r.Off, NodeIdOut: r.NodeOut, FhOut: r.FhOut, OffOut: r.OffOut, Len: r.Len}
	return Message{Op: op, Node: r.Node, Args: args(&in)}
}

// CopyFileRange copies inside the share; its result has 32 bits.
func (c *Client) CopyFileRange(r CopyRange) (uint32, syscall.Errno) {
	out, errno := do[fuse.WriteOut](c, r.message(OpCopyFileRange))
	return out.Size, errno
}

// CopyFileRange64 is CopyFileRange with a result of 64 bits.
func (c *Client) CopyFileRange64(r CopyRange) (uint64, syscall.Errno) {
	out, errno := do[fuse.CopyFileRangeOut](c, r.message(OpCopyFileRange64))
	return out.BytesCopied, errno
}

// SyncFs makes the file system durable.
func (c *Client) SyncFs(node uint64) syscall.Errno {
	return c.Do(Message{Op: OpSyncfs, Node: node, Args: make([]byte, 8)}, nil)
}

// Ioctl sends an ioctl(2) with inline data.
func (c *Client) Ioctl(node, fh uint64, cmd uint32, arg uint64, in []byte, outSize int) ([]byte, syscall.Errno) {
	req := fuse.IoctlIn{Fh: fh, Cmd: cmd, Arg: arg, InSize: uint32(len(in)), OutSize: uint32(outSize)}
	return c.Raw(OpIoctl, node, append(append([]byte(nil), args(&req)...), in...), 16+outSize)
}

// Lock is a record lock (or with flock set a file lock) of an owner.
type Lock struct {
	Fh, Owner uint64
	Lock      fuse.FileLock
	Flock     bool
}

// LockMessage is the request for GETLK, SETLK or SETLKW.
func LockMessage(op Opcode, node uint64, l Lock) Message {
	in := fuse.LkIn{Fh: l.Fh, Owner: l.Owner, Lk: l.Lock}
	if l.Flock {
		in.LkFlags = fuse.LK_FLOCK
	}
	return Message{Op: op, Node: node, Args: args(&in)}
}

// GetLk asks who holds a lock.
func (c *Client) GetLk(node uint64, l Lock) (fuse.FileLock, syscall.Errno) {
	out, errno := do[fuse.LkOut](c, LockMessage(OpGetlk, node, l))
	return out.Lk, errno
}

// SetLk takes or drops a lock, or fails.
func (c *Client) SetLk(node uint64, l Lock) syscall.Errno {
	return c.Do(LockMessage(OpSetlk, node, l), nil)
}

// SetLkw waits for a lock.
func (c *Client) SetLkw(node uint64, l Lock) syscall.Errno {
	return c.Do(LockMessage(OpSetlkw, node, l), nil)
}

// OpenDir opens a directory.
func (c *Client) OpenDir(node uint64) (fuse.OpenOut, syscall.Errno) {
	in := fuse.OpenIn{Flags: syscall.O_DIRECTORY}
	return do[fuse.OpenOut](c, Message{Op: OpOpendir, Node: node, Args: args(&in)})
}

// ReleaseDir closes a directory.
func (c *Client) ReleaseDir(node, fh uint64) syscall.Errno {
	return c.release(OpReleasedir, node, fh, syscall.O_DIRECTORY)
}

// FsyncDir makes a directory durable.
func (c *Client) FsyncDir(node, fh uint64) syscall.Errno { return c.fsync(OpFsyncdir, node, fh, false) }

// DirEntry is one entry of a directory. Entry is filled by ReadDirPlus.
type DirEntry struct {
	Ino, Off uint64
	Type     uint32
	Name     string
	Entry    fuse.EntryOut
}

// ReadDir reads one buffer of a directory from an offset of an entry, 0 at first.
func (c *Client) ReadDir(node, fh, off uint64, size int) ([]DirEntry, syscall.Errno) {
	return c.readDir(OpReaddir, node, fh, off, size)
}

// ReadDirPlus is ReadDir with a lookup of each entry.
func (c *Client) ReadDirPlus(node, fh, off uint64, size int) ([]DirEntry, syscall.Errno) {
	return c.readDir(OpReaddirplus, node, fh, off, size)
}

func (c *Client) readDir(op Opcode, node, fh, off uint64, size int) ([]DirEntry, syscall.Errno) {
	m := ReadMessage(node, fh, off, size)
	m.Op = op
	b := make([]byte, size)
	n, errno := c.DoVar(m, b)
	es, err := ParseDir(b[:n], op == OpReaddirplus)
	if err != nil {
		c.d.vm.fail(err)
	}
	return es, errno
}

// ParseDir takes a directory reply apart as Linux does (fs/fuse/readdir.c).
func ParseDir(b []byte, plus bool) ([]DirEntry, error) {
	var es []DirEntry
	for len(b) > 0 {
		var e DirEntry
		if plus {
			if len(b) < len(Wire(&e.Entry)) {
				return es, ErrResponse
			}
			b = b[copy(Wire(&e.Entry), b):]
		}
		if len(b) < 24 {
			return es, ErrResponse
		}
		e.Ino, e.Off = binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[8:])
		n := int(binary.NativeEndian.Uint32(b[16:]))
		e.Type = binary.NativeEndian.Uint32(b[20:])
		if n == 0 || n > 1024 || len(b) < (24+n+7)&^7 {
			return es, ErrResponse
		}
		e.Name = string(b[24 : 24+n])
		b = b[(24+n+7)&^7:]
		es = append(es, e)
	}
	return es, nil
}
