// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// trap is a file whose pages come when the test lets them.
type trap struct {
	fs.Inode
	asked atomic.Int32
	gate  chan struct{}
}

func (f *trap) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o666, ramSize
	return 0
}

func (f *trap) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) { return nil, 0, 0 }

func (f *trap) Read(_ context.Context, _ fs.FileHandle, dst []byte, _ int64) (fuse.ReadResult, syscall.Errno) {
	f.asked.Add(1)
	<-f.gate
	clear(dst)
	return fuse.ReadResultData(dst), 0
}

// mountTrap mounts a file system with a trap in it, as a VMM's process can in a user namespace.
func mountTrap(t *testing.T) (*trap, *os.File) {
	t.Helper()
	dir := t.TempDir()
	f := &trap{gate: make(chan struct{})}
	root := &fs.Inode{}
	server, err := fs.Mount(dir, root, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true},
		OnAdd: func(ctx context.Context) {
			root.AddChild("trap", root.NewPersistentInode(ctx, f, fs.StableAttr{Mode: syscall.S_IFREG}), false)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "trap"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(f.gate)
		file.Close()
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return f, file
}

// Guest memory, and a dirty log, in files of a file system that the VMM serves itself, and does not
// serve: a thread that touches them would wait for ever in the middle of Go code, and with it the
// garbage collector, which waits for all threads.
func TestTrappedMemory(t *testing.T) {
	f, file := mountTrap(t)
	assault(t, func(t *testing.T, d *daemon, sock string) {
		v := villainOn(t, sock)
		defer v.leave()
		v.say(frontend.SetProtocolFeatures, frontend.U64(frontend.PFLogShmFD|frontend.PFConfigureMemSlots))
		v.say(frontend.SetFeatures, frontend.U64(frontend.FeatureVersion1|frontend.FeatureProtocolFeatures|frontend.FeatureLogAll))
		v.say(frontend.AddMemReg, frontend.MemReg(v.region()), int(file.Fd()))
		v.say(frontend.SetMemTable, frontend.MemTable(v.region()), int(file.Fd()))
		for i := range uint32(rings) {
			v.startRing(i)
		}
		// What makes garbage: refused messages.
		for end := time.Now().Add(attackTime); time.Now().Before(end); {
			for range 100 {
				v.say(frontend.RemMemReg, frontend.MemReg(frontend.MemRegion{Size: 1}))
			}
		}
		v.say(frontend.SetLogBase, append(frontend.U64(4096), frontend.U64(0)...), int(file.Fd()))
	})
	if n := f.asked.Load(); n > 0 {
		t.Errorf("the daemon has touched pages that a VMM serves, %d times", n)
	}
}
