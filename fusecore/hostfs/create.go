// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// make runs a call that makes name in a directory, with the caller's ids, and looks the new file up.
// keep are the bits of the mode that the umask leaves.
func (fs creator) make(cancel <-chan struct{}, op string, in *fuse.InHeader, umask uint32, name string, out *fuse.EntryOut, call func(dir int, keep uint32) error) fuse.Status {
	if fs.cfg.ReadOnly {
		return fuse.EROFS
	}
	dir, err := fs.directory(in.NodeId, name)
	if err != nil {
		return status(err)
	}
	defer dir.Release()
	if err := fs.fault(cancel, op, at{dir.FD(), name}); err != nil {
		return status(err)
	}
	if err := fs.room(); err != nil {
		return status(err)
	}
	keep := fs.unmasked(dir.FD(), umask)
	if err := fs.as(&in.Caller, func() error { return call(dir.FD(), keep) }); err != nil {
		return status(err)
	}
	if err := fs.labelName(dir.FD(), name); err != nil {
		return status(err)
	}
	return status(fs.lookup(dir, name, out))
}

// Mkdir makes a directory.
func (fs creator) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return fs.make(cancel, "mkdir", &in.InHeader, in.Umask, name, out, func(dir int, keep uint32) error {
		return sys.Mkdir(dir, name, in.Mode&0o7777&keep)
	})
}

// Mknod makes a regular file, fifo, socket or, where the daemon may, a device.
func (fs creator) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return fs.make(cancel, "mknod", &in.InHeader, in.Umask, name, out, func(dir int, keep uint32) error {
		return sys.Mknod(dir, name, in.Mode&keep, in.Rdev)
	})
}

// Symlink makes a symbolic link with any text; it means something to the guest alone.
func (fs creator) Symlink(cancel <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if strings.IndexByte(target, 0) >= 0 {
		return fuse.EINVAL
	}
	return fs.make(cancel, "symlink", in, 0, name, out, func(dir int, _ uint32) error {
		return again(func() error { return unix.Symlinkat(target, dir, name) })
	})
}

// Create makes and opens a regular file. One that is there is opened, unless the guest said O_EXCL.
func (fs creator) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	dir, err := fs.directory(in.NodeId, name)
	if err != nil {
		return status(err)
	}
	defer dir.Release()
	if err := fs.fault(cancel, "create", at{dir.FD(), name}); err != nil {
		return status(err)
	}
	if fs.cfg.ReadOnly {
		if in.Flags&unix.O_EXCL != 0 {
			return fuse.EROFS
		}
		return status(fs.openExisting(cancel, in, dir, name, out))
	}
	if err := fs.roomOpen(); err != nil {
		return status(err)
	}
	// A name that others make and remove all the time may be there for the one call and gone
	// for the other.
	for range createTries {
		var fd int
		if fd, err = fs.create(in, dir.FD(), name, unix.O_EXCL|unix.O_NOFOLLOW); err == nil {
			return status(fs.created(in, fd, dir, name, out))
		}
		if err != unix.EEXIST || in.Flags&unix.O_EXCL != 0 {
			break
		}
		if err = fs.openExisting(cancel, in, dir, name, out); err != unix.ENOENT {
			break
		}
	}
	return status(err)
}

const createTries = 8

// create opens a new file with the caller's ids; an empty name makes one without a name.
func (fs creator) create(in *fuse.CreateIn, dir int, name string, extra int) (fd int, err error) {
	flags := fs.hostFlags(in.Flags) | extra
	mode := in.Mode & 0o7777 & fs.unmasked(dir, in.Umask)
	fd, err = fs.withFDs(func() (int, error) {
		fd := -1
		err := fs.as(&in.Caller, func() (err error) {
			if name == "" {
				fd, err = sys.OpenIn(dir, ".", flags|unix.O_TMPFILE, mode)
			} else {
				fd, err = sys.OpenIn(dir, name, flags|unix.O_CREAT, mode)
			}
			return err
		})
		return fd, err
	})
	if err != nil {
		return -1, err
	}
	if err = fs.labelFile(fd, dir, name); err != nil {
		_ = sys.Close(fd)
		return -1, err
	}
	return fd, nil
}

// tmpfileBit is what open(2) has in the flags for a file without a name: __O_TMPFILE of Linux
// include/uapi/asm-generic/fcntl.h.
const tmpfileBit = unix.O_TMPFILE &^ unix.O_DIRECTORY

// Tmpfile makes and opens a file without a name, which LINK can give one. Only for programs: the guest's
// overlayfs, which asks without O_TMPFILE, would go on to use the nameless entry for the file that it has
// linked (Linux fs/overlayfs/copy_up.c), and get ESTALE as soon as that is looked up again. Told that there
// are no such files, it renames one from its work directory.
func (fs creator) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	if fs.cfg.ReadOnly {
		return fuse.EROFS
	}
	dir, err := fs.node(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer dir.Release()
	if dir.Type() != unix.S_IFDIR {
		return fuse.ENOTDIR
	}
	if in.Flags&tmpfileBit == 0 {
		return fuse.Status(unix.EOPNOTSUPP)
	}
	if err := fs.fault(cancel, "tmpfile", at{dir.FD(), ""}); err != nil {
		return status(err)
	}
	if err := fs.roomOpen(); err != nil {
		return status(err)
	}
	fd, err := fs.create(in, dir.FD(), "", int(in.Flags)&unix.O_EXCL)
	if err != nil {
		return status(err)
	}
	return status(fs.created(in, fd, dir, "", out))
}

// created enters a new file and its handle. It takes fd, open for use, over.
func (fs *FS) created(in *fuse.CreateIn, fd int, dir inodes.Node, name string, out *fuse.CreateOut) error {
	path, err := fs.withFDs(func() (int, error) { return sys.Reopen(fs.host.proc, fd, unix.O_PATH) })
	if err != nil {
		_ = sys.Close(fd)
		return err
	}
	if err := fs.enter(path, dir, name, &out.EntryOut); err != nil {
		_ = sys.Close(fd)
		return err
	}
	n, err := fs.node(out.NodeId)
	if err != nil {
		_ = sys.Close(fd)
		return fs.uncreate(out, err)
	}
	defer n.Release()
	h, err := fs.use(n, fd, in.Flags)
	if err != nil {
		return fs.uncreate(out, err)
	}
	return fs.createdHandle(h, out)
}

// openExisting is CREATE of a name that is there.
func (fs *FS) openExisting(cancel <-chan struct{}, in *fuse.CreateIn, dir inodes.Node, name string, out *fuse.CreateOut) error {
	if err := fs.mayOpen(in.Flags); err != nil {
		return err
	}
	if err := fs.lookup(dir, name, &out.EntryOut); err != nil {
		if fs.cfg.ReadOnly && err == unix.ENOENT {
			err = unix.EROFS
		}
		return err
	}
	n, err := fs.node(out.NodeId)
	if err != nil {
		return fs.uncreate(out, err)
	}
	defer n.Release()
	h, err := fs.openNode(cancel, n, in.Flags, fs.killAtOpen(in.Flags, in.OpenFlags, in.Uid))
	if err != nil {
		return fs.uncreate(out, err)
	}
	if in.Flags&unix.O_TRUNC != 0 {
		var s seen
		if err := fs.look(h.fd, &s); err != nil {
			_ = h.close()
			return fs.uncreate(out, err)
		}
		fs.describe(out.NodeId, &s, &out.EntryOut)
	}
	return fs.createdHandle(h, out)
}

// createdHandle enters the handle of a file that was looked up for CREATE. It takes it over.
func (fs *FS) createdHandle(h *handle, out *fuse.CreateOut) error {
	if err := fs.limited(limitOpen, fs.open.add(h)); err != nil {
		_ = h.close()
		return fs.uncreate(out, err)
	}
	out.Fh, out.OpenFlags = h.id, fs.fopenOf(h)
	return nil
}

// uncreate takes the lookup of a CREATE back that fails with err: the guest does not get to know
// the file.
func (fs *FS) uncreate(out *fuse.CreateOut, err error) error {
	fs.Forget(out.NodeId, 1)
	return err
}
