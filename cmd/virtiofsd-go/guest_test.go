// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// root is the node of the shared directory.
const root = frontend.RootID

// guest is a VM on a daemon that was started with some options.
type guest struct {
	*frontend.Driver
	daemon *proc
	vm     *frontend.VM
	dir    string // the shared directory
}

// boot starts a daemon with the options and a guest on it, up to FUSE_INIT.
func boot(t *testing.T, o frontend.Options, more ...string) (*guest, fuse.InitOut) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "fs.sock")
	g := &guest{dir: t.TempDir()}
	g.daemon = start(t, nil, append([]string{"--shared-dir", g.dir, "--socket-path", socket}, more...)...)
	g.daemon.waitFor(readyLine)
	o.Fail = func(err error) { t.Helper(); t.Fatal(err) }
	var err error
	if g.vm, err = frontend.Connect(socket, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.vm.Close)
	g.Driver = g.vm.Start()
	return g, g.MustInit()
}

// create makes a file in the guest.
func (g *guest) create(t *testing.T, name string, mode uint32) fuse.CreateOut {
	t.Helper()
	out, errno := g.Create(root, name, syscall.O_RDWR, mode, 0)
	if errno != 0 {
		t.Fatalf("CREATE: %v", errno)
	}
	return out
}

func TestFilesGoBothWays(t *testing.T) {
	g, _ := boot(t, frontend.Options{})
	f := g.create(t, "from-guest", 0o666)
	if n, errno := g.Write(f.NodeId, f.Fh, 0, []byte("hello host")); n != 10 || errno != 0 {
		t.Fatalf("WRITE: %d, %v", n, errno)
	}
	if b, err := os.ReadFile(filepath.Join(g.dir, "from-guest")); string(b) != "hello host" || err != nil {
		t.Errorf("the host reads %q, %v", b, err)
	}
	// The guest's kernel has applied the guest's umask: the daemon's own must not count.
	if st, err := os.Stat(filepath.Join(g.dir, "from-guest")); err != nil || st.Mode() != 0o666 {
		t.Errorf("mode %v, %v; want rw-rw-rw-", st.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, "from-host"), []byte("hello guest"), 0o600); err != nil {
		t.Fatal(err)
	}
	e, errno := g.Lookup(root, "from-host")
	if errno != 0 {
		t.Fatalf("LOOKUP: %v", errno)
	}
	o, errno := g.Open(e.NodeId, syscall.O_RDONLY)
	if errno != 0 {
		t.Fatalf("OPEN: %v", errno)
	}
	b := make([]byte, 100)
	if n, errno := g.Read(e.NodeId, o.Fh, 0, b); errno != 0 || string(b[:n]) != "hello guest" {
		t.Errorf("the guest reads %q, %v", b[:n], errno)
	}
	g.vm.Close()
	g.daemon.wait(0)
}

// A share can be a single file: the guest's root is that file, and nothing beside it is within reach.
func TestShareOfOneFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	if err := errors.Join(os.WriteFile(path, []byte("hello guest"), 0o644), os.WriteFile(filepath.Join(dir, "beside"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	g, _ := boot(t, frontend.Options{}, "--shared-dir", path)
	a, errno := g.GetAttr(root)
	if errno != 0 || a.Mode != syscall.S_IFREG|0o644 || a.Size != 11 {
		t.Fatalf("GETATTR of the root: mode %o, size %d, %v", a.Mode, a.Size, errno)
	}
	o, errno := g.Open(root, syscall.O_RDWR)
	if errno != 0 {
		t.Fatalf("OPEN: %v", errno)
	}
	if n, errno := g.Write(root, o.Fh, 6, []byte("host!")); n != 5 || errno != 0 {
		t.Errorf("WRITE: %d, %v", n, errno)
	}
	b := make([]byte, 100)
	if n, errno := g.Read(root, o.Fh, 0, b); errno != 0 || string(b[:n]) != "hello host!" {
		t.Errorf("READ: %q, %v", b[:n], errno)
	}
	if b, err := os.ReadFile(path); string(b) != "hello host!" || err != nil {
		t.Errorf("the host reads %q, %v", b, err)
	}
	for _, name := range []string{"beside", "image"} {
		if _, errno := g.Lookup(root, name); errno != syscall.ENOTDIR {
			t.Errorf("LOOKUP of %s: %v, want ENOTDIR", name, errno)
		}
	}
	g.vm.Close()
	g.daemon.wait(0)
}

// A signal while a guest works: the daemon stops cleanly under load.
func TestSignalWithRequestsInFlight(t *testing.T) {
	g, _ := boot(t, frontend.Options{})
	f := g.create(t, "f", 0o600)
	for range 20 {
		g.Send(frontend.WriteMessage(f.NodeId, f.Fh, 0, make([]byte, 64<<10)))
		g.Send(frontend.Message{Op: frontend.OpFsync, Node: f.NodeId, Args: frontend.Wire(&struct {
			Fh    uint64
			Flags uint32
			_     uint32
		}{Fh: f.Fh})})
	}
	g.daemon.signal(unix.SIGTERM)
	g.daemon.wait(0)
	if strings.Contains(g.daemon.output(), "ERROR") {
		t.Errorf("errors are logged:\n%s", g.daemon.output())
	}
}

// A VM that dies with requests in flight ends the daemon cleanly, too.
func TestVMDiesWithRequestsInFlight(t *testing.T) {
	g, _ := boot(t, frontend.Options{})
	f := g.create(t, "f", 0o600)
	for range 20 {
		g.Send(frontend.WriteMessage(f.NodeId, f.Fh, 0, make([]byte, 64<<10)))
	}
	g.vm.Close()
	g.daemon.wait(0)
}

func TestOptionReadonly(t *testing.T) {
	g, _ := boot(t, frontend.Options{}, "--readonly")
	if _, errno := g.Mkdir(root, "d", 0o755, 0); errno != syscall.EROFS {
		t.Errorf("MKDIR: %v, want EROFS", errno)
	}
}

func TestOptionXAttr(t *testing.T) {
	for _, on := range []bool{false, true} {
		g, _ := boot(t, frontend.Options{}, "--xattr="+map[bool]string{false: "false", true: "true"}[on])
		want := map[bool]syscall.Errno{false: syscall.ENOSYS, true: 0}[on]
		f := g.create(t, "f", 0o600)
		if errno := g.SetXAttr(f.NodeId, "user.test", []byte("v"), 0); errno != want {
			t.Errorf("--xattr=%v: SETXATTR: %v, want %v", on, errno, want)
		}
	}
}

// The policies differ in the time that a name may be trusted and the flags of OPEN.
func TestOptionCache(t *testing.T) {
	for policy, want := range map[string]struct{ seconds, flags uint64 }{
		"never":    {0, fuse.FOPEN_DIRECT_IO},
		"metadata": {86400, fuse.FOPEN_DIRECT_IO},
		"auto":     {1, 0},
		"always":   {86400, fuse.FOPEN_KEEP_CACHE},
	} {
		g, _ := boot(t, frontend.Options{}, "--cache", policy)
		if err := os.WriteFile(filepath.Join(g.dir, "f"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		e, errno := g.Lookup(root, "f")
		if errno != 0 {
			t.Fatalf("LOOKUP: %v", errno)
		}
		o, errno := g.Open(e.NodeId, syscall.O_RDONLY)
		if errno != 0 {
			t.Fatalf("OPEN: %v", errno)
		}
		if e.EntryValid != want.seconds || uint64(o.OpenFlags)&(fuse.FOPEN_DIRECT_IO|fuse.FOPEN_KEEP_CACHE) != want.flags {
			t.Errorf("--cache=%s: valid for %d s, open flags %#x; want %d, %#x", policy, e.EntryValid, o.OpenFlags, want.seconds, want.flags)
		}
	}
}

// A VMM without settings of its own reads tag and number of queues from the daemon.
func TestOptionTagAndQueues(t *testing.T) {
	g, _ := boot(t, frontend.Options{VMM: frontend.UML61}, "--tag", "my share", "--num-request-queues", "3")
	c := g.vm.Config()
	if len(c) != 40 || strings.TrimRight(string(c[:36]), "\x00") != "my share" || binary.LittleEndian.Uint32(c[36:]) != 3 {
		t.Errorf("configuration space %q, want the tag and 3", c)
	}
}

// QEMU's own number of queues counts, whatever the daemon says.
func TestQueuesOfTheVMM(t *testing.T) {
	g, _ := boot(t, frontend.Options{Queues: 64, RingSize: 16})
	for _, q := range []int{0, 1, 63} {
		if _, errno := g.On(q).GetAttr(root); errno != 0 {
			t.Errorf("GETATTR on request queue %d: %v", q, errno)
		}
	}
}

// At trace level the log has the VMM's messages.
func TestOptionLogLevel(t *testing.T) {
	for level, want := range map[string]bool{"trace": true, "debug": false} {
		g, _ := boot(t, frontend.Options{}, "--log-level", level)
		g.vm.Close()
		g.daemon.wait(0)
		if got := strings.Contains(g.daemon.output(), "TRACE virtiofsd_go::vhostuser] > SET_OWNER"); got != want {
			t.Errorf("--log-level=%s: messages are logged: %v, want %v:\n%s", level, got, want, g.daemon.output())
		}
	}
}
