// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"math"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/cache"
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
	if h.access != unix.O_RDONLY && h.access != unix.O_RDWR {
		return 0, fuse.EBADF // whatever pages of the file there are
	}
	var fl cache.ReadFlags
	if in.Flags&unix.O_DIRECT != 0 {
		fl = cache.ReadDirect
	}
	f := h.data(in.Flags)
	if nowait {
		if f != h.file {
			return 0, fuse.EAGAIN // it waits for the disk
		}
		fl |= cache.ReadNowait
	}
	n, err := f.ReadAt(cancel, dst, int64(in.Offset), fl)
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
// it: others may append to it, too. A page that the guest writes back has its place. It may block.
func (fs *FS) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	return fs.write(cancel, in, data, 0)
}

// WritevNowait is Writev for what goes to the host's memory at once. EAGAIN: Writev will do it.
func (fs *FS) WritevNowait(in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if fs.host.remote || fs.cfg.Faults != nil {
		return 0, fuse.EAGAIN
	}
	return fs.write(nil, in, data, cache.WriteNowait)
}

func (fs *FS) write(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte, fl cache.WriteFlags) (uint32, fuse.Status) {
	if fs.cfg.ReadOnly {
		return 0, fuse.EROFS
	}
	h, err := fs.open.file(in.Fh, in.NodeId)
	if err != nil {
		return 0, status(err)
	}
	defer h.release()
	if h.access != unix.O_WRONLY && h.access != unix.O_RDWR {
		return 0, fuse.EBADF // before the pages of the file know of it
	}
	f := h.file
	if in.WriteFlags&fuse.WRITE_CACHE != 0 {
		fl |= cache.WriteCache
	} else {
		f = h.data(in.Flags)
		fl |= h.sync | writeFlags(in.Flags)
		if fl&cache.WriteDirect != 0 && fs.fopenOf(h)&fuse.FOPEN_DIRECT_IO == 0 {
			// Linux makes EIO of a part (fs/fuse/file.c, fuse_get_res_by_io), and would hide the host's errno.
			fl |= cache.WriteWhole
		}
	}
	if fs.writeback.Load() {
		fl &^= cache.WriteAppend // the guest knows better than the host where the file ends
	}
	nowait := fl&cache.WriteNowait != 0
	if nowait && (f != h.file || fl&(cache.WriteSync|cache.WriteDSync) != 0) {
		return 0, fuse.EAGAIN // it waits for the disk
	}
	var n int
	err = fs.killPrivs(h.fd, in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0, func() (err error) {
		n, err = f.WriteAt(cancel, data, int64(in.Offset), fl)
		return err
	})
	if err == unix.EAGAIN && nowait {
		return 0, fuse.EAGAIN
	}
	fs.refused(in.NodeId, n, int(length(data)), err)
	if err != nil {
		return 0, status(err)
	}
	return uint32(n), fuse.OK
}

// writeFlags translates the flags of an open file.
func writeFlags(open uint32) (fl cache.WriteFlags) {
	if open&unix.O_APPEND != 0 {
		fl |= cache.WriteAppend
	}
	if open&unix.O_DIRECT != 0 {
		fl |= cache.WriteDirect
	}
	return fl | syncFlags(open)
}

func syncFlags(open uint32) cache.WriteFlags {
	switch {
	case open&unix.O_SYNC == unix.O_SYNC: // which has the bit of O_DSYNC, too
		return cache.WriteSync
	case open&unix.O_DSYNC != 0:
		return cache.WriteDSync
	}
	return 0
}

// settle ends a change by other ways than a WRITE of a file that was opened with O_SYNC or O_DSYNC.
func (fs *FS) settle(cancel <-chan struct{}, h *handle) error {
	if h.sync == 0 {
		return nil
	}
	err := h.file.Sync(cancel, h.sync == cache.WriteDSync)
	if err != nil {
		fs.refused(h.node, 0, 1, err)
	}
	return err
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
	off, err := h.host.Seek(cancel, int64(in.Offset), int(in.Whence))
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
	err = fs.killPrivs(h.fd, !mayKeepPrivs(in.Uid), func() error {
		return h.file.Allocate(cancel, in.Mode, int64(in.Offset), int64(in.Length))
	})
	if err == nil {
		err = fs.settle(cancel, h)
	}
	return status(err)
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
	var n int64
	err = fs.killPrivs(dst.fd, !mayKeepPrivs(in.Uid), func() (err error) {
		n, err = src.file.CopyTo(cancel, dst.file, int64(in.OffIn), int64(in.OffOut), int64(min(in.Len, math.MaxInt64)))
		return err
	})
	if err == nil {
		err = fs.settle(cancel, dst)
	}
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
	_, err = fs.withFDs(func() (int, error) { return 0, h.file.Flush(cancel) }) // it may copy the fd
	if err != nil && !outOfFDs(err) {
		fs.refused(in.NodeId, 0, 1, err)
	}
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
	if err := h.file.Sync(cancel, in.FsyncFlags&fsyncDataOnly != 0); err != nil {
		fs.refused(in.NodeId, 0, 1, err)
		return status(err)
	}
	return fuse.OK
}
