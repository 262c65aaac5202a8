// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// POSIX ACLs are obeyed by the guest's kernel, which knows its users, and kept by the host, which
// derives the mode from them and hands default ACLs on to what is created. A guest that does not obey
// ACLs must not see or store any. FUSE_DONT_MASK belongs to them: where a directory has a default ACL,
// which the host knows, it is in the place of the umask.

// The names of the ACLs, Linux linux/xattr.h.
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

func isACL(name string) bool { return name == accessACL || name == defaultACL }

// aclFlags are needed for ACLs, aclWants are of use with them.
const (
	aclFlags = uint64(fuse.CAP_POSIX_ACL | fuse.CAP_DONT_MASK)
	aclWants = aclFlags | fuse.CAP_SETXATTR_EXT
)

// unmasked are the bits of a mode that the umask leaves to what is created in directory dir, an fd.
func (fs *FS) unmasked(dir int, umask uint32) uint32 {
	const all = ^uint32(0)
	if umask &= 0o777; umask == 0 || !fs.acl.Load() {
		return all // the guest has masked the mode
	}
	if n, err := sys.Getxattr(fs.host.proc, dir, defaultACL, nil); err == nil && n > 0 {
		return all // the host goes by the ACL
	}
	return ^umask
}

// translates tells whether users and groups have other ids on the host.
func (fs *FS) translates() bool { return fs.cfg.UIDs != nil || fs.cfg.GIDs != nil }

// aclSpace is as many entries as ACLs mostly have.
type aclSpace [32]aclEntry

// hostACL returns the guest's value of an ACL for the host: EPERM if it has forbidden ids, EINVAL if two
// of its users or groups are one on the host.
func (fs *FS) hostACL(value []byte) ([]byte, error) {
	if !fs.translates() || len(value) == 0 {
		return value, nil
	}
	var space aclSpace
	entries, err := parseACL(value, space[:0])
	if err != nil {
		return nil, err
	}
	for i := range entries {
		e, ok := &entries[i], true
		switch e.tag {
		case aclUser:
			e.id, ok = fs.cfg.UIDs.ToHost(e.id)
		case aclGroup:
			e.id, ok = fs.cfg.GIDs.ToHost(e.id)
		}
		if !ok {
			return nil, unix.EPERM
		}
	}
	if !sortACL(entries) {
		return nil, unix.EINVAL
	}
	return appendACL(make([]byte, 0, len(value)), entries), nil
}

// guestACL turns the host's value of an ACL into the guest's, in place, and returns its size. Users or
// groups that are one in the guest may do there what each of them may.
func (fs *FS) guestACL(value []byte) (int, error) {
	if !fs.translates() || len(value) == 0 {
		return len(value), nil
	}
	var space aclSpace
	entries, err := parseACL(value, space[:0])
	if err != nil {
		return 0, err
	}
	for i := range entries {
		switch e := &entries[i]; e.tag {
		case aclUser:
			e.id = fs.cfg.UIDs.ToGuest(e.id)
		case aclGroup:
			e.id = fs.cfg.GIDs.ToGuest(e.id)
		}
	}
	if !sortACL(entries) {
		entries = mergeACL(entries)
	}
	return len(appendACL(value[:0], entries)), nil
}

// dropSGID clears the setgid bit of a file that got an ACL from somebody who may not keep it
// (FUSE_SETXATTR_ACL_KILL_SGID).
func (fs *FS) dropSGID(fd int) error {
	var st unix.Statx_t
	if err := statFD(fd, &st); err != nil || st.Mode&unix.S_ISGID == 0 {
		return err
	}
	return sys.Chmod(fs.host.proc, fd, uint32(st.Mode)&0o7777&^unix.S_ISGID)
}
