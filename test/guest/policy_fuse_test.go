// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// badFUSE is a FUSE file system of the host that refuses badSpot of each file while it is armed. The
// host keeps no pages of it: a host that does gives a byte to readers while it asks whether the byte
// is taken (Linux fs/fuse/file.c, fuse_fill_write_pages), and so has it for a moment.
func badFUSE(t *testing.T, root string) badHost {
	dir := filepath.Join(root, "fuse")
	mkdir(t, dir)
	bad := &fuseBad{}
	node := &fuseNode{&fs.LoopbackNode{RootData: &fs.LoopbackRoot{Path: t.TempDir()}}, bad}
	srv, err := fs.Mount(dir, node, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "bad", DisableXAttrs: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return badHost{
		name: "fuse", errno: "EIO", spot: badSpot, rules: noRules,
		arm:  func(*testing.T, int) { bad.armed.Store(true) },
		heal: func(_ *box, _, file string) string { bad.armed.Store(false); return file },
	}
}

// fuseBad says whether the host is bad now.
type fuseBad struct{ armed atomic.Bool }

// fuseNode is a file or directory.
type fuseNode struct {
	*fs.LoopbackNode
	bad *fuseBad
}

var (
	_ fs.NodeWrapChilder = (*fuseNode)(nil)
	_ fs.NodeOpener      = (*fuseNode)(nil)
	_ fs.NodeCreater     = (*fuseNode)(nil)
	_ fs.FileWriter      = (*fuseFile)(nil)
	_ fs.FileWritever    = (*fuseFile)(nil)
)

// WrapChild makes all nodes such ones.
func (n *fuseNode) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	if l, ok := ops.(*fs.LoopbackNode); ok {
		return &fuseNode{l, n.bad}
	}
	return ops
}

func (n *fuseNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	fh, fl, errno := n.LoopbackNode.Open(ctx, flags)
	return n.file(fh), fl | fuse.FOPEN_DIRECT_IO, errno
}

func (n *fuseNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	node, fh, fl, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return node, n.file(fh), fl | fuse.FOPEN_DIRECT_IO, errno
}

func (n *fuseNode) file(fh fs.FileHandle) fs.FileHandle {
	if f, ok := fh.(*fs.LoopbackFile); ok {
		return &fuseFile{f, n.bad}
	}
	return nil // not opened
}

// fuseFile is an open file. Its calls come here: the kernel gets no descriptor to pass them through.
type fuseFile struct {
	*fs.LoopbackFile
	bad *fuseBad
}

// PassthroughFd implements fs.FilePassthroughFder.
func (f *fuseFile) PassthroughFd() (int, bool) { return 0, false }

// Write takes the bytes up to the spot.
func (f *fuseFile) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if f.bad.armed.Load() && off < badSpot.end && off+int64(len(data)) > badSpot.off {
		if off >= badSpot.off {
			return 0, syscall.EIO
		}
		data = data[:badSpot.off-off]
	}
	return f.LoopbackFile.Write(ctx, data, off)
}

// Writev is Write: go-fuse may call either.
func (f *fuseFile) Writev(ctx context.Context, data [][]byte, off int64) (written uint32, errno syscall.Errno) {
	for _, p := range data {
		n, errno := f.Write(ctx, p, off+int64(written))
		written += n
		if errno != 0 && written == 0 {
			return 0, errno
		}
		if int(n) < len(p) {
			break
		}
	}
	return written, 0
}
