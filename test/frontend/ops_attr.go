// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Operations on attributes.

// GetAttr reads a node's attributes.
func (c *Client) GetAttr(node uint64) (fuse.AttrOut, syscall.Errno) {
	var in fuse.GetAttrIn
	return do[fuse.AttrOut](c, Message{Op: OpGetattr, Node: node, Args: args(&in)})
}

// GetAttrFh is GetAttr by an open file.
func (c *Client) GetAttrFh(node, fh uint64) (fuse.AttrOut, syscall.Errno) {
	in := fuse.GetAttrIn{Flags_: fuse.FUSE_GETATTR_FH, Fh_: fh}
	return do[fuse.AttrOut](c, Message{Op: OpGetattr, Node: node, Args: args(&in)})
}

// SetAttr changes what in.Valid names.
func (c *Client) SetAttr(node uint64, in fuse.SetAttrInCommon) (fuse.AttrOut, syscall.Errno) {
	return do[fuse.AttrOut](c, Message{Op: OpSetattr, Node: node, Args: args(&in)})
}

// Statx reads attributes with the mask of statx(2).
func (c *Client) Statx(node uint64, flags, mask uint32) (fuse.StatxOut, syscall.Errno) {
	in := fuse.StatxIn{SxFlags: flags, SxMask: mask}
	return do[fuse.StatxOut](c, Message{Op: OpStatx, Node: node, Args: args(&in)})
}

// Access asks for permission; mask is as in access(2).
func (c *Client) Access(node uint64, mask uint32) syscall.Errno {
	in := fuse.AccessIn{Mask: mask}
	return c.Do(Message{Op: OpAccess, Node: node, Args: args(&in)}, nil)
}

// StatFs reads the file system's numbers.
func (c *Client) StatFs(node uint64) (fuse.StatfsOut, syscall.Errno) {
	return do[fuse.StatfsOut](c, Message{Op: OpStatfs, Node: node})
}

// SetXAttr sets an extended attribute; flags are those of setxattr(2).
func (c *Client) SetXAttr(node uint64, name string, value []byte, flags uint32) syscall.Errno {
	in := fuse.SetXAttrIn{Size: uint32(len(value)), Flags: flags}
	a := args(&in)
	if c.d.flags&fuse.CAP_SETXATTR_EXT == 0 {
		a = a[:8] // FUSE_COMPAT_SETXATTR_IN_SIZE
	}
	// Linux sends structure, name and value in one buffer.
	b := append(append(append([]byte(nil), a...), name...), 0)
	return c.Do(Message{Op: OpSetxattr, Node: node, Args: append(b, value...)}, nil)
}

// GetXAttr reads an extended attribute of at most size bytes; with size 0 it is
// XAttrSize.
func (c *Client) GetXAttr(node uint64, name string, size int) ([]byte, syscall.Errno) {
	in := fuse.GetXAttrIn{Size: uint32(size)}
	return c.Raw(OpGetxattr, node, args(&in), size, name)
}

// XAttrSize asks how large an extended attribute is.
func (c *Client) XAttrSize(node uint64, name string) (int, syscall.Errno) {
	var in fuse.GetXAttrIn
	out, errno := do[fuse.GetXAttrOut](c, Message{Op: OpGetxattr, Node: node, Args: args(&in), Names: []string{name}})
	return int(out.Size), errno
}

// ListXAttr lists the names of the extended attributes, at most size bytes of them.
func (c *Client) ListXAttr(node uint64, size int) ([]string, syscall.Errno) {
	in := fuse.GetXAttrIn{Size: uint32(size)}
	b, errno := c.Raw(OpListxattr, node, args(&in), size)
	if len(b) == 0 {
		return nil, errno
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), errno
}

// ListXAttrSize asks how large the list is.
func (c *Client) ListXAttrSize(node uint64) (int, syscall.Errno) {
	var in fuse.GetXAttrIn
	out, errno := do[fuse.GetXAttrOut](c, Message{Op: OpListxattr, Node: node, Args: args(&in)})
	return int(out.Size), errno
}

// RemoveXAttr removes an extended attribute.
func (c *Client) RemoveXAttr(node uint64, name string) syscall.Errno {
	return c.Do(Message{Op: OpRemovexattr, Node: node, Names: []string{name}}, nil)
}
