// SPDX-License-Identifier: Apache-2.0

package cache

import "golang.org/x/sys/unix"

// Trusted tells whether pages of files on a file system of this type (f_type of statfs(2)) may be
// kept: inode numbers must name one file until it is deleted, and every change must show in mtime
// or ctime within two seconds. It is so where the host's own kernel keeps the only copy of an inode.
// It is not, among others, with overlayfs (an inode changes identity when it is copied up), FUSE,
// 9p, NFS, SMB and Ceph (others change files, with stamps by their own clocks or cached ones), and
// FAT (no lasting inode numbers).
func Trusted(fsType int64) bool {
	switch fsType {
	case unix.EXT4_SUPER_MAGIC, // ext2 and ext3, too
		unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
		bcachefsMagic, zfsMagic,
		unix.TMPFS_MAGIC, unix.RAMFS_MAGIC,
		unix.SQUASHFS_MAGIC, unix.EROFS_SUPER_MAGIC_V1:
		return true
	}
	return false
}

// Types that x/sys does not name.
const (
	bcachefsMagic = 0xca451a4e // BCACHEFS_STATFS_MAGIC of Linux linux/magic.h
	zfsMagic      = 0x2fc12fc1 // ZFS_SUPER_MAGIC of OpenZFS sys/fs/zfs.h
)
