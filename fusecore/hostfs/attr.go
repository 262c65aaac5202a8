// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// GetAttr reads attributes: through the handle if the guest names one, which also works for a
// file that no node leads to any more.
func (fs *FS) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	t, err := fs.target(in.NodeId, in.Fh(), in.Flags()&fuse.FUSE_GETATTR_FH != 0)
	if err != nil {
		return status(err)
	}
	defer t.release()
	if err := fs.fault(cancel, "getattr", at{t.fd, ""}); err != nil {
		return status(err)
	}
	return status(fs.attr(t, out))
}

func (fs *FS) attr(t target, out *fuse.AttrOut) error {
	var s seen
	if err := fs.look(t.fd, &s); err != nil {
		return err
	}
	fs.fillAttr(&out.Attr, &s.Statx_t)
	out.SetTimeout(fs.publish(t.id, &s))
	return nil
}

// Access checks the mode bits against the caller's ids, without his further groups: a guest that
// checks permissions itself (all Linux guests on virtio-fs) never asks.
func (fs *FS) Access(cancel <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	if fs.cfg.ReadOnly && in.Mask&fuse.W_OK != 0 {
		return fuse.EROFS
	}
	n, err := fs.node(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer n.Release()
	if err := fs.fault(cancel, "access", at{n.FD(), ""}); err != nil {
		return status(err)
	}
	var st unix.Statx_t
	if err := statFD(n.FD(), &st); err != nil {
		return status(err)
	}
	if _, _, err := fs.hostIDs(in.Uid, in.Gid); err != nil {
		return status(err)
	}
	fs.guestOwner(&st) // uid 0 is the guest's root
	return mayAccess(&st, in.Uid, in.Gid, in.Mask)
}

func mayAccess(st *unix.Statx_t, uid, gid, mask uint32) fuse.Status {
	mode := uint32(st.Mode)
	var granted uint32
	switch {
	case uid == 0:
		granted = fuse.R_OK | fuse.W_OK
		if mode&0o111 != 0 || mode&unix.S_IFMT == unix.S_IFDIR {
			granted |= fuse.X_OK
		}
	case uid == st.Uid:
		granted = mode >> 6
	case gid == st.Gid:
		granted = mode >> 3
	default:
		granted = mode
	}
	if mask & ^granted & 7 != 0 {
		return fuse.EACCES
	}
	return fuse.OK
}

// syncType is AT_STATX_SYNC_TYPE of Linux linux/fcntl.h.
const syncType = unix.AT_STATX_FORCE_SYNC | unix.AT_STATX_DONT_SYNC

// Statx is GetAttr with the birth time and the file system's attribute bits.
func (fs *FS) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	t, err := fs.target(in.NodeId, in.Fh, in.GetattrFlags&fuse.FUSE_GETATTR_FH != 0)
	if err != nil {
		return status(err)
	}
	defer t.release()
	if err := fs.fault(cancel, "getattr", at{t.fd, ""}); err != nil {
		return status(err)
	}
	const known = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	// Bits that speak of the host's mounts and mappings say nothing in the guest.
	const hidden = unix.STATX_ATTR_MOUNT_ROOT | unix.STATX_ATTR_AUTOMOUNT | unix.STATX_ATTR_DAX
	s := seen{taken: fs.pages.Now()}
	flags := int(in.SxFlags)&syncType | unix.AT_NO_AUTOMOUNT
	// All is asked for, as the page cache wants to see it, too.
	if err := sys.Statx(t.fd, flags, known, &s.Statx_t); err != nil {
		return status(err)
	}
	fs.guestOwner(&s.Statx_t)
	out.Statx.FromStatx(&s.Statx_t)
	out.Statx.Mask &= known
	out.Statx.Attributes &^= hidden
	out.Statx.AttributesMask &^= hidden
	out.SetTimeout(fs.publish(t.id, &s))
	return fuse.OK
}

// StatFs describes the file system that the node lies on.
func (fs *FS) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	n, err := fs.node(in.NodeId)
	if err != nil {
		return status(err)
	}
	defer n.Release()
	if err := fs.fault(cancel, "statfs", at{n.FD(), ""}); err != nil {
		return status(err)
	}
	var st unix.Statfs_t
	for {
		if err = unix.Fstatfs(n.FD(), &st); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return status(err)
	}
	*out = fuse.StatfsOut{
		Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree,
		Bsize: uint32(st.Bsize), Frsize: uint32(st.Frsize), NameLen: uint32(st.Namelen),
	}
	return fuse.OK
}

// fillAttr tells the guest of a file; st becomes the guest's too.
func (fs *FS) fillAttr(a *fuse.Attr, st *unix.Statx_t) {
	fs.guestOwner(st)
	a.Ino, a.Size, a.Blocks = st.Ino, st.Size, st.Blocks
	a.Atime, a.Atimensec = uint64(st.Atime.Sec), st.Atime.Nsec
	a.Mtime, a.Mtimensec = uint64(st.Mtime.Sec), st.Mtime.Nsec
	a.Ctime, a.Ctimensec = uint64(st.Ctime.Sec), st.Ctime.Nsec
	a.Mode, a.Nlink = uint32(st.Mode), st.Nlink
	a.Uid, a.Gid = st.Uid, st.Gid
	a.Rdev = encodeDev(st.Rdev_major, st.Rdev_minor)
	a.Blksize = st.Blksize
	a.Flags = 0
}

// encodeDev is new_encode_dev of Linux linux/kdev_t.h, the form of device numbers in FUSE.
func encodeDev(major, minor uint32) uint32 {
	return minor&0xff | major<<8 | (minor & ^uint32(0xff))<<12
}
