// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// With FUSE_SECURITY_CTX the guest's kernel sends the label that its policy has for a new file along
// with the request that creates it. The file gets it as an extended attribute before the guest hears
// of the file; a process of the host can see it without for a moment. If it cannot have the label, it
// is removed again: a guest that relies on labels must not find a file without one.

// label is the guest's security context for what is created; without a name there is none.
type label struct {
	name  string
	value []byte
}

// WithSecurityContext returns the file system for one operation that creates something with a label.
func (fs *FS) WithSecurityContext(name string, value []byte) fuse.RawFileSystem {
	return &creator{FS: fs, label: label{name, value}}
}

// WithGroups is that of FS, with the label kept.
func (fs *creator) WithGroups(groups []uint32) fuse.RawFileSystem {
	fs.groups = groups
	return fs
}

// labelName labels what was just made as name in dir, an fd.
func (fs creator) labelName(dir int, name string) error {
	if fs.label.name == "" {
		return nil
	}
	fd, err := fs.withFDs(func() (int, error) {
		return sys.OpenIn(dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	})
	if err != nil {
		return err
	}
	defer sys.Close(fd)
	return fs.labelFile(fd, dir, name)
}

// labelFile labels the file that fd refers to and that was just made as name in dir. Without a name it
// has none.
func (fs creator) labelFile(fd, dir int, name string) error {
	if fs.label.name == "" {
		return nil
	}
	err := fs.setLabel(fd)
	if err != nil && name != "" {
		unmake(fd, dir, name)
	}
	return err
}

func (fs creator) setLabel(fd int) error {
	if !strings.HasPrefix(fs.label.name, "security.") {
		return unix.EINVAL // Linux sends none
	}
	name, err := fs.hostAttr(fs.label.name)
	if err != nil {
		return err
	}
	return sys.Setxattr(fs.host.proc, fd, name, fs.label.value, 0)
}

// unmake removes name from dir if it is still the file that fd refers to.
func unmake(fd, dir int, name string) {
	var file, named unix.Statx_t
	if statFD(fd, &file) != nil || sys.StatxIn(dir, name, statMask, &named) != nil || identity(&file) != identity(&named) {
		return
	}
	flags := 0
	if uint32(file.Mode)&unix.S_IFMT == unix.S_IFDIR {
		flags = unix.AT_REMOVEDIR
	}
	_ = sys.Unlink(dir, name, flags)
}
