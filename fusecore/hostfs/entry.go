// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// Lookup finds name in a directory. OK with node 0: there is none, for as long as the entry says. For "." and ".." see export.go.
func (fs *FS) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	switch {
	case name == "." && fs.export.Load():
		return status(fs.lookupNode(cancel, in.NodeId, out))
	case name == ".." && fs.export.Load():
		return status(fs.lookupParent(cancel, in.NodeId, out))
	}
	dir, err := fs.directory(in.NodeId, name)
	if err != nil {
		return status(err)
	}
	defer dir.Release()
	if err := fs.fault(cancel, "lookup", at{dir.FD(), name}); err != nil {
		return status(err)
	}
	err = fs.lookup(dir, name, out)
	if d := fs.policy.negative(); d > 0 && err == unix.ENOENT {
		*out = fuse.EntryOut{} // no node: the guest may remember that (fs/fuse/dir.c, fuse_lookup)
		out.SetEntryTimeout(d)
		return fuse.OK
	}
	return status(err)
}

// directory pins the node of an operation with a name in it, and checks the name.
func (fs *FS) directory(id uint64, name string) (inodes.Node, error) {
	if err := checkName(name); err != nil {
		return inodes.Node{}, err
	}
	dir, err := fs.node(id)
	if err == nil && dir.Type() != unix.S_IFDIR {
		dir.Release()
		return inodes.Node{}, unix.ENOTDIR
	}
	return dir, err
}

// lookup counts one lookup of name in dir and describes the file.
func (fs *FS) lookup(dir inodes.Node, name string, out *fuse.EntryOut) error {
	if n, ok := fs.nodes.Expect(dir, name); ok {
		defer n.Release()
		if done, err := fs.lookupKnown(n, dir, name, out); done {
			return err
		}
	}
	return fs.lookupNew(dir, name, out)
}

// lookupKnown is lookup of a name that is expected to be that of a pinned node. Not done: it is not.
func (fs *FS) lookupKnown(n, dir inodes.Node, name string, out *fuse.EntryOut) (done bool, err error) {
	s := seen{taken: fs.pages.Now()}
	if err := sys.StatxIn(dir.FD(), name, statMask, &s.Statx_t); err != nil {
		return true, err
	}
	i := identity(&s.Statx_t)
	known := name
	if !fs.host.named(i.Mnt) {
		known = ""
	}
	if !n.Is(i) || !n.Again(dir, known) {
		return false, nil
	}
	flags := fs.crossed(dir, i, n.FD())
	fs.describe(uint64(n.ID()), &s, out)
	out.Attr.Flags = flags
	return true, nil
}

// lookupUnopened is lookup of a name that is listed, without opening its file. Not done: that takes lookupNew.
func (fs *FS) lookupUnopened(dir inodes.Node, name string, out *fuse.EntryOut) (done bool, err error) {
	s := seen{taken: fs.pages.Now()}
	if err := sys.StatxIn(dir.FD(), name, statMask, &s.Statx_t); err != nil {
		return true, err
	}
	i, above := identity(&s.Statx_t), dir.Identity()
	if i.Type == unix.S_IFDIR || i.Birth == 0 || i.Mnt != above.Mnt || i.Dev != above.Dev {
		return false, nil
	}
	id, ok, err := fs.nodes.InsertUnopened(i, dir, name)
	if !ok || err != nil {
		return ok, err
	}
	fs.nodes.Note(dir, name, id)
	fs.describe(uint64(id), &s, out)
	return true, nil
}

// lookupNew is lookup of a name whose file is not known.
func (fs *FS) lookupNew(dir inodes.Node, name string, out *fuse.EntryOut) error {
	fd, err := fs.withFDs(func() (int, error) {
		return sys.OpenIn(dir.FD(), name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	})
	if err != nil {
		return err
	}
	return fs.enter(fd, dir, name, out)
}

// enter counts one lookup of the file that fd, an O_PATH fd, refers to, and describes it. It
// takes fd over. An empty name: the file has none.
func (fs *FS) enter(fd int, dir inodes.Node, name string, out *fuse.EntryOut) error {
	var s seen
	if err := fs.look(fd, &s); err != nil {
		_ = sys.Close(fd)
		return err
	}
	i := identity(&s.Statx_t)
	known := name
	if !fs.host.named(i.Mnt) {
		known = ""
	}
	flags := fs.crossed(dir, i, fd)
	id, err := fs.nodes.Insert(i, fd, dir, known)
	if err != nil {
		return fs.limited(limitFiles, err)
	}
	fs.nodes.Note(dir, name, id)
	fs.describe(uint64(id), &s, out)
	out.Attr.Flags = flags
	return nil
}

// Forget takes lookups back.
func (fs *FS) Forget(id, nlookup uint64) { fs.nodes.Forget(inodes.ID(id), nlookup) }

// Readlink returns what a symbolic link says. The bytes are the caller's.
func (fs *FS) Readlink(cancel <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	n, err := fs.node(in.NodeId)
	if err != nil {
		return nil, status(err)
	}
	defer n.Release()
	if n.Type() != unix.S_IFLNK {
		return nil, fuse.EINVAL
	}
	if err := fs.fault(cancel, "readlink", at{n.FD(), ""}); err != nil {
		return nil, status(err)
	}
	buf := make([]byte, unix.PathMax)
	size, err := sys.Readlink(n.FD(), buf)
	if err != nil {
		return nil, status(err)
	}
	return buf[:size], fuse.OK
}
