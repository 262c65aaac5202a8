// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/landlock"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// TestLandlock: without another sandbox the daemon keeps to its share by Landlock. In the share a guest can
// do what it always could, with many more files than are kept open; a directory that the host has moved
// out of it cannot be read any more.
func TestLandlock(t *testing.T) {
	const files = 600 // more than are kept open
	g, _ := boot(t, frontend.Options{}, "--sandbox=none", "--xattr", "--rlimit-nofile=1400")
	ok := func(what string, errno syscall.Errno) {
		t.Helper()
		if errno != 0 {
			t.Fatalf("%s: %v", what, errno)
		}
	}
	mkdir := func(name string) uint64 {
		d, errno := g.Mkdir(root, name, 0o755, 0)
		ok("MKDIR", errno)
		return d.NodeId
	}
	a, b := mkdir("a"), mkdir("b")
	var nodes []uint64
	for i := range files {
		name := fmt.Sprint("f", i)
		f, errno := g.Create(a, name, unix.O_RDWR, 0o644, 0)
		ok("CREATE", errno)
		_, errno = g.Write(f.NodeId, f.Fh, 0, []byte(name))
		ok("WRITE", errno)
		ok("RELEASE", g.Release(f.NodeId, f.Fh, 0))
		nodes = append(nodes, f.NodeId)
	}
	ok("RENAME between directories", g.Rename(a, "f0", b, "f0"))
	_, errno := g.Link(nodes[1], b, "link")
	ok("LINK between directories", errno)
	_, errno = g.SetAttr(nodes[2], fuse.SetAttrInCommon{Valid: fuse.FATTR_SIZE, Size: 1})
	ok("truncate", errno)
	ok("SETXATTR", g.SetXAttr(nodes[3], "user.x", []byte("y"), 0))
	tmp, errno := g.Tmpfile(a, unix.O_RDWR|unix.O_TMPFILE, 0o600, 0)
	ok("TMPFILE", errno)
	_, errno = g.Link(tmp.NodeId, b, "tmp")
	ok("LINK of a file without a name", errno)
	read := func(node uint64) (string, syscall.Errno) {
		o, errno := g.Open(node, unix.O_RDONLY)
		if errno != 0 {
			return "", errno
		}
		defer g.Release(node, o.Fh, 0)
		buf := make([]byte, 16)
		n, errno := g.Read(node, o.Fh, 0, buf)
		return string(buf[:n]), errno
	}
	for i, node := range nodes {
		want := fmt.Sprint("f", i)
		if i == 2 {
			want = "f"
		}
		if got, errno := read(node); errno != 0 || got != want {
			t.Fatalf("file %d: %q, %v", i, got, errno)
		}
	}
	ok("UNLINK", g.Unlink(b, "link"))

	if err := os.Rename(filepath.Join(g.dir, "b"), filepath.Join(t.TempDir(), "b")); err != nil {
		t.Fatal(err)
	}
	want := unix.EACCES
	if landlock.ABI() == 0 {
		want = 0
	}
	if _, errno := read(nodes[0]); errno != want {
		t.Errorf("a file in a directory that the host has moved away: %v, want %v", errno, want)
	}
	if got, errno := read(nodes[4]); errno != 0 || got != "f4" {
		t.Errorf("a file that stays: %q, %v", got, errno)
	}
}

// TestLandlockIsTold: the log says what the kernel enforces.
func TestLandlockIsTold(t *testing.T) {
	abi := landlock.ABI()
	line := fmt.Sprintf("Landlock keeps the daemon in its shares version=%d", abi)
	if abi == 0 {
		line = "The kernel has no Landlock"
	}
	p, _ := startReady(t, "--log-level=debug")
	if !strings.Contains(p.output(), line) {
		t.Errorf("no line %q in\n%s", line, p.output())
	}
}

// TestLandlockOrHandles: file handles that must be had are had, and the daemon says what that costs.
func TestLandlockOrHandles(t *testing.T) {
	dir := t.TempDir()
	fh, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir, 0)
	if err == nil {
		var fd int
		if fd, err = unix.OpenByHandleAt(unix.AT_FDCWD, fh, unix.O_PATH); err == nil {
			unix.Close(fd)
		}
	}
	p := start(t, nil, "--shared-dir", dir, "--socket-path", filepath.Join(t.TempDir(), "s"), "--sandbox=none", "--inode-file-handles=mandatory")
	if err != nil { // no handles here at all
		p.wait(1)
		return
	}
	p.waitFor(readyLine)
	if line := "Landlock, which would keep the daemon in its shares, does not go with --inode-file-handles mandatory"; landlock.ABI() != 0 && !strings.Contains(p.output(), line) {
		t.Errorf("no line %q in\n%s", line, p.output())
	}
}
