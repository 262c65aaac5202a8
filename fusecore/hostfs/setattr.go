// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// target is what an operation on attributes works on: the fd of an open handle, or the O_PATH fd
// of a node.
type target struct {
	id   uint64
	fd   int
	typ  uint32
	h    *handle     // nil: node
	node inodes.Node // zero: handle
}

// target finds the fd for a node or, if byHandle, a handle of the guest's on it.
func (fs *FS) target(id, fh uint64, byHandle bool) (target, error) {
	if byHandle {
		h, err := fs.open.get(fh, id)
		if err != nil {
			return target{}, err
		}
		return target{id: id, fd: h.fd, typ: h.typ, h: h}, nil
	}
	n, err := fs.node(id)
	if err != nil {
		return target{}, err
	}
	return target{id: id, fd: n.FD(), typ: n.Type(), node: n}, nil
}

// key is the file's in the page cache.
func (t target) key() cache.Key {
	if t.h != nil {
		return t.h.key
	}
	i := t.node.Identity()
	i.Birth = t.node.Birth()
	return key(i)
}

func (t target) release() {
	if t.h != nil {
		t.h.release()
	}
	t.node.Release()
}

// SetAttr changes owner, mode, size and times, in this order: a change of owner clears mode bits
// and a change of size sets times.
func (fs *FS) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if fs.cfg.ReadOnly {
		return fuse.EROFS
	}
	t, err := fs.target(in.NodeId, in.Fh, in.Valid&fuse.FATTR_FH != 0)
	if err != nil {
		return status(err)
	}
	defer t.release()
	if err := fs.fault(cancel, "setattr", at{t.fd, ""}); err != nil {
		return status(err)
	}
	if err := fs.setAttr(cancel, t, in); err != nil {
		return status(err)
	}
	return status(fs.attr(t, out))
}

func (fs *FS) setAttr(cancel <-chan struct{}, t target, in *fuse.SetAttrIn) error {
	if in.Valid&(fuse.FATTR_UID|fuse.FATTR_GID) != 0 {
		uid, _ := in.GetUID() // ^0, to leave it as it is, if not given
		gid, _ := in.GetGID()
		uid, gid, err := fs.hostIDs(uid, gid)
		if err != nil {
			return err
		}
		if t.typ == unix.S_IFREG {
			if err := fs.dropCapabilities(t.fd); err != nil {
				return err
			}
		}
		err = fs.attributes(t, func() error { return sys.Chown(t.fd, uid, gid) })
		if err == unix.EINVAL { // an id that our user namespace does not have: programs expect what others get who may not
			err = unix.EPERM
		}
		if err != nil {
			return err
		}
	}
	if mode, ok := in.GetMode(); ok {
		if t.typ == unix.S_IFLNK {
			return unix.EOPNOTSUPP // as Linux 6.6 and later say for every file system
		}
		if err := fs.attributes(t, func() error { return sys.Chmod(fs.host.proc, t.fd, mode) }); err != nil {
			return err
		}
	}
	if size, ok := in.GetSize(); ok {
		if err := mayTruncate(t.typ); err != nil {
			return err
		}
		err := fs.killPrivs(t.fd, in.Valid&fuse.FATTR_KILL_SUIDGID != 0, func() error {
			return fs.truncate(cancel, t, int64(size))
		})
		if err != nil {
			return err
		}
	}
	if in.Valid&(fuse.FATTR_ATIME|fuse.FATTR_MTIME) != 0 {
		ts := [2]unix.Timespec{
			timespec(in.Valid, fuse.FATTR_ATIME, fuse.FATTR_ATIME_NOW, in.Atime, in.Atimensec),
			timespec(in.Valid, fuse.FATTR_MTIME, fuse.FATTR_MTIME_NOW, in.Mtime, in.Mtimensec),
		}
		return fs.attributes(t, func() error { return sys.Utimes(fs.host.proc, t.fd, &ts) })
	}
	return nil
}

// mayTruncate tells by its type whether a file has a size to set, as truncate(2) does.
func mayTruncate(typ uint32) error {
	switch typ {
	case unix.S_IFREG:
		return nil
	case unix.S_IFDIR:
		return unix.EISDIR
	}
	return unix.EINVAL
}

// truncate sets the size of a regular file.
func (fs *FS) truncate(cancel <-chan struct{}, t target, size int64) error {
	if t.h != nil {
		return t.h.file.Truncate(cancel, size)
	}
	fd, err := fs.withFDs(func() (int, error) { return sys.Reopen(fs.host.proc, t.fd, unix.O_WRONLY) })
	if err != nil {
		return err
	}
	h, err := fs.use(t.node, fd, unix.O_WRONLY)
	if err != nil {
		return err
	}
	if err := h.file.Truncate(cancel, size); err != nil {
		_ = h.close()
		return err
	}
	return h.close()
}

func timespec(valid, set, now uint32, sec uint64, nsec uint32) unix.Timespec {
	switch {
	case valid&set == 0:
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	case valid&now != 0:
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	}
	return unix.Timespec{Sec: int64(sec), Nsec: int64(nsec)}
}
