// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
)

// cpio writes an archive in the "newc" format, which the kernel unpacks as its first root
// (Linux Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	w    *bufio.Writer
	ino  int
	dirs map[string]bool
}

func newCpio(w io.Writer) *cpio {
	return &cpio{w: bufio.NewWriter(w), dirs: map[string]bool{}}
}

// file adds a file, and its directories, with the given permissions.
func (c *cpio) file(name string, perm uint32, data []byte) error {
	if err := c.dir(path.Dir(name)); err != nil {
		return err
	}
	return c.entry(name, 0o100000|perm, data)
}

// copy adds a file of the host.
func (c *cpio) copy(name, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return c.file(name, 0o755, data)
}

func (c *cpio) dir(name string) error {
	if name == "." || c.dirs[name] {
		return nil
	}
	if err := c.dir(path.Dir(name)); err != nil {
		return err
	}
	c.dirs[name] = true
	return c.entry(name, 0o040755, nil)
}

func (c *cpio) entry(name string, mode uint32, data []byte) error {
	c.ino++
	// Magic, inode, mode, uid, gid, links, mtime, size, device (4 numbers), name size, checksum.
	_, err := fmt.Fprintf(c.w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	if err != nil {
		return err
	}
	if err := c.pad(110 + len(name) + 1); err != nil {
		return err
	}
	if _, err := c.w.Write(data); err != nil {
		return err
	}
	return c.pad(len(data))
}

// pad fills up to a multiple of four bytes.
func (c *cpio) pad(n int) error {
	_, err := c.w.Write(make([]byte, -n&3))
	return err
}

// close writes the trailer and what is buffered; the underlying writer stays open.
func (c *cpio) close() error {
	if err := c.entry("TRAILER!!!", 0, nil); err != nil {
		return err
	}
	return c.w.Flush()
}
