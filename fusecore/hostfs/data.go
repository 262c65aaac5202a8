// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"math"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Read reads into buf. It is for callers without scattered buffers.
func (fs *FS) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n, st := fs.Readv(cancel, in, [][]byte{buf})
	if !st.Ok() {
		return nil, st
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Readv fills dst, which is no longer than what was asked for; less is the end of the file. It may block.
func (fs *FS) Readv(cancel <-chan struct{}, in *fuse.ReadIn, dst [][]byte) (int, fuse.Status) {
	return fs.read(cancel, in, dst, false)
}

// ReadvNowait is Readv for data that is in memory. EAGAIN: Readv will do it.
func (fs *FS) ReadvNowait(in *fuse.ReadIn, dst [][]byte) (int, fuse.Status) {
	if fs.host.remote {
		return 0, fuse.EAGAIN
	}
	return fs.read(nil, in, dst, true)
}

func (fs *FS) read(cancel <-chan struct{}, in *fuse.ReadIn, dst [][]byte, nowait bool) (int, fuse.Status) {
	h, err := fs.open.file(in.Fh, in.NodeId)
	if err != nil {
		return 0, status(err)
	}
	defer h.release()
	n, err := fs.data(h, cancel).ReadAt(dst, int64(in.Offset), nowait)
	if err != nil {
		return 0, status(err)
	}
	return n, fuse.OK
}

// Write writes data.
func (fs *FS) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return fs.Writev(cancel, in, [][]byte{data})
}

// Writev writes data at the offset, or, for a file opened to append, at its end as the host knows
// it: others may append to it, too. A page that the guest writes back has its place.
func (fs *FS) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if fs.cfg.ReadOnly {
		return 0, fuse.EROFS
	}
	h, err := fs.open.file(in.Fh, in.NodeId)
	if err != nil {
		return 0, status(err)
	}
	defer h.release()
	var fl WriteFlags
	if in.Flags&unix.O_APPEND != 0 && in.WriteFlags&fuse.WRITE_CACHE == 0 {
		fl = WriteAppend
	}
	var n int
	err = fs.killPrivs(h.fd, in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0, func() (err error) {
		n, err = fs.data(h, cancel).WriteAt(data, int64(in.Offset), fl)
		return err
	})
	if err != nil {
		return 0, status(err)
	}
	return uint32(n), fuse.OK
}

// Lseek finds data and holes.
func (fs *FS) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	h, err := fs.open.file(in.Fh, in.NodeId)
	if err != nil {
		return status(err)
	}
	defer h.release()
	switch in.Whence {
	case unix.SEEK_DATA, unix.SEEK_HOLE, unix.SEEK_END:
	default:
		return fuse.EINVAL
	}
	off, err := fs.data(h, cancel).Seek(int64(in.Offset), int(in.Whence))
	if err != nil {
		return status(err)
	}
	out.Offset = uint64(off)
	return fuse.OK
}

// Fallocate passes all modes to the host.
func (fs *FS) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if fs.cfg.ReadOnly {
		return fuse.EROFS
	}
	h, err := fs.open.file(in.Fh, in.NodeId)
	if err != nil {
		return status(err)
	}
	defer h.release()
	return status(fs.killPrivs(h.fd, !mayKeepPrivs(in.Uid), func() error {
		return fs.data(h, cancel).Allocate(in.Mode, int64(in.Offset), int64(in.Length))
	}))
}

// CopyFileRange copies as CopyFileRange64 does, at most what its answer can tell.
func (fs *FS) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	short := *in
	short.Len = min(in.Len, math.MaxUint32&^0xffff)
	n, st := fs.CopyFileRange64(cancel, &short)
	return uint32(n), st
}

// CopyFileRange64 copies within the host.
func (fs *FS) CopyFileRange64(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint64, fuse.Status) {
	switch {
	case fs.cfg.ReadOnly:
		return 0, fuse.EROFS
	case in.Flags != 0, in.OffIn > math.MaxInt64, in.OffOut > math.MaxInt64:
		return 0, fuse.EINVAL
	}
	src, err := fs.open.file(in.FhIn, in.NodeId)
	if err != nil {
		return 0, status(err)
	}
	defer src.release()
	dst, err := fs.open.file(in.FhOut, in.NodeIdOut)
	if err != nil {
		return 0, status(err)
	}
	defer dst.release()
	from, to := fs.data(src, cancel), fs.data(dst, cancel)
	var n int64
	err = fs.killPrivs(dst.fd, !mayKeepPrivs(in.Uid), func() (err error) {
		n, err = from.CopyTo(to, int64(in.OffIn), int64(in.OffOut), int64(min(in.Len, math.MaxInt64)))
		return err
	})
	if err != nil {
		return 0, status(err)
	}
	return uint64(n), fuse.OK
}

// Flush reports errors of writes at a close(2) in the guest.
func (fs *FS) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	h, err := fs.open.file(in.Fh, in.NodeId)
	if err != nil {
		return status(err)
	}
	defer h.release()
	_, err = fs.withFDs(func() (int, error) { return 0, fs.data(h, cancel).Flush() }) // it may copy the fd
	fs.flushLocks(h, in.LockOwner)
	return status(err)
}

// fsyncDataOnly is FUSE_FSYNC_FDATASYNC of Linux linux/fuse.h.
const fsyncDataOnly = 1 << 0

// Fsync makes a file durable.
func (fs *FS) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	h, err := fs.open.file(in.Fh, in.NodeId)
	if err != nil {
		return status(err)
	}
	defer h.release()
	return status(fs.data(h, cancel).Sync(in.FsyncFlags&fsyncDataOnly != 0))
}
