// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"sync/atomic"

	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// volume is what a file system of the host is like.
type volume struct {
	trusted bool // pages of its files may be kept
	memory  bool // it lies in memory: a read waits for no disk, unless a page of it was swapped out

	noNowait atomic.Bool // it does not know RWF_NOWAIT, as one of its files has said
}

// newVolume is a file system with this f_type of statfs(2).
func newVolume(fsType int64) *volume {
	return &volume{trusted: cache.Trusted(fsType), memory: fsType == unix.TMPFS_MAGIC || fsType == unix.RAMFS_MAGIC}
}

// volumeOf is that of the file that fd, on mount mnt, refers to. Mounts below the share are asked
// each time, as they can change.
func (h *host) volumeOf(fd int, mnt uint64) *volume {
	if mnt == h.mnt {
		return h.volume
	}
	var fs unix.Statfs_t
	if again(func() error { return unix.Fstatfs(fd, &fs) }) != nil {
		return new(volume)
	}
	return newVolume(int64(fs.Type))
}

// readNowait reads what is in memory. EAGAIN: the rest, or all that the file system has, may have to
// be waited for.
func (v *volume) readNowait(fd int, dst [][]byte, off int64) (int, error) {
	if !v.noNowait.Load() {
		n, err := sys.ReadvNowait(fd, dst, off)
		if err != unix.EOPNOTSUPP {
			return n, err
		}
		v.noNowait.Store(true)
	}
	if v.memory {
		return sys.Readv(fd, dst, off, 0)
	}
	return 0, unix.EAGAIN
}
