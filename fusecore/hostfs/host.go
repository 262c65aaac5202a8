// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// host is what the inode table stands on: how files of the share are told apart, given up and
// opened again (inodes.Host). It is immutable.
//
// Files on the share's own mount are reopened by file handle if the process may do that and the
// file system has handles; then their names are not kept at all. All others are known by parent
// and name: files on mounts below the share, and everything for a process without
// CAP_DAC_READ_SEARCH.
type host struct {
	root    int    // the share, O_RDONLY: the mount for open_by_handle_at, and for syncfs
	rootIno uint64 // shown as ".." of the share, whose parent is nobody's business
	proc    int    // O_PATH fd of /proc/self/fd, or AT_FDCWD
	mnt     uint64 // the share's mount
	handles bool
	births  bool    // the share's files have birth times, and looking at one twice costs little
	remote  bool    // a network file system: any call may wait for the network
	volume  *volume // of the share's mount
	pages   *cache.Cache
}

// openHost opens the share. rootFD is an O_PATH fd of it, owned by the caller.
func openHost(c Config, handles bool, pages *cache.Cache) (h *host, root inodes.Identity, rootFD int, err error) {
	h = &host{root: -1, proc: -1, pages: pages}
	if root, rootFD, err = h.open(c); err != nil {
		h.close()
		return nil, root, -1, err
	}
	h.mnt, h.rootIno = root.Mnt, root.Ino
	h.births = root.Birth != 0 && !h.remote
	h.handles = handles && h.tryHandles(rootFD)
	return h, root, rootFD, nil
}

// open opens the share in both ways. On error the caller closes h.
func (h *host) open(c Config) (root inodes.Identity, rootFD int, err error) {
	if c.WorkingProc {
		h.proc = unix.AT_FDCWD
	} else if h.proc, err = unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return root, -1, fmt.Errorf("/proc/self/fd, through which files are opened: %w", err)
	}
	if c.RootFD > 0 {
		rootFD, err = unix.FcntlInt(uintptr(c.RootFD), unix.F_DUPFD_CLOEXEC, 3)
	} else {
		rootFD, err = unix.Open(c.Root, unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return root, -1, err
	}
	if root, err = h.openRoot(rootFD); err != nil {
		_ = sys.Close(rootFD)
		return root, -1, err
	}
	return root, rootFD, nil
}

// openRoot opens the file of rootFD, which must be a directory or a regular file, to read.
func (h *host) openRoot(rootFD int) (root inodes.Identity, err error) {
	var st unix.Statx_t
	if err = statFD(rootFD, &st); err != nil {
		return root, err
	}
	root = identity(&st)
	if root.Type != unix.S_IFDIR && root.Type != unix.S_IFREG {
		return root, errors.New("it is neither a directory nor a regular file")
	}
	if h.root, err = sys.Reopen(h.proc, rootFD, unix.O_RDONLY); err != nil {
		return root, err
	}
	var fs unix.Statfs_t
	if err = unix.Fstatfs(h.root, &fs); err != nil {
		return root, err
	}
	h.remote, h.volume = remote(int64(fs.Type)), newVolume(int64(fs.Type))
	return root, nil
}

// tryHandles takes the root's handle and opens it, the only way to know that both is allowed.
func (h *host) tryHandles(rootFD int) bool {
	var fh sys.Handle
	if sys.NameToHandle(rootFD, &fh) != nil {
		return false
	}
	fd, err := sys.OpenByHandle(h.root, &fh, unix.O_PATH)
	if err != nil {
		return false
	}
	_ = sys.Close(fd)
	return true
}

func (h *host) close() {
	for _, fd := range []int{h.root, h.proc} {
		if fd >= 0 {
			_ = sys.Close(fd)
		}
	}
}

// named tells whether files on mount mnt are known by name.
func (h *host) named(mnt uint64) bool { return !h.handles || mnt != h.mnt }

// statMask is asked of every file: the mount id in the form that is never used again, if the
// kernel (6.8) has it.
const statMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME | unix.STATX_MNT_ID | unix.STATX_MNT_ID_UNIQUE

func statFD(fd int, st *unix.Statx_t) error {
	return sys.Statx(fd, unix.AT_NO_AUTOMOUNT, statMask, st)
}

func identity(st *unix.Statx_t) inodes.Identity {
	i := inodes.Identity{
		Dev:  uint64(st.Dev_major)<<32 | uint64(st.Dev_minor),
		Ino:  st.Ino,
		Mnt:  st.Mnt_id,
		Type: uint32(st.Mode) & unix.S_IFMT,
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		i.Birth = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return i
}

// Freeze implements inodes.Host.
func (h *host) Freeze(fd int, c inodes.Cold, parent int, buf []byte) ([]byte, int64, bool) {
	var st unix.Statx_t
	if c.Forgotten && !h.named(c.Mnt) {
		return h.freezeForgotten(fd, c, buf)
	}
	if statFD(fd, &st) != nil {
		return nil, 0, false
	}
	now := identity(&st)
	switch {
	case len(c.Name) > 0 && h.named(c.Mnt):
		err := sys.StatxIn(parent, string(c.Name), statMask, &st)
		return nil, now.Birth, err == nil && identity(&st) == now
	case h.named(c.Mnt), st.Nlink == 0:
		return nil, 0, false // unlinked: its last fd is its life
	case len(c.Handle) > 0:
		return nil, now.Birth, true // a handle is for ever
	}
	handle, err := appendHandle(buf, fd)
	return handle, now.Birth, err == nil
}

// freezeForgotten is Freeze for a file that may be gone: its handle will say so when it is asked for.
func (h *host) freezeForgotten(fd int, c inodes.Cold, buf []byte) ([]byte, int64, bool) {
	if len(c.Handle) > 0 {
		return nil, c.Birth, true
	}
	handle, err := appendHandle(buf, fd)
	return handle, c.Birth, err == nil
}

// Thaw implements inodes.Host.
func (h *host) Thaw(c inodes.Cold, parent int) (int, error) {
	fd, err := h.openCold(c, parent)
	if err != nil {
		if err == unix.ENOENT || err == unix.ENOTDIR {
			err = inodes.ErrStale
		}
		return -1, err
	}
	var st unix.Statx_t
	if err = statFD(fd, &st); err == nil {
		got := identity(&st)
		// A handle names the file for good. It does not tell the mount, which is the share's,
		// nor is the birth time needed.
		if len(c.Handle) > 0 {
			got.Birth, got.Mnt = c.Birth, c.Mnt
		}
		if got == c.Identity {
			return fd, nil
		}
		err = inodes.ErrStale
	}
	_ = sys.Close(fd)
	return -1, err
}

func (h *host) openCold(c inodes.Cold, parent int) (int, error) {
	switch {
	case len(c.Name) > 0:
		return sys.OpenIn(parent, string(c.Name), unix.O_PATH|unix.O_NOFOLLOW, 0)
	case len(c.Handle) > 4:
		fh := sys.Handle{Type: int32(binary.NativeEndian.Uint32(c.Handle))}
		fh.Size = uint32(copy(fh.Bytes[:], c.Handle[4:]))
		return h.openHandle(&fh)
	}
	return -1, inodes.ErrStale
}

// openHandle opens a file by handle. ENOMEM may be a lie: ext4 says so of a file that is gone while
// its inode number is just being given to a new one (iget_locked of Linux fs/inode.c), and the
// truth, ESTALE, a moment later.
func (h *host) openHandle(fh *sys.Handle) (fd int, err error) {
	for range 10 {
		if fd, err = sys.OpenByHandle(h.root, fh, unix.O_PATH); err != unix.ENOMEM {
			break
		}
		runtime.Gosched()
	}
	return fd, err
}

// Match implements inodes.Host.
func (h *host) Match(fd int, handle []byte) bool {
	var buf [4 + sys.HandleMax]byte
	got, err := appendHandle(buf[:0], fd)
	return err == nil && string(got) == string(handle)
}

// Unpin implements inodes.Host.
func (h *host) Unpin(i inodes.Identity) { h.pages.Forget(key(i)) }

// Close implements inodes.Host.
func (h *host) Close(fd int) { _ = sys.Close(fd) }

// appendHandle appends the type and the bytes of a file's handle.
func appendHandle(buf []byte, fd int) ([]byte, error) {
	var fh sys.Handle
	if err := sys.NameToHandle(fd, &fh); err != nil {
		return nil, err
	}
	buf = binary.NativeEndian.AppendUint32(buf, uint32(fh.Type))
	return append(buf, fh.Bytes[:min(fh.Size, sys.HandleMax)]...), nil
}

// remote tells network file systems, and those served by a process, by f_type of statfs(2).
func remote(magic int64) bool {
	switch magic {
	case unix.NFS_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.SMB_SUPER_MAGIC,
		unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CODA_SUPER_MAGIC, unix.V9FS_MAGIC,
		unix.FUSE_SUPER_MAGIC:
		return true
	}
	return false
}
