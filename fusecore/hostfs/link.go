// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// Link gives a file another name.
func (fs *FS) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if fs.cfg.ReadOnly {
		return fuse.EROFS
	}
	dir, err := fs.directory(in.NodeId, name)
	if err != nil {
		return status(err)
	}
	defer dir.Release()
	file, err := fs.node(in.Oldnodeid)
	if err != nil {
		return status(err)
	}
	defer file.Release()
	if err := fs.fault(cancel, "link", at{file.FD(), ""}, at{dir.FD(), name}); err != nil {
		return status(err)
	}
	// The new name is not looked up: somebody may have changed it already. An fd for the
	// answer is got first, so that no name is left behind by a failure.
	fd, err := fs.withFDs(func() (int, error) { return sys.Reopen(fs.host.proc, file.FD(), unix.O_PATH) })
	if err != nil {
		return status(err)
	}
	t := target{id: in.Oldnodeid, fd: file.FD(), node: file}
	if err := fs.attributes(t, func() error { return sys.Link(fs.host.proc, file.FD(), dir.FD(), name) }); err != nil {
		_ = sys.Close(fd)
		return status(err)
	}
	return status(fs.enter(fd, dir, name, out))
}

// Unlink removes a name.
func (fs *FS) Unlink(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return fs.remove(cancel, "unlink", in.NodeId, name, 0)
}

// Rmdir removes an empty directory.
func (fs *FS) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return fs.remove(cancel, "rmdir", in.NodeId, name, unix.AT_REMOVEDIR)
}

func (fs *FS) remove(cancel <-chan struct{}, op string, id uint64, name string, flags int) fuse.Status {
	if fs.cfg.ReadOnly {
		return fuse.EROFS
	}
	dir, err := fs.directory(id, name)
	if err != nil {
		return status(err)
	}
	defer dir.Release()
	if err := fs.fault(cancel, op, at{dir.FD(), name}); err != nil {
		return status(err)
	}
	file := fs.hold(dir, name)
	defer file.Let()
	if err := sys.Unlink(dir.FD(), name, flags); err != nil {
		return status(err)
	}
	file.Unnamed(dir, name)
	fs.nodes.Cut(dir, name)
	return fuse.OK
}

// Rename moves a name, with the flags RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT.
func (fs *FS) Rename(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if fs.cfg.ReadOnly {
		return fuse.EROFS
	}
	from, err := fs.directory(in.NodeId, oldName)
	if err != nil {
		return status(err)
	}
	defer from.Release()
	to, err := fs.directory(in.Newdir, newName)
	if err != nil {
		return status(err)
	}
	defer to.Release()
	if err := fs.fault(cancel, "rename", at{from.FD(), oldName}, at{to.FD(), newName}); err != nil {
		return status(err)
	}

	moved, other := fs.hold(from, oldName), fs.hold(to, newName)
	defer moved.Let()
	defer other.Let()
	if err := sys.Rename(from.FD(), oldName, to.FD(), newName, in.Flags); err != nil {
		return status(err)
	}
	if in.Flags&unix.RENAME_EXCHANGE != 0 {
		other.Renamed(from, oldName)
	} else {
		other.Unnamed(to, newName)
	}
	fs.nodes.Cut(to, newName)
	moved.Renamed(to, newName)
	return fuse.OK
}

// hold keeps a file that is reopened by name within reach while the name changes, until Let. The
// zero Node for all others.
func (fs *FS) hold(dir inodes.Node, name string) inodes.Node {
	if !fs.host.named(dir.Identity().Mnt) && !fs.nodes.Unopened(dir, name) {
		return inodes.Node{}
	}
	fd, err := fs.withFDs(func() (int, error) {
		return sys.OpenIn(dir.FD(), name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	})
	if err != nil {
		return inodes.Node{} // the change itself will fail, and say why
	}
	var st unix.Statx_t
	if statFD(fd, &st) != nil {
		_ = sys.Close(fd)
		return inodes.Node{}
	}
	return fs.nodes.Hold(identity(&st), fd)
}
