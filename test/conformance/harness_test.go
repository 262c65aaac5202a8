// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	virtiofs "github.com/virtiofsd-go/virtiofsd-go"
	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

const root = frontend.RootID

// patience is how long a test waits for what has to happen; it passes only in failures.
const patience = 20 * time.Second

// TestMain makes the runtime open what it keeps open (its poller), so that the leak checks
// start from there.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		defer r.Close()
		defer w.Close()
		r.SetReadDeadline(time.Now().Add(time.Hour))
		unix.Umask(0) // as the daemon does; the mode that a guest sends is masked already
		return m.Run()
	}())
}

// shareFS is the host directory as the daemon serves it.
func shareFS(t testing.TB, c hostfs.Config) *hostfs.FS {
	t.Helper()
	pages, err := cache.New(cache.Options{Size: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after that of the caller, who closes the file system
		if err := pages.Close(); err != nil {
			t.Errorf("close of the page cache: %v", err)
		}
	})
	c.Pages = pages
	fs, err := hostfs.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// guest is a VM with a driver on a daemon of its own.
type guest struct {
	*frontend.Driver
	t    testing.TB
	vm   *frontend.VM
	dir  string // the share on the host; empty if it is another file system
	done chan error
}

// newGuest boots a guest on an empty shared directory with all operations allowed.
func newGuest(t testing.TB, o frontend.Options) *guest {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "share")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return newGuestOn(t, dir, o)
}

// newGuestOn boots a guest on a host directory.
func newGuestOn(t testing.TB, dir string, o frontend.Options) *guest {
	t.Helper()
	checkLeaks(t)
	fs := shareFS(t, hostfs.Config{Root: dir, XAttr: true})
	t.Cleanup(func() {
		if err := fs.Close(); err != nil {
			t.Errorf("close of the file system: %v", err)
		}
	})
	g := attach(t, fs, o)
	g.dir = dir
	return g
}

// attach boots a guest on any file system. The guest is powered off at the test's end.
func attach(t testing.TB, fs fuse.RawFileSystem, o frontend.Options) *guest {
	t.Helper()
	g := plug(t, fs, o)
	t.Cleanup(g.powerOff)
	g.boot()
	return g
}

// plug connects a VM whose driver has not started yet.
func plug(t testing.TB, fs fuse.RawFileSystem, o frontend.Options) *guest {
	t.Helper()
	fd, done := serve(t, fs)
	g := &guest{t: t, done: done}
	o.Fail = func(err error) { g.t.Helper(); g.t.Fatal(err) }
	vm, err := frontend.New(fd, o)
	if err != nil {
		t.Fatal(err)
	}
	g.vm = vm
	return g
}

// serve starts a daemon for one connection and returns the VMM's end, which the caller owns.
// What ServeConn returns comes out of the channel.
func serve(t testing.TB, fs fuse.RawFileSystem) (fd int, done chan error) {
	t.Helper()
	fd, conn, err := frontend.Pair()
	if err != nil {
		t.Fatal(err)
	}
	done = make(chan error, 1)
	go func() {
		done <- virtiofs.ServeConn(context.Background(), conn, fs, virtiofs.Options{Tag: "conformance", Queues: 4})
	}()
	return fd, done
}

// boot starts the driver and mounts.
func (g *guest) boot() {
	g.t.Helper()
	g.Driver = g.vm.Start()
	g.MustInit()
}

// powerOff ends the VM and waits for the daemon to end the connection.
func (g *guest) powerOff() {
	g.t.Helper()
	if g.vm == nil {
		return
	}
	g.vm.Close()
	g.vm = nil
	if err := g.ended(); err != nil {
		g.t.Errorf("the daemon ended the connection with: %v", err)
	}
}

// ended waits for ServeConn to return and is what it returned.
func (g *guest) ended() error {
	g.t.Helper()
	select {
	case err := <-g.done:
		return err
	case <-time.After(patience):
		g.t.Fatalf("the daemon did not end the connection\n%s", stacks())
		return nil
	}
}

// path is a host path in the share.
func (g *guest) path(elem ...string) string {
	return filepath.Join(append([]string{g.dir}, elem...)...)
}

// alive checks that the guest is served: the node that names what was there from the start.
func (g *guest) alive() {
	g.t.Helper()
	if _, errno := g.GetAttr(root); errno != 0 {
		g.t.Fatalf("GETATTR of the root: %v", errno)
	}
	if _, errno := g.Lookup(root, "nothing has this name"); errno != syscall.ENOENT {
		g.t.Fatalf("LOOKUP of a missing name: %v, want ENOENT", errno)
	}
}

// ok fails the test when an operation of the guest failed.
func ok(t testing.TB, what string, errno syscall.Errno) {
	t.Helper()
	if errno != 0 {
		t.Fatalf("%s: %v", what, errno)
	}
}

// want checks an errno.
func want(t testing.TB, what string, got, wanted syscall.Errno) {
	t.Helper()
	if got != wanted {
		t.Errorf("%s: got %v (%d), want %v (%d)", what, got, got, wanted, wanted)
	}
}

// checkLeaks compares the process's fds and goroutines at the end of the test, after all other
// cleanups, with those of now.
func checkLeaks(t testing.TB) {
	t.Helper()
	fds, n := openFDs(t), runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(patience)
		for {
			var leaked []string
			for fd, what := range openFDs(t) {
				if fds[fd] != what {
					leaked = append(leaked, fmt.Sprintf("fd %d: %s", fd, what))
				}
			}
			more := runtime.NumGoroutine() - n
			if len(leaked) == 0 && more <= 0 {
				return
			}
			// Goroutines that have been told to end may still be on their way.
			if time.Now().After(deadline) {
				t.Errorf("left behind: %d goroutines, %d fds: %s\n%s", more, len(leaked), strings.Join(leaked, ", "), stacks())
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// openFDs are the process's fds and what they are.
func openFDs(t testing.TB) map[int]string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	fds := map[int]string{}
	for _, e := range entries {
		what, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasSuffix(what, "/fd") {
			continue // the directory that is being read
		}
		var fd int
		fmt.Sscan(e.Name(), &fd)
		fds[fd] = what
	}
	return fds
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// listen is a daemon on a socket path, as for a real VMM; it serves until the test ends.
func listen(t testing.TB, fs fuse.RawFileSystem) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- virtiofs.Serve(ctx, l, fs, virtiofs.Options{Tag: "conformance"}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return path
}

// write makes a host file.
func write(t testing.TB, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// read is a host file's content.
func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// lookup is a LOOKUP that has to succeed.
func (g *guest) lookup(parent uint64, name string) uint64 {
	g.t.Helper()
	e, errno := g.Lookup(parent, name)
	ok(g.t, "LOOKUP "+name, errno)
	return e.NodeId
}

// create is a CREATE that has to succeed, open for reading and writing.
func (g *guest) create(name string) (node, fh uint64) {
	g.t.Helper()
	out, errno := g.Create(root, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o644, 0o022)
	ok(g.t, "CREATE "+name, errno)
	return out.NodeId, out.Fh
}
