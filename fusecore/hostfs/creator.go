// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// creator carries out one operation that creates something, with what the request says of the
// caller beyond its header. Its zero extras are those of a request that says nothing.
type creator struct {
	*FS
	groups []uint32 // supplementary groups, the guest's ids; valid during the operation
	label  label    // likewise
}

// WithGroups returns the file system for one creating operation of a caller with these
// supplementary groups (FUSE_CREATE_SUPP_GROUP), which decide who keeps a setgid bit.
func (fs *FS) WithGroups(groups []uint32) fuse.RawFileSystem {
	return &creator{FS: fs, groups: groups}
}

// Create makes and opens a regular file. One that is there is opened, unless the guest said O_EXCL.
func (fs *FS) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return creator{FS: fs}.Create(cancel, in, name, out)
}

// Tmpfile makes and opens a file without a name, which LINK can give one.
func (fs *FS) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	return creator{FS: fs}.Tmpfile(cancel, in, out)
}

// Mkdir makes a directory.
func (fs *FS) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return creator{FS: fs}.Mkdir(cancel, in, name, out)
}

// Mknod makes a regular file, fifo, socket or, where the daemon may, a device.
func (fs *FS) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return creator{FS: fs}.Mknod(cancel, in, name, out)
}

// Symlink makes a symbolic link with any text; it means something to the guest alone.
func (fs *FS) Symlink(cancel <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return creator{FS: fs}.Symlink(cancel, in, target, name, out)
}

// maxGroups is more than a request of Linux has, which is one, the parent directory's.
const maxGroups = 64

// as runs call, which creates something, with the caller's ids.
func (fs creator) as(c *fuse.Caller, call func() error) error {
	uid, gid, err := fs.hostIDs(c.Uid, c.Gid)
	if err != nil {
		return err
	}
	var space [maxGroups]uint32
	if len(fs.groups) > len(space) {
		return unix.EINVAL
	}
	groups := space[:len(fs.groups)]
	for i, g := range fs.groups {
		var ok bool
		if groups[i], ok = fs.cfg.GIDs.ToHost(g); !ok {
			return unix.EPERM
		}
	}
	return fs.creds.Do(uid, gid, groups, call)
}
