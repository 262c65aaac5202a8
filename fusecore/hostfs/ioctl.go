// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"encoding/binary"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// The ioctls that reach the host: an inode's flags (chattr(1), lsattr(1)) in their two forms, of
// Linux linux/fs.h. The numbers are those of 64-bit machines, where this runs; FUSE has those of
// the guest, and 32-bit guests send their own for the flags.
const (
	iocGetFlags   = 0x80086601 // FS_IOC_GETFLAGS
	iocSetFlags   = 0x40086602 // FS_IOC_SETFLAGS
	iocGetFlags32 = 0x80046601 // FS_IOC32_GETFLAGS
	iocSetFlags32 = 0x40046602 // FS_IOC32_SETFLAGS
	iocGetXAttr   = 0x801c581f // FS_IOC_FSGETXATTR
	iocSetXAttr   = 0x401c5820 // FS_IOC_FSSETXATTR
)

// inodeFlags is an argument of these ioctls: an int, or struct fsxattr.
type inodeFlags struct {
	get, set uint32 // the ioctls
	size     int    // of the argument in bytes
	// Bits of the first word: immutable and append only; FS_PROJINHERIT_FL or FS_XFLAG_PROJINHERIT.
	locks, inherit uint32
}

var (
	plainFlags = inodeFlags{get: iocGetFlags, set: iocSetFlags, size: 4, locks: 0x30, inherit: 0x20000000}
	xFlags     = inodeFlags{get: iocGetXAttr, set: iocSetXAttr, size: 28, locks: 0x18, inherit: 0x200}
)

// flagsBuf has room for the argument of each of them; the kernel takes FS_IOC_GETFLAGS for an int,
// though its number says long.
type flagsBuf [32]byte

// Ioctl gets and sets an inode's flags. ENOTTY for all else.
func (fs *FS) Ioctl(cancel <-chan struct{}, in *fuse.IoctlIn, arg []byte, _ *fuse.IoctlOut, result []byte) fuse.Status {
	var f *inodeFlags
	set := false
	switch in.Cmd {
	case iocGetFlags, iocGetFlags32:
		f = &plainFlags
	case iocSetFlags, iocSetFlags32:
		f, set = &plainFlags, true
	case iocGetXAttr:
		f = &xFlags
	case iocSetXAttr:
		f, set = &xFlags, true
	default:
		return fuse.Status(unix.ENOTTY)
	}
	h, err := fs.open.get(in.Fh, in.NodeId)
	if err != nil {
		return status(err)
	}
	defer h.release()
	var b flagsBuf
	if !set {
		if len(result) < f.size {
			return fuse.EINVAL
		}
		if err := fs.fault(cancel, "getattr", at{h.fd, ""}); err != nil {
			return status(err)
		}
		err := sys.Ioctl(h.fd, f.get, b[:])
		copy(result, b[:f.size])
		return status(err)
	}
	if copy(b[:f.size], arg) < f.size {
		return fuse.EINVAL
	}
	if fs.cfg.ReadOnly {
		return fuse.EROFS
	}
	if err := fs.fault(cancel, "setattr", at{h.fd, ""}); err != nil {
		return status(err)
	}
	return status(fs.setFlags(h.fd, f, &b, in.Uid))
}

// setFlags sets an inode's flags for a caller. Linux before 5.13 lets everybody who has opened a file
// send this; later it checks the caller itself, and with FUSE_ALLOW_IDMAP it does not tell who
// that is. The project, which the host counts its quotas by, is the host's alone.
func (fs *FS) setFlags(fd int, f *inodeFlags, b *flagsBuf, uid uint32) error {
	var old flagsBuf
	if err := sys.Ioctl(fd, f.get, old[:]); err != nil {
		return err
	}
	word := func(b *flagsBuf, n int) uint32 { return binary.NativeEndian.Uint32(b[4*n:]) }
	changed := word(&old, 0) ^ word(b, 0)
	if changed&f.inherit != 0 || f == &xFlags && word(&old, 3) != word(b, 3) { // fsx_projid
		return unix.EPERM
	}
	if uid != 0 && uid != noCaller {
		var st unix.Statx_t
		if err := statFD(fd, &st); err != nil {
			return err
		}
		fs.guestOwner(&st)
		if uid != st.Uid || changed&f.locks != 0 {
			return unix.EPERM
		}
	}
	return sys.Ioctl(fd, f.set, b[:])
}

// noCaller is FUSE_INVALID_UIDGID of Linux linux/fuse.h.
const noCaller = ^uint32(0)
