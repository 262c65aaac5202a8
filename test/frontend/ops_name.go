// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Operations on names.

// Lookup finds a name. The node counts one more lookup. An entry with node 0 is ENOENT, as it is to
// Linux (fs/fuse/dir.c, fuse_lookup); its EntryValid says for how long.
func (c *Client) Lookup(parent uint64, name string) (fuse.EntryOut, syscall.Errno) {
	e, errno := do[fuse.EntryOut](c, Message{Op: OpLookup, Node: parent, Names: []string{name}})
	if errno == 0 && e.NodeId == 0 {
		errno = syscall.ENOENT
	}
	return e, errno
}

// Mkdir makes a directory.
func (c *Client) Mkdir(parent uint64, name string, mode, umask uint32) (fuse.EntryOut, syscall.Errno) {
	in := fuse.MkdirIn{Mode: mode, Umask: umask}
	return do[fuse.EntryOut](c, Message{Op: OpMkdir, Node: parent, Args: args(&in), Names: []string{name}})
}

// Mknod makes a node of any kind. rdev is in the kernel's 32-bit form (new_encode_dev).
func (c *Client) Mknod(parent uint64, name string, mode, rdev, umask uint32) (fuse.EntryOut, syscall.Errno) {
	in := fuse.MknodIn{Mode: mode, Rdev: rdev, Umask: umask}
	return do[fuse.EntryOut](c, Message{Op: OpMknod, Node: parent, Args: args(&in), Names: []string{name}})
}

// Symlink makes a symbolic link.
func (c *Client) Symlink(parent uint64, name, target string) (fuse.EntryOut, syscall.Errno) {
	return do[fuse.EntryOut](c, Message{Op: OpSymlink, Node: parent, Names: []string{name, target}})
}

// Readlink reads a symbolic link.
func (c *Client) Readlink(node uint64) (string, syscall.Errno) {
	b, errno := c.Raw(OpReadlink, node, nil, PageSize)
	return string(b), errno
}

// Link makes a hard link to a node.
func (c *Client) Link(node, parent uint64, name string) (fuse.EntryOut, syscall.Errno) {
	in := fuse.LinkIn{Oldnodeid: node}
	return do[fuse.EntryOut](c, Message{Op: OpLink, Node: parent, Args: args(&in), Names: []string{name}})
}

// Unlink removes a file's name.
func (c *Client) Unlink(parent uint64, name string) syscall.Errno {
	return c.Do(Message{Op: OpUnlink, Node: parent, Names: []string{name}}, nil)
}

// Rmdir removes a directory.
func (c *Client) Rmdir(parent uint64, name string) syscall.Errno {
	return c.Do(Message{Op: OpRmdir, Node: parent, Names: []string{name}}, nil)
}

// Rename renames with the operation that has no flags.
func (c *Client) Rename(parent uint64, name string, newParent uint64, newName string) syscall.Errno {
	arg := binary.NativeEndian.AppendUint64(nil, newParent)
	return c.Do(Message{Op: OpRename, Node: parent, Args: arg, Names: []string{name, newName}}, nil)
}

// Rename2 renames with the flags of renameat2(2).
func (c *Client) Rename2(parent uint64, name string, newParent uint64, newName string, flags uint32) syscall.Errno {
	in := fuse.RenameIn{Newdir: newParent, Flags: flags}
	return c.Do(Message{Op: OpRename2, Node: parent, Args: args(&in), Names: []string{name, newName}}, nil)
}

// Create makes and opens a file. flags are those of open(2).
func (c *Client) Create(parent uint64, name string, flags, mode, umask uint32) (fuse.CreateOut, syscall.Errno) {
	in := fuse.CreateIn{Flags: flags, Mode: mode, Umask: umask}
	return do[fuse.CreateOut](c, Message{Op: OpCreate, Node: parent, Args: args(&in), Names: []string{name}})
}

// Tmpfile makes and opens a file without a name in a directory. Linux sends a name all the
// same, which means nothing. A program's flags have O_TMPFILE, those of the guest's own kernel do not.
func (c *Client) Tmpfile(parent uint64, flags, mode, umask uint32) (fuse.CreateOut, syscall.Errno) {
	in := fuse.CreateIn{Flags: flags, Mode: mode, Umask: umask}
	return do[fuse.CreateOut](c, Message{Op: OpTmpfile, Node: parent, Args: args(&in), Names: []string{"/"}})
}
