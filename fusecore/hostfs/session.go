// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// Operations that the host's disk may keep waiting (enum fuse_opcode of Linux linux/fuse.h).
const (
	opForget          = 2  // FUSE_FORGET
	opFsync           = 20 // FUSE_FSYNC
	opFsyncDir        = 30 // FUSE_FSYNCDIR
	opIoctl           = 39 // FUSE_IOCTL
	opBatchForget     = 42 // FUSE_BATCH_FORGET
	opFallocate       = 43 // FUSE_FALLOCATE
	opCopyFileRange   = 47 // FUSE_COPY_FILE_RANGE
	opSyncFs          = 50 // FUSE_SYNCFS
	opCopyFileRange64 = 53 // FUSE_COPY_FILE_RANGE_64
)

// MayBlock tells which operations belong on a worker rather than in a queue's loop. Reads are
// tried with ReadvNowait, writes, which go to the host's page cache, with WritevNowait. On a network file system
// everything waits for the network, except a FORGET, and Faults may make everything wait.
func (fs *FS) MayBlock(opcode uint32) bool {
	switch opcode {
	case opFsync, opFsyncDir, opIoctl, opFallocate, opCopyFileRange, opSyncFs, opCopyFileRange64:
		return true
	case opForget, opBatchForget:
		return false
	}
	return fs.host.remote || fs.cfg.Faults != nil
}

// BorrowsNames tells that names and data given to a method are used during the call only.
func (fs *FS) BorrowsNames() bool { return true }

// SyncFs makes the file system that a node lies on durable; for the root, those below too that the
// guest does not know to be others. If that fails, the host may have lost what it had taken, of
// whatever files: no page is kept.
func (fs *FS) SyncFs(cancel <-chan struct{}, in *fuse.InHeader) fuse.Status {
	n, err := fs.node(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer n.Release()
	fd := fs.host.root
	if n.ID() != inodes.Root {
		if fd, err = fs.reopen(n, unix.O_RDONLY); err != nil {
			return status(err)
		}
		defer sys.Close(fd)
	}
	if err = fs.sync(cancel, n, fd); err != nil {
		fs.pages.DropAll()
	}
	return status(err)
}

// sync is SYNCFS of a node that is open as fd.
func (fs *FS) sync(cancel <-chan struct{}, n inodes.Node, fd int) error {
	if err := fs.fault(cancel, "syncfs", at{n.FD(), ""}); err != nil {
		return err
	}
	err := sys.Syncfs(fd)
	if n.ID() == inodes.Root && !fs.below.announced.Load() {
		err = errors.Join(err, fs.syncBelow())
	}
	return err
}

// FsyncDir makes a directory's entries durable.
func (fs *FS) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	h, err := fs.open.directory(in.Fh, in.NodeId)
	if err != nil {
		return status(err)
	}
	defer h.release()
	if err := fs.fault(cancel, "fsyncdir", at{h.fd, ""}); err != nil {
		return status(err)
	}
	if in.FsyncFlags&fsyncDataOnly != 0 {
		return status(again(func() error { return unix.Fdatasync(h.fd) }))
	}
	return status(again(func() error { return unix.Fsync(h.fd) }))
}
