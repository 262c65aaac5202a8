// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"bytes"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/xattrmap"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// Without Config.XAttr all four answer ENOSYS, upon which the guest's kernel stops asking.

// nameMax is XATTR_NAME_MAX of Linux linux/limits.h.
const nameMax = 255

// hostAttr returns the host's name of the attribute that the guest calls name.
func (fs *FS) hostAttr(name string) (string, error) {
	if isACL(name) && !fs.acl.Load() {
		return "", unix.EOPNOTSUPP
	}
	prefix, verdict := fs.cfg.XAttrMap.Client(name)
	switch {
	case verdict == xattrmap.Bad:
		return "", unix.EPERM
	case verdict == xattrmap.Unsupported:
		return "", unix.EOPNOTSUPP
	case prefix == "":
		return name, nil
	}
	return prefix + name, nil
}

// xattrNode pins the node for an operation on attributes.
func (fs *FS) xattrNode(cancel <-chan struct{}, op string, id uint64) (t target, err error) {
	if err := fs.faultNode(cancel, op, id); err != nil {
		return t, err
	}
	return fs.target(id, 0, false)
}

// GetXAttr reads an attribute, or, with an empty dest, its size.
func (fs *FS) GetXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if !fs.cfg.XAttr {
		return 0, fuse.ENOSYS
	}
	name, err := fs.hostAttr(name)
	if err == unix.EPERM || len(name) > nameMax {
		err = unix.ENODATA // what may not be looked at is not there
	}
	if err != nil {
		return 0, status(err)
	}
	t, err := fs.xattrNode(cancel, "getxattr", in.NodeId)
	if err != nil {
		return 0, status(err)
	}
	defer t.release()
	n, err := sys.Getxattr(fs.host.proc, t.fd, name, dest)
	if err == nil && len(dest) > 0 && isACL(name) {
		n, err = fs.guestACL(dest[:n])
	}
	return uint32(max(n, 0)), status(err)
}

// changeAttr runs call on the fd of a node and the host's name of its attribute.
func (fs *FS) changeAttr(cancel <-chan struct{}, op string, id uint64, name string, call func(fd int, name string) error) error {
	switch {
	case !fs.cfg.XAttr:
		return unix.ENOSYS
	case fs.cfg.ReadOnly:
		return unix.EROFS
	}
	name, err := fs.hostAttr(name)
	if err != nil {
		return err
	}
	t, err := fs.xattrNode(cancel, op, id)
	if err != nil {
		return err
	}
	defer t.release()
	return fs.attributes(t, func() error { return call(t.fd, name) })
}

// SetXAttr sets an attribute. A name that gets too long for the host ends in ERANGE, as Linux says of
// long names.
func (fs *FS) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, name string, data []byte) fuse.Status {
	return status(fs.changeAttr(cancel, "setxattr", in.NodeId, name, func(fd int, name string) (err error) {
		if isACL(name) {
			if data, err = fs.hostACL(data); err != nil {
				return err
			}
		}
		if err = sys.Setxattr(fs.host.proc, fd, name, data, in.Flags); err != nil || name != accessACL {
			return err
		}
		if in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0 {
			return fs.dropSGID(fd)
		}
		return nil
	}))
}

// RemoveXAttr removes an attribute.
func (fs *FS) RemoveXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return status(fs.changeAttr(cancel, "removexattr", in.NodeId, name, func(fd int, name string) error {
		if len(name) > nameMax {
			return unix.ENODATA
		}
		return sys.Removexattr(fs.host.proc, fd, name)
	}))
}

// xattrListMax is XATTR_LIST_MAX of Linux linux/limits.h.
const xattrListMax = 64 << 10

var xattrLists = sync.Pool{New: func() any { return new([xattrListMax]byte) }}

// ListXAttr lists the names of attributes, each with NUL behind, or tells the size of the list.
func (fs *FS) ListXAttr(cancel <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	if !fs.cfg.XAttr {
		return 0, fuse.ENOSYS
	}
	t, err := fs.xattrNode(cancel, "listxattr", in.NodeId)
	if err != nil {
		return 0, status(err)
	}
	defer t.release()
	buf := xattrLists.Get().(*[xattrListMax]byte)
	defer xattrLists.Put(buf)
	n, err := sys.Listxattr(fs.host.proc, t.fd, buf[:])
	if err != nil {
		return 0, status(err)
	}
	list := fs.cfg.XAttrMap.List(buf[:n])
	if !fs.acl.Load() {
		list = withoutACLs(list)
	}
	if len(dest) > 0 && copy(dest, list) < len(list) {
		return uint32(len(list)), fuse.ERANGE
	}
	return uint32(len(list)), fuse.OK
}

// withoutACLs drops the names of POSIX ACLs from a list, in place.
func withoutACLs(list []byte) []byte {
	kept := list[:0]
	for len(list) > 0 {
		end := bytes.IndexByte(list, 0) + 1
		if end == 0 {
			end = len(list)
		}
		if !isACL(string(list[:max(end-1, 0)])) {
			kept = append(kept, list[:end]...)
		}
		list = list[end:]
	}
	return kept
}
