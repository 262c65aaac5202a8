// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// Link gives a file another name.
func (fs *FS) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
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
	// The new name is not looked up: somebody may have changed it already. An fd for the
	// answer is got first, so that no name is left behind by a failure.
	fd, err := fs.withFDs(func() (int, error) { return sys.Reopen(fs.host.proc, file.FD(), unix.O_PATH) })
	if err != nil {
		return status(err)
	}
	if err := sys.Link(fs.host.proc, file.FD(), dir.FD(), name); err != nil {
		_ = sys.Close(fd)
		return status(err)
	}
	return status(fs.enter(fd, dir, name, out))
}

// Unlink removes a name.
func (fs *FS) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return fs.remove(in.NodeId, name, 0)
}

// Rmdir removes an empty directory.
func (fs *FS) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return fs.remove(in.NodeId, name, unix.AT_REMOVEDIR)
}

func (fs *FS) remove(id uint64, name string, flags int) fuse.Status {
	if fs.cfg.ReadOnly {
		return fuse.EROFS
	}
	dir, err := fs.directory(id, name)
	if err != nil {
		return status(err)
	}
	defer dir.Release()
	file := fs.hold(dir, name)
	if err := sys.Unlink(dir.FD(), name, flags); err != nil {
		fs.renamed(file, dir, name)
		return status(err)
	}
	return fuse.OK
}

// Rename moves a name, with the flags RENAME_NOREPLACE, RENAME_EXCHANGE and RENAME_WHITEOUT.
func (fs *FS) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
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

	moved, other := fs.hold(from, oldName), fs.hold(to, newName)
	err = sys.Rename(from.FD(), oldName, to.FD(), newName, in.Flags)
	switch {
	case err != nil:
		fs.renamed(moved, from, oldName)
		fs.renamed(other, to, newName)
	case in.Flags&unix.RENAME_EXCHANGE != 0:
		fs.renamed(moved, to, newName)
		fs.renamed(other, from, oldName)
	default:
		fs.renamed(moved, to, newName)
	}
	return status(err)
}

// held is a file whose name is about to change.
type held struct {
	id    inodes.Identity
	known bool // it has a node
}

// hold makes sure that a known file which is reopened by name stays within reach while the name
// changes, and after it is gone: it gets an fd that is kept until renamed says what the name is.
func (fs *FS) hold(dir inodes.Node, name string) held {
	if !fs.host.named(dir.Identity().Mnt) {
		return held{}
	}
	fd, err := fs.withFDs(func() (int, error) {
		return sys.OpenIn(dir.FD(), name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	})
	if err != nil {
		return held{} // the change itself will fail, and say why
	}
	var st unix.Statx_t
	if statFD(fd, &st) != nil {
		_ = sys.Close(fd)
		return held{}
	}
	id := identity(&st)
	return held{id: id, known: fs.nodes.Hold(id, fd, dir, name)}
}

func (fs *FS) renamed(f held, dir inodes.Node, name string) {
	if f.known {
		fs.nodes.Rename(f.id, dir, name)
	}
}
