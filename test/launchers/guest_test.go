// SPDX-License-Identifier: Apache-2.0

package launchers

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// guest is a VM that has mounted the share.
type guest struct {
	*frontend.Driver
	t   *testing.T
	run *run
	vm  *frontend.VM
}

// path is a file of the share on the host.
func (g *guest) path(name string) string { return filepath.Join(g.run.dir, name) }

func (g *guest) lookup(name string) uint64 {
	g.t.Helper()
	e, errno := g.Lookup(frontend.RootID, name)
	if errno != 0 {
		g.t.Fatalf("LOOKUP %s: %v", name, errno)
	}
	return e.NodeId
}

// use reads the file that is there, and writes one that the host then has, or may not.
func (g *guest) use(readonly bool) {
	g.t.Helper()
	node := g.lookup(greeting)
	o, errno := g.Open(node, unix.O_RDONLY)
	if errno != 0 {
		g.t.Fatalf("OPEN: %v", errno)
	}
	b := make([]byte, 100)
	if n, errno := g.Read(node, o.Fh, 0, b); errno != 0 || string(b[:n]) != content {
		g.t.Fatalf("READ: %q, %v; want %q", b[:n], errno, content)
	}
	g.Release(node, o.Fh, unix.O_RDONLY)

	const text = "hello from the guest\n"
	f, errno := g.Create(frontend.RootID, "answer", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o644, 0o022)
	if readonly {
		if errno != syscall.EROFS {
			g.t.Errorf("CREATE: %v, want EROFS", errno)
		}
		return
	}
	if errno != 0 {
		g.t.Fatalf("CREATE: %v", errno)
	}
	if n, errno := g.Write(f.NodeId, f.Fh, 0, []byte(text)); errno != 0 || n != len(text) {
		g.t.Errorf("WRITE: %d, %v", n, errno)
	}
	g.Release(f.NodeId, f.Fh, unix.O_RDWR)
	if b, err := os.ReadFile(g.path("answer")); err != nil || string(b) != text {
		g.t.Errorf("the host reads %q, %v; want %q", b, err, text)
	}
	if errno := g.Unlink(frontend.RootID, "answer"); errno != 0 {
		g.t.Errorf("UNLINK: %v", errno)
	}
}

// creates checks whom a file belongs to on the host that the guest's root makes, and that the guest
// sees it as root's.
func (g *guest) creates(uid, gid uint32) {
	g.t.Helper()
	e, errno := g.Mkdir(frontend.RootID, "of-root", 0o755, 0)
	if errno != 0 {
		g.t.Fatalf("MKDIR: %v", errno)
	}
	var st unix.Stat_t
	if err := unix.Lstat(g.path("of-root"), &st); err != nil || st.Uid != uid || st.Gid != gid {
		g.t.Errorf("on the host it belongs to %d:%d, %v; want %d:%d", st.Uid, st.Gid, err, uid, gid)
	}
	if e.Attr.Uid != 0 || e.Attr.Gid != 0 {
		g.t.Errorf("in the guest it belongs to %d:%d, want 0:0", e.Attr.Uid, e.Attr.Gid)
	}
}

// sees checks as whose the guest sees the file that the daemon's user made.
func (g *guest) sees(uid uint32) {
	g.t.Helper()
	e, errno := g.Lookup(frontend.RootID, greeting)
	if errno != 0 || e.Attr.Uid != uid {
		g.t.Errorf("LOOKUP: of user %d, %v; want %d", e.Attr.Uid, errno, uid)
	}
}

// socketOf checks which group may connect to the socket.
func (g *guest) socketOf(gid uint32) {
	g.t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(g.run.socket, &st); err != nil || st.Gid != gid || st.Mode&0o777 != 0o770 {
		g.t.Errorf("the socket is of group %d with mode %o, %v; want %d, 770", st.Gid, st.Mode&0o777, err, gid)
	}
}

// hasTag checks the tag in the device's configuration space.
func (g *guest) hasTag(tag string) {
	g.t.Helper()
	if got := strings.TrimRight(string(g.vm.Config()[:36]), "\x00"); got != tag {
		g.t.Errorf("the tag is %q, want %q", got, tag)
	}
}
