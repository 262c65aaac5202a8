// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
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
	n, err := fs.node(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer n.Release()
	if err := fs.fault(cancel, "open", at{n.FD(), ""}); err != nil {
		return status(err)
	}
	h, err := fs.openNode(cancel, n, in.Flags, fs.killAtOpen(in.Flags, in.Mode, in.Uid)) // Mode is open_flags
	if err != nil {
		return status(err)
	}
	return status(fs.opened(h, fs.fopenOf(h), out))
}

// openNode opens a regular file; the errors for others are those of open(2) with O_NOFOLLOW, and
// EBADF for devices, fifos and sockets. kill clears setuid and setgid bits with O_TRUNC.
func (fs *FS) openNode(cancel <-chan struct{}, n inodes.Node, flags uint32, kill bool) (*handle, error) {
	switch n.Type() {
	case unix.S_IFDIR:
		return nil, unix.EISDIR
	case unix.S_IFLNK:
		return nil, unix.ELOOP
	}
	fd, writeOnly, err := fs.openFor(flags, func(host int) (int, error) { return fs.reopen(n, host) })
	if err != nil {
		return nil, err
	}
	h, err := fs.use(n, fd, flags)
	if err != nil {
		return nil, err
	}
	if h.writeOnly = writeOnly; writeOnly {
		h.access = unix.O_WRONLY
	}
	if flags&unix.O_TRUNC == 0 {
		return h, nil
	}
	if err := h.file.Change(cancel, 0, -1, func() error {
		return fs.killPrivs(fd, kill, func() error { return fs.truncateOpen(h, flags) })
	}); err != nil {
		_ = h.close()
		return nil, err
	}
	return h, nil
}

// truncateOpen is O_TRUNC for an open file.
func (fs *FS) truncateOpen(h *handle, flags uint32) error {
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		return again(func() error { return unix.Ftruncate(h.fd, 0) })
	}
	fd, err := fs.withFDs(func() (int, error) { return sys.Reopen(fs.host.proc, h.fd, unix.O_WRONLY|unix.O_TRUNC) })
	if err != nil {
		return err
	}
	return sys.Close(fd)
}

// use makes a handle of fd, which it takes over: the pinned regular file, opened by the guest with
// flags. The page cache has seen it, if it has pages of it.
func (fs *FS) use(n inodes.Node, fd int, flags uint32) (*handle, error) {
	n.Mark(inodes.Opened)
	direct, err := fs.openDirect(fd, flags)
	if err != nil {
		_ = sys.Close(fd)
		return nil, err
	}
	i := n.Identity()
	i.Birth = n.Birth()
	v := fs.host.volumeOf(fd, i.Mnt)
	h := &handle{node: uint64(n.ID()), typ: unix.S_IFREG, fd: fd, host: fs.hostFile(fd, v), key: key(i), sync: syncFlags(flags)}
	h.access = fs.hostFlags(flags) & unix.O_ACCMODE
	how := cache.Handle{Host: h.host, Mode: fs.policy.pages, Tenant: fs.tenant, Untrusted: !v.trusted}
	h.file = fs.pages.Open(h.key, how)
	if direct >= 0 {
		how.Host = fs.hostFile(direct, v)
		h.direct = &directFile{host: how.Host.(hostFile), File: fs.pages.Open(h.key, how)}
	}
	if h.file.Blank() {
		return h, nil
	}
	var s seen
	if err := fs.look(fd, &s); err != nil {
		_ = h.close()
		return nil, err
	}
	h.file.Observe(s.stamp(), fs.policy.pages == cache.ModeAuto)
	return h, nil
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
	if err := fs.limited(limitOpen, fs.open.add(h)); err != nil {
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
