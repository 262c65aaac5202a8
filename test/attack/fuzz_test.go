// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	virtiofs "github.com/virtiofsd-go/virtiofsd-go"
	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/locks"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// patience is how long a test waits for what has to happen; it passes only in failures.
const patience = 20 * time.Second

// host is what the shares of a fuzzing process have in common, as in a daemon, and another guest.
type host struct {
	pages *cache.Cache
	locks *locks.Space
	other *frontend.VM
	guest *frontend.Driver
	t     testing.TB // of the input at hand
}

// newHost lives as long as the process.
func newHost(f testing.TB) *host {
	f.Helper()
	unix.Umask(0)
	limitFileSize(f)
	h := &host{locks: locks.NewSpace(), t: f}
	var err error
	if h.pages, err = cache.New(cache.Options{Size: 4 << 20}); err != nil {
		f.Fatal(err)
	}
	fd, _ := h.serve(h.share(f.TempDir()))
	h.other, err = frontend.New(fd, frontend.Options{
		Memory: []frontend.MemSpec{{Size: 4 << 20}}, Timeout: patience,
		Fail: func(err error) { h.t.Fatalf("the other guest: %v", err) },
	})
	if err != nil {
		f.Fatal(err)
	}
	h.guest = h.other.Start()
	h.guest.MustInit()
	return h
}

// limitFileSize keeps FALLOCATE from filling the disk.
func limitFileSize(f testing.TB) {
	f.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		f.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 128 << 20, Max: old.Max}); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_FSIZE, &old) })
}

// share makes a file system of a directory, with everything switched on that a user can.
func (h *host) share(dir string) *hostfs.FS {
	h.t.Helper()
	fs, err := hostfs.New(hostfs.Config{
		Root: dir, XAttr: true, ACL: hostfs.NegotiateAuto, SecurityLabel: hostfs.NegotiateAuto, PosixLocks: true, Flock: true,
		Writeback: true, KillPrivV2: true, AllowDirectIO: true, Pages: h.pages, Locks: h.locks,
		FDBudget: 16, MaxHandles: 64, MaxInodes: 1 << 10, MaxLocks: 64,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return fs
}

// serve starts a daemon's connection; done gets the end of everything.
func (h *host) serve(fs *hostfs.FS) (fd int, done chan error) {
	h.t.Helper()
	fd, conn, err := frontend.Pair()
	if err != nil {
		h.t.Fatal(err)
	}
	done = make(chan error, 1)
	go func() {
		virtiofs.ServeConn(context.Background(), conn, fs, virtiofs.Options{Tag: "attack"})
		done <- fs.Close()
	}()
	return fd, done
}

// FuzzDaemon plays a byte string as a hostile VMM and guest against all that a daemon has below its
// command line: messages, rings, guest memory and FUSE requests on a host directory. Whatever they
// do, their connection ends when they leave, nothing of it is left, nothing outside the share has
// changed, and another guest is served.
func FuzzDaemon(f *testing.F) {
	h := newHost(f)
	for _, seed := range programSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, code []byte) {
		if len(code) > 4096 {
			return
		}
		h.t = t
		scene := newScene(t)
		left := takeStock(t)
		fd, done := h.serve(h.share(scene.share))
		v := newVillain(t, fd)
		v.run(code)
		v.leave()
		h.ended(done)
		left.check(t)
		scene.check(t)
		if _, errno := h.guest.GetAttr(frontend.RootID); errno != 0 {
			t.Fatalf("the other guest's GETATTR: %v", errno)
		}
	})
}

func (h *host) ended(done chan error) {
	h.t.Helper()
	select {
	case err := <-done:
		if err != nil {
			h.t.Fatalf("the file system closes with: %v", err)
		}
	case <-time.After(patience):
		b := make([]byte, 1<<20)
		h.t.Fatalf("the daemon does not end the connection\n%s", b[:runtime.Stack(b, true)])
	}
}

// FuzzSocket sends any bytes, with any fds, to a daemon that listens on a socket as it does for VMMs.
// The daemon goes on to serve the next one.
func FuzzSocket(f *testing.F) {
	h := newHost(f)
	path := filepath.Join(f.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		f.Fatal(err)
	}
	go virtiofs.Serve(context.Background(), l, h.share(f.TempDir()), virtiofs.Options{Tag: "attack"})
	for _, seed := range recordings(f, h) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 16<<10 {
			return
		}
		h.t = t
		left := takeStock(t)
		fd := dial(t, path)
		v := newVillain(t, fd)
		v.sendPieces(input)
		v.leave()
		c, err := frontend.Dial(path, patience)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Alive(); err != nil {
			t.Fatalf("the next VMM gets no answer: %v", err)
		}
		c.Close()
		left.check(t)
		if _, errno := h.guest.GetAttr(frontend.RootID); errno != 0 {
			t.Fatalf("the other guest's GETATTR: %v", errno)
		}
	})
}

func dial(t testing.TB, path string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// scene is a share, and beside it what nobody may touch.
type scene struct{ dir, share string }

const secret = "outside the share"

func newScene(t testing.TB) scene {
	t.Helper()
	dir := t.TempDir()
	s := scene{dir, filepath.Join(dir, "share")}
	for _, err := range []error{
		os.WriteFile(dir+"/outside", []byte(secret), 0o600),
		os.Mkdir(s.share, 0o777), os.Mkdir(s.share+"/d", 0o777),
		os.WriteFile(s.share+"/f", bytes.Repeat([]byte("data"), 3000), 0o666),
		os.WriteFile(s.share+"/d/x", nil, 0o666),
		os.Symlink("../outside", s.share+"/link"), os.Symlink(dir+"/outside", s.share+"/abs"),
		unix.Mkfifo(s.share+"/fifo", 0o666),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s scene) check(t testing.TB) {
	t.Helper()
	if b, err := os.ReadFile(s.dir + "/outside"); err != nil || string(b) != secret {
		t.Fatalf("the file outside has %q, %v", b, err)
	}
	es, err := os.ReadDir(s.dir)
	if err != nil || len(es) != 2 {
		t.Fatalf("outside the share there are %v, %v", es, err)
	}
}

// stock is what a process has.
type stock struct{ goroutines, fds int }

func takeStock(t testing.TB) stock {
	t.Helper()
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return stock{runtime.NumGoroutine(), len(es)}
}

// check waits until no more is there than before: what was told to end may be on its way.
func (before stock) check(t testing.TB) {
	t.Helper()
	var now stock
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if now = takeStock(t); now.goroutines <= before.goroutines && now.fds <= before.fds {
			return
		}
	}
	b := make([]byte, 1<<20)
	t.Fatalf("left behind: before %+v, now %+v\n%s", before, now, b[:runtime.Stack(b, true)])
}
