// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Files of the tree that hold data, by the number in their stamps.
const (
	readFile  = 1 // only read, generation 0
	writeFile = 2 // written by the guest; tree.gens says by which write
	dirtyFile = 3 // written by the host, for FSYNC
	smallFile = 4 // those that are created, one block each
)

var fileNames = map[uint8]string{readFile: "read", writeFile: "write", dirtyFile: "dirty"}

const (
	namesDir = "names"
	newDir   = "new"
)

// tree is the shared directory: three files of data, a directory of many
// names, and one for new files.
type tree struct {
	dir   string
	size  int64    // bytes of each file of data
	names []string // in namesDir; the i-th has i bytes
	inos  []uint64 // their inode numbers
	gens  []uint32 // of each block of writeFile
	gen   uint32   // of the latest write
}

// makeTree makes the tree in a new directory dir, and has the host write it back, so that nothing
// of it disturbs later.
func makeTree(dir string, size int64, names int) (*tree, error) {
	t := &tree{dir: dir, size: size, gens: make([]uint32, size/blockSize)}
	for _, d := range []string{"", namesDir, newDir} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	for file := range fileNames {
		if err := t.writeAll(file); err != nil {
			return nil, err
		}
	}
	for i := range names {
		name := fmt.Sprintf("name-%05d", i)
		path := filepath.Join(dir, namesDir, name)
		if err := os.WriteFile(path, make([]byte, i), 0o644); err != nil {
			return nil, err
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return nil, err
		}
		t.names, t.inos = append(t.names, name), append(t.inos, st.Ino)
	}
	return t, t.settle()
}

func (t *tree) path(file uint8) string { return filepath.Join(t.dir, fileNames[file]) }

// writeAll writes all of a file on the host with generation 0, leaving it dirty.
func (t *tree) writeAll(file uint8) error {
	f, err := os.OpenFile(t.path(file), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	fill(b)
	for off := int64(0); off < t.size; off += int64(len(b)) {
		setStamps(b, file, off, 0)
		if _, err := f.WriteAt(b[:min(int64(len(b)), t.size-off)], off); err != nil {
			return err
		}
	}
	return f.Close()
}

// rewrite makes writeFile as it was in the beginning.
func (t *tree) rewrite() error {
	clear(t.gens)
	return errors.Join(t.writeAll(writeFile), t.settle())
}

// settle writes the tree's file system back.
func (t *tree) settle() error {
	d, err := os.Open(t.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd())))
}

// verify reads the file that the guest has written, on the host, and holds every byte against
// what was written.
func (t *tree) verify() error {
	f, err := os.Open(t.path(writeFile))
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, blockSize)
	for i, gen := range t.gens {
		off := int64(i) * blockSize
		if _, err := f.ReadAt(b, off); err != nil && err != io.EOF {
			return err
		}
		if err := check(b, writeFile, off, gen, true); err != nil {
			return fmt.Errorf("on the host: %w", err)
		}
	}
	return nil
}
