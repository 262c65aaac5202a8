// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// submounts are the file systems below the share's root that the guest has come to. If they are
// announced (FUSE_SUBMOUNTS) its kernel mounts each by itself, with a device number of its own,
// and sends SYNCFS for each. If not, they are all one file system to it, and a SYNCFS is for all.
// Nothing of them is kept open, or the host could not unmount them.
type submounts struct {
	announced atomic.Bool

	mu    sync.Mutex
	paths map[uint64]string // by device: a file on it, as a path in the share
}

// maxSubmounts bounds the file systems that SYNCFS is carried out on.
const maxSubmounts = 1024

// crossed looks whether name in dir is the root of another mount, or of another volume on the
// same mount, and returns the FUSE_ATTR_* flags that tell the guest. i and fd are the file's.
func (fs *FS) crossed(dir inodes.Node, i inodes.Identity, fd int) (attrFlags uint32) {
	if dir == (inodes.Node{}) {
		return 0
	}
	above := dir.Identity()
	if above.Mnt == i.Mnt && above.Dev == i.Dev {
		return 0
	}
	if !fs.below.announced.Load() {
		fs.noteMount(i, fd)
	} else if i.Type == unix.S_IFDIR {
		return fuse.ATTR_SUBMOUNT
	}
	return 0
}

// noteMount remembers how to reach a file system.
func (fs *FS) noteMount(i inodes.Identity, fd int) {
	if i.Type != unix.S_IFDIR && i.Type != unix.S_IFREG {
		return
	}
	b := &fs.below
	b.mu.Lock()
	_, known := b.paths[i.Dev]
	full := len(b.paths) >= maxSubmounts
	b.mu.Unlock()
	if known || full {
		return
	}
	path := fs.host.path(at{fd, ""})
	if path == "" {
		return // moved out of the share meanwhile
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paths == nil {
		b.paths = map[uint64]string{}
	}
	b.paths[i.Dev] = path
}

// syncBelow makes the file systems below durable that the guest has come to. All are tried.
func (fs *FS) syncBelow() error {
	b := &fs.below
	b.mu.Lock()
	paths := maps.Clone(b.paths)
	b.mu.Unlock()
	var errs []error
	for dev, path := range paths {
		fd, err := fs.openBelow(path, dev)
		if err != nil { // unmounted or moved: the next LOOKUP tells where to
			b.mu.Lock()
			if b.paths[dev] == path {
				delete(b.paths, dev)
			}
			b.mu.Unlock()
			continue
		}
		errs = append(errs, sys.Syncfs(fd))
		_ = sys.Close(fd)
	}
	return errors.Join(errs...)
}

// openBelow opens a path in the share to read, if it leads to a file on device dev.
func (fs *FS) openBelow(path string, dev uint64) (int, error) {
	at := -1 // O_PATH
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		from := at
		if from < 0 {
			from = fs.host.root
		}
		next, err := fs.withFDs(func() (int, error) { return sys.OpenIn(from, name, unix.O_PATH|unix.O_NOFOLLOW, 0) })
		if at >= 0 {
			_ = sys.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at = next
	}
	defer sys.Close(at)
	var st unix.Statx_t
	if err := statFD(at, &st); err != nil {
		return -1, err
	}
	if i := identity(&st); i.Dev != dev || i.Type != unix.S_IFDIR && i.Type != unix.S_IFREG {
		return -1, unix.ESTALE
	}
	return fs.withFDs(func() (int, error) { return sys.Reopen(fs.host.proc, at, unix.O_RDONLY) })
}
