// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	virtiofs "github.com/virtiofsd-go/virtiofsd-go"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// greeting is a file system of one file, the smallest that go-fuse's fs package knows.
type greeting struct{ fs.Inode }

func (g *greeting) OnAdd(ctx context.Context) {
	g.AddChild("hello", g.NewPersistentInode(ctx, &fs.MemRegularFile{Data: []byte("hello, guest\n")}, fs.StableAttr{}), true)
}

// A file system written against go-fuse is served to a VM.
func Example() {
	dir, _ := os.MkdirTemp("", "virtiofs")
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "vm.sock")

	// The file system's side: all that it takes.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, powerOff := context.WithCancel(context.Background())
	defer powerOff()
	served := make(chan error)
	go func() {
		served <- virtiofs.Serve(ctx, l, fs.NewNodeFS(&greeting{}, &fs.Options{}), virtiofs.Options{Tag: "greeting"})
	}()

	// The VM's side: what QEMU and a Linux guest do, in short.
	vm, err := frontend.Connect(socket, frontend.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	guest := vm.Start()
	guest.MustInit()
	file, _ := guest.Lookup(frontend.RootID, "hello")
	open, _ := guest.Open(file.NodeId, 0)
	buf := make([]byte, 100)
	n, _ := guest.Read(file.NodeId, open.Fh, 0, buf)
	fmt.Print(string(buf[:n]))

	vm.Close()
	powerOff()
	if err := <-served; err != nil {
		fmt.Println(err)
	}
	// Output: hello, guest
}

// memTree is a tree in memory made of go-fuse's nodes: directories that can be added to, and
// files that can be written.
type memTree struct{ fs.Inode }

var (
	_ fs.NodeMkdirer  = (*memTree)(nil)
	_ fs.NodeCreater  = (*memTree)(nil)
	_ fs.NodeUnlinker = (*memTree)(nil)
)

func (d *memTree) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return d.NewPersistentInode(ctx, &memTree{}, fs.StableAttr{Mode: unix.S_IFDIR}), 0
}

func (d *memTree) Unlink(ctx context.Context, name string) syscall.Errno { return 0 }

func (d *memTree) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	f := &memFile{}
	return d.NewPersistentInode(ctx, f, fs.StableAttr{Mode: unix.S_IFREG}), nil, 0, 0
}

type memFile struct {
	fs.Inode
	mu   sync.Mutex
	data []byte
}

var (
	_ fs.NodeOpener    = (*memFile)(nil)
	_ fs.NodeReader    = (*memFile)(nil)
	_ fs.NodeWriter    = (*memFile)(nil)
	_ fs.NodeGetattrer = (*memFile)(nil)
)

func (f *memFile) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

func (f *memFile) Getattr(ctx context.Context, fh fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	out.Mode, out.Size = 0o644, uint64(len(f.data))
	return 0
}

func (f *memFile) Read(ctx context.Context, fh fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off >= int64(len(f.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, f.data[off:])]), 0
}

func (f *memFile) Write(ctx context.Context, fh fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = append(f.data, make([]byte, max(0, int(off)+len(data)-len(f.data)))...)
	return uint32(copy(f.data[off:], data)), 0
}

// A tree of go-fuse's fs package behaves as a file system in the guest's hands, name by name,
// and any well-formed or malformed request leaves it standing.
func TestAnyFileSystem(t *testing.T) {
	checkLeaks(t)
	g := attach(t, fs.NewNodeFS(&memTree{}, &fs.Options{}), frontend.Options{Queues: 2})
	d, errno := g.Mkdir(root, "dir", 0o755, 0)
	ok(t, "MKDIR", errno)
	f, errno := g.Create(d.NodeId, "file", unix.O_RDWR, 0o644, 0)
	ok(t, "CREATE", errno)
	data := pattern(20_000, 2)
	for off := 0; off < len(data); off += 7000 {
		part := data[off:min(off+7000, len(data))]
		n, errno := g.Write(f.NodeId, f.Fh, uint64(off), part)
		ok(t, "WRITE", errno)
		if n != len(part) {
			t.Fatalf("WRITE of %d bytes wrote %d", len(part), n)
		}
	}
	got := make([]byte, 30_000)
	n, errno := g.Read(f.NodeId, f.Fh, 0, got)
	ok(t, "READ", errno)
	if string(got[:n]) != string(data) {
		t.Errorf("READ: %d bytes that differ, want %d", n, len(data))
	}
	dir, errno := g.OpenDir(root)
	ok(t, "OPENDIR", errno)
	es, errno := g.ReadDir(root, dir.Fh, 0, frontend.PageSize)
	ok(t, "READDIR", errno)
	var names []string
	for _, e := range es {
		names = append(names, e.Name)
	}
	if !strings.Contains(strings.Join(names, " "), "dir") {
		t.Errorf("READDIR: %q", names)
	}
	for what, m := range samples(f.NodeId, f.Fh) {
		for _, frame := range [][]byte{g.Frame(m), g.Frame(m)[:45]} {
			g.raw(frame)
			if _, errno := g.GetAttr(root); errno != 0 {
				t.Fatalf("GETATTR after %s: %v", what, errno)
			}
		}
	}
	for _, bad := range outlaws {
		for op, errno := range outlawOps(g, root, f.NodeId, bad) {
			if errno == 0 {
				t.Errorf("%s of %q was carried out", op, bad)
			}
		}
	}
}

// Serve takes one VMM after the other, survives those that misbehave, and ends with its context.
func TestServe(t *testing.T) {
	checkLeaks(t)
	dir := filepath.Join(t.TempDir(), "share")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	share := shareFS(t, hostfs.Config{Root: dir})
	t.Cleanup(func() { share.Close() })
	path := listen(t, share)
	for i := range 3 {
		c, err := frontend.Dial(path, patience)
		if err != nil {
			t.Fatal(err)
		}
		c.SendBytes([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		if err := c.WaitClosed(); err != nil {
			t.Errorf("a client that speaks HTTP: %v", err)
		}
		c.Close()
		vm, err := frontend.Connect(path, frontend.Options{Fail: func(err error) { t.Fatal(err) }})
		if err != nil {
			t.Fatal(err)
		}
		g := vm.Start()
		g.MustInit()
		_, errno := g.Mkdir(root, fmt.Sprint("d", i), 0o755, 0)
		ok(t, "MKDIR", errno)
		vm.Close()
	}
}

// The context's end ends a connection also while requests wait in the file system.
func TestServeConnEndsWithContext(t *testing.T) {
	checkLeaks(t)
	slow := newSlowFS()
	fd, conn, err := frontend.Pair()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- virtiofs.ServeConn(ctx, conn, slow, virtiofs.Options{}) }()
	vm, err := frontend.New(fd, frontend.Options{Fail: func(err error) { t.Fatal(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	g := vm.Start()
	g.MustInit()
	pending := fsyncs(g.Client, 3)
	slow.waitEntered(t, 3)
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("ServeConn: %v", err)
		}
	case <-time.After(patience):
		t.Fatalf("ServeConn goes on\n%s", stacks())
	}
	for _, p := range pending {
		_, errno, err := p.Reply()
		if err == nil && errno != syscall.EINTR || err != nil && !errors.Is(err, frontend.ErrClosed) {
			t.Errorf("a request that was cancelled: %v, %v", errno, err)
		}
	}
}
