// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"bytes"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// Without Config.XAttr all four answer ENOSYS, upon which the guest's kernel stops asking.
// POSIX ACLs are not offered: a guest that does not apply them must not store them, or the host
// would.

func isACL(name string) bool {
	return name == "system.posix_acl_access" || name == "system.posix_acl_default"
}

// xattrNode pins the node for an operation on attribute name.
func (fs *FS) xattrNode(cancel <-chan struct{}, op string, id uint64, name string, change bool) (t target, err error) {
	switch {
	case !fs.cfg.XAttr:
		return t, unix.ENOSYS
	case isACL(name):
		return t, unix.EOPNOTSUPP
	case change && fs.cfg.ReadOnly:
		return t, unix.EROFS
	}
	if err := fs.faultNode(cancel, op, id); err != nil {
		return t, err
	}
	return fs.target(id, 0, false)
}

// GetXAttr reads an attribute, or, with an empty dest, its size.
func (fs *FS) GetXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	t, err := fs.xattrNode(cancel, "getxattr", in.NodeId, name, false)
	if err != nil {
		return 0, status(err)
	}
	defer t.release()
	n, err := sys.Getxattr(fs.host.proc, t.fd, name, dest)
	return uint32(max(n, 0)), status(err)
}

// SetXAttr sets an attribute.
func (fs *FS) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, name string, data []byte) fuse.Status {
	t, err := fs.xattrNode(cancel, "setxattr", in.NodeId, name, true)
	if err != nil {
		return status(err)
	}
	defer t.release()
	return status(sys.Setxattr(fs.host.proc, t.fd, name, data, in.Flags))
}

// RemoveXAttr removes an attribute.
func (fs *FS) RemoveXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	t, err := fs.xattrNode(cancel, "removexattr", in.NodeId, name, true)
	if err != nil {
		return status(err)
	}
	defer t.release()
	return status(sys.Removexattr(fs.host.proc, t.fd, name))
}

// xattrListMax is XATTR_LIST_MAX of Linux linux/limits.h.
const xattrListMax = 64 << 10

var xattrLists = sync.Pool{New: func() any { return new([xattrListMax]byte) }}

// ListXAttr lists the names of attributes, each with NUL behind, or tells the size of the list.
func (fs *FS) ListXAttr(cancel <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	t, err := fs.xattrNode(cancel, "listxattr", in.NodeId, "", false)
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
	list := withoutACLs(buf[:n])
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
