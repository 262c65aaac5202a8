// SPDX-License-Identifier: Apache-2.0

package launchers

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// One process serves one directory to two VMs, each with options of its own; what one guest writes the
// other reads, also after the first VM has gone, and the process ends with the second.
func TestTwoVMsOnOneProcess(t *testing.T) {
	s := newSurroundings(t)
	dir, base := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, greeting), []byte(content), 0o644))
	a, b := filepath.Join(base, "a"), filepath.Join(base, "b")
	r := &run{t: t, dir: dir, socket: a, output: &output{}, done: make(chan struct{}), launcher: launcher{ready: socketFile}}
	r.cmd = exec.Command(s.binary, "--share", dir+",socket="+a, "--share", dir+",tag=second,readonly,socket="+b, "--cache=never", "--sandbox=none")
	r.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	r.cmd.Stdout, r.cmd.Stderr = r.output, r.output
	must(t, r.cmd.Start())
	go func() { defer close(r.done); r.cmd.Wait() }() // how it ended is in ProcessState
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		<-r.done
		if t.Failed() {
			t.Logf("printed:\n%s", r.output)
		}
	})
	r.waitReady()
	first := r.boot()
	first.use(false)
	other := *r
	other.socket, other.vmm = b, frontend.Crosvm
	other.waitReady()
	second := other.boot()
	second.use(true)
	second.hasTag("second")

	f, errno := first.Create(frontend.RootID, "news", unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o644, 0)
	if errno != 0 {
		t.Fatalf("CREATE: %v", errno)
	}
	for _, text := range []string{"old", "new"} {
		if _, errno := first.Write(f.NodeId, f.Fh, 0, []byte(text)); errno != 0 {
			t.Fatalf("WRITE: %v", errno)
		}
		second.reads("news", text)
	}
	first.vm.Close()
	second.reads("news", "new")
	second.reads(greeting, content)
	second.vm.Close()
	r.ended()
	if exists(b) {
		t.Error("the second socket is left")
	}
}

// reads opens a file and checks what is in it.
func (g *guest) reads(name, want string) {
	g.t.Helper()
	node := g.lookup(name)
	o, errno := g.Open(node, unix.O_RDONLY)
	if errno != 0 {
		g.t.Fatalf("OPEN %s: %v", name, errno)
	}
	defer g.Release(node, o.Fh, unix.O_RDONLY)
	buf := make([]byte, 100)
	if n, errno := g.Read(node, o.Fh, 0, buf); errno != syscall.Errno(0) || string(buf[:n]) != want {
		g.t.Errorf("READ %s: %q, %v; want %q", name, buf[:n], errno, want)
	}
}
