// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// gate holds calls back until want of them have come together. It opens after patience anyway, and says so.
type gate struct {
	mu      sync.Mutex
	want    int // 0: open
	waiting chan struct{}
	came    int
	late    bool
}

// arm closes the gate until n calls have come.
func (g *gate) arm(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.want, g.came, g.waiting = n, 0, make(chan struct{})
}

func (g *gate) pass() {
	g.mu.Lock()
	if g.want == 0 {
		g.mu.Unlock()
		return
	}
	waiting := g.waiting
	if g.came++; g.came == g.want {
		g.want = 0
		close(waiting)
	}
	g.mu.Unlock()
	select {
	case <-waiting:
	case <-time.After(patience):
		g.mu.Lock()
		g.late = true
		g.mu.Unlock()
	}
}

// failed tells whether calls have not come together.
func (g *gate) failed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.late
}

// slowNode is a file of a FUSE file system that answers nothing before the gate is open.
type slowNode struct {
	fs.Inode
	gate *gate
}

func (n *slowNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.gate.pass()
	out.Mode, out.Size, out.Nlink = 0o100644, 4096, 1
	return 0
}

func (n *slowNode) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	n.gate.pass()
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (n *slowNode) Read(_ context.Context, _ fs.FileHandle, dst []byte, _ int64) (fuse.ReadResult, syscall.Errno) {
	n.gate.pass()
	return fuse.ReadResultData(dst), 0
}

// mountSlow mounts such a file system with files f0, f1 ... until the test's end.
func mountSlow(t *testing.T, g *gate, files int) (dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	dir = filepath.Join(t.TempDir(), "slow")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	top := &fs.Inode{}
	server, err := fs.Mount(dir, top, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, DisableSplice: true},
		OnAdd: func(ctx context.Context) {
			for i := range files {
				n := top.NewPersistentInode(ctx, &slowNode{gate: g}, fs.StableAttr{Mode: syscall.S_IFREG})
				top.AddChild(fmt.Sprint("f", i), n, false)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// TestSlowDirectory: requests to a host directory behind a server are waited for together, not one after the other.
func TestSlowDirectory(t *testing.T) {
	const inFlight = 32
	hold := &gate{}
	checkLeaks(t)
	share := shareFS(t, hostfs.Config{Root: mountSlow(t, hold, inFlight)})
	t.Cleanup(func() {
		if err := share.Close(); err != nil {
			t.Errorf("close of the file system: %v", err)
		}
	})
	g := attach(t, share, frontend.Options{})
	nodes, handles := make([]uint64, inFlight), make([]uint64, inFlight)
	for i := range nodes {
		nodes[i] = g.lookup(root, fmt.Sprint("f", i))
		out, errno := g.Open(nodes[i], syscall.O_RDONLY)
		ok(t, "OPEN", errno)
		handles[i] = out.Fh
	}
	for _, c := range []struct {
		name string
		make func(i int) frontend.Message
	}{
		{"GETATTR", func(int) frontend.Message {
			return frontend.Message{Op: frontend.OpGetattr, Args: make([]byte, 16), Out: 104}
		}},
		{"READ", func(i int) frontend.Message {
			args := make([]byte, 40) // struct fuse_read_in: fh, offset, size
			binary.NativeEndian.PutUint64(args, handles[i])
			binary.NativeEndian.PutUint32(args[16:], 4096)
			return frontend.Message{Op: frontend.OpRead, Args: args, Out: 4096}
		}},
	} {
		hold.arm(inFlight)
		var sent []*frontend.Pending
		for i, n := range nodes {
			m := c.make(i)
			m.Node = n
			sent = append(sent, g.Send(m))
		}
		for i, p := range sent {
			if _, err := p.WaitFor(2 * patience); err != nil {
				t.Fatal(err)
			}
			if _, errno, err := p.Reply(); err != nil || errno != 0 {
				t.Errorf("%s %d: %v, %v", c.name, i, errno, err)
			}
			p.Free()
		}
		if hold.failed() {
			t.Fatalf("%s: %d requests in flight did not reach the host together", c.name, inFlight)
		}
	}
	for i, n := range nodes {
		ok(t, "RELEASE", g.Release(n, handles[i], 0))
	}
}
