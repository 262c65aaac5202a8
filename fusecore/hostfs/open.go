// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// mayOpen refuses what a read-only share does not allow.
func (fs *FS) mayOpen(flags uint32) error {
	if fs.cfg.ReadOnly && (flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0) {
		return unix.EROFS
	}
	return nil
}

// Open opens a regular file. Devices, fifos and sockets a guest's kernel opens itself, without asking.
func (fs *FS) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if err := fs.mayOpen(in.Flags); err != nil {
		return status(err)
	}
	if err := fs.faultNode(cancel, "open", in.NodeId); err != nil {
		return status(err)
	}
	fd, err := fs.openNode(in.NodeId, in.Flags, fs.killAtOpen(in.Flags, in.Mode, in.Uid)) // Mode is open_flags
	if err != nil {
		return status(err)
	}
	h := &handle{node: in.NodeId, typ: unix.S_IFREG, fd: fd, file: newHostFile(fd)}
	return status(fs.opened(h, fs.policy.open, out))
}

// OpenDir opens a directory.
func (fs *FS) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n, err := fs.node(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer n.Release()
	if n.Type() != unix.S_IFDIR {
		return fuse.ENOTDIR
	}
	if err := fs.fault(cancel, "opendir", at{n.FD(), ""}); err != nil {
		return status(err)
	}
	fd, err := fs.reopen(n, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return status(err)
	}
	return status(fs.opened(&handle{node: in.NodeId, typ: unix.S_IFDIR, fd: fd}, fs.policy.openDir, out))
}

// opened enters a handle, which it takes over.
func (fs *FS) opened(h *handle, flags uint32, out *fuse.OpenOut) error {
	if err := fs.open.add(h); err != nil {
		h.refs.Store(1)
		h.release()
		return err
	}
	out.Fh, out.OpenFlags = h.id, flags
	return nil
}

// Release closes a file's handle.
func (fs *FS) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	fs.dropLocks(in.Fh, in.NodeId)
	fs.open.remove(in.Fh)
}

// ReleaseDir closes a directory's handle.
func (fs *FS) ReleaseDir(in *fuse.ReleaseIn) { fs.open.remove(in.Fh) }
