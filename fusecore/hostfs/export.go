// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// File handles that a guest's programs take (name_to_handle_at(2), or its NFS server) hold a node
// id. A guest that has forgotten the node asks for it by LOOKUP of ".", and for the parent of a
// directory by LOOKUP of ".." (Linux fs/fuse/inode.c, fuse_get_dentry and fuse_get_parent), if
// FUSE_EXPORT_SUPPORT was agreed upon. ESTALE: forgotten too long ago, or gone.

// keepForgotten is how many forgotten files can still be asked for so. Each costs about 120 bytes.
const keepForgotten = 1 << 15

// setExport has forgotten files remembered, or not. On a network file system they are not, as
// that takes calls which may wait, and FORGET must not.
func (fs *FS) setExport(on bool) {
	fs.export.Store(on)
	if on && !fs.host.remote {
		fs.nodes.Keep(keepForgotten)
	} else {
		fs.nodes.Keep(0)
	}
}

// lookupNode is LOOKUP of "." in any node.
func (fs *FS) lookupNode(cancel <-chan struct{}, id uint64, out *fuse.EntryOut) error {
	n, err := fs.pin(id, fs.nodes.Recall)
	if err != nil {
		return err
	}
	defer n.Release()
	if err := fs.fault(cancel, "lookup", at{n.FD(), ""}); err != nil {
		return err
	}
	return fs.enterAgain(n, out)
}

// enterAgain counts one lookup of a pinned node and describes it.
func (fs *FS) enterAgain(n inodes.Node, out *fuse.EntryOut) error {
	fd, err := fs.withFDs(func() (int, error) { return sys.Reopen(fs.host.proc, n.FD(), unix.O_PATH) })
	if err != nil {
		return err
	}
	return fs.enter(fd, inodes.Node{}, "", out)
}

// lookupParent is LOOKUP of ".." in a directory. The root is its own parent; a directory that was
// moved out of the share has none.
func (fs *FS) lookupParent(cancel <-chan struct{}, id uint64, out *fuse.EntryOut) error {
	n, err := fs.node(id)
	if err != nil {
		return err
	}
	defer n.Release()
	if n.Type() != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	if err := fs.fault(cancel, "lookup", at{n.FD(), ""}); err != nil {
		return err
	}
	if n.ID() == inodes.Root {
		return fs.enterAgain(n, out)
	}
	fd, err := fs.withFDs(func() (int, error) { return sys.OpenParent(n.FD()) })
	if err != nil {
		return err
	}
	if err := fs.checkInside(fd); err != nil {
		_ = sys.Close(fd)
		return err
	}
	return fs.enter(fd, inodes.Node{}, "", out)
}

// maxAbove bounds a walk up to the root. PATH_MAX bounds no depth, but who nests deeper than this
// has lost his guest's file handles.
const maxAbove = 1 << 12

// checkInside walks from a directory up to the share's root. ESTALE if it does not come there.
func (fs *FS) checkInside(fd int) error {
	root, err := fs.node(uint64(inodes.Root))
	if err != nil {
		return err
	}
	defer root.Release()
	var st unix.Statx_t
	at, above := fd, -1
	defer func() {
		if above >= 0 {
			_ = sys.Close(above)
		}
	}()
	var last inodes.Identity
	for range maxAbove {
		if err := statFD(at, &st); err != nil {
			return err
		}
		i := identity(&st)
		i.Birth = 0 // a node's identity is without it
		if i == root.Identity() {
			return nil
		}
		if i == last {
			break // the host's root, which is above the share
		}
		last = i
		next, err := fs.withFDs(func() (int, error) { return sys.OpenParent(at) })
		if err != nil {
			return err
		}
		if above >= 0 {
			_ = sys.Close(above)
		}
		at, above = next, next
	}
	return unix.ESTALE
}
