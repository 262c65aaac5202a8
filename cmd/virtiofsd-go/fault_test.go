// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// hostText is what the host has in a file of the share.
func (g *guest) hostText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(g.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fsyncMessage is the request for an FSYNC of a file.
func fsyncMessage(f fuse.CreateOut) frontend.Message {
	in := fuse.FsyncIn{Fh: f.Fh}
	const header = 40 // struct fuse_in_header
	return frontend.Message{Op: frontend.OpFsync, Node: f.NodeId, Args: frontend.Wire(&in)[header:]}
}

// The third write to one file fails, and a write to another in between does not count.
func TestFaultThirdWrite(t *testing.T) {
	g, _ := boot(t, frontend.Options{}, "--fault", "write path=/db nth=3 error=EIO")
	g.daemon.expectSeen(t, `FAULT INJECTION IS ON: calls of the host will fail on purpose rule="write path=/db nth=3 error=EIO"`)
	f, other := g.create(t, "db", 0o600), g.create(t, "other", 0o600)
	for i, want := range []syscall.Errno{0, 0, syscall.EIO, 0} {
		if _, errno := g.Write(other.NodeId, other.Fh, 0, []byte("x")); errno != 0 {
			t.Errorf("WRITE %d to the other file: %v", i+1, errno)
		}
		n, errno := g.Write(f.NodeId, f.Fh, uint64(4*i), []byte("data"))
		if errno != want || want == 0 && n != 4 {
			t.Errorf("WRITE %d: %d, %v; want %v", i+1, n, errno, want)
		}
	}
	if got, want := g.hostText(t, "db"), "datadata\x00\x00\x00\x00data"; got != want {
		t.Errorf("the host has %q, want %q", got, want)
	}
	g.vm.Close()
	g.daemon.wait(0)
	for _, want := range []string{
		`FAULT: write path=/db nth=3 error=EIO operation=write path=/db offset=8 size=4`,
		`What a fault rule did rule="write path=/db nth=3 error=EIO" hits=1 calls=4`,
	} {
		if !strings.Contains(g.daemon.output(), want) {
			t.Errorf("the log lacks %q:\n%s", want, g.daemon.output())
		}
	}
}

func TestFaultShortReadAndFullDisk(t *testing.T) {
	g, _ := boot(t, frontend.Options{}, "--fault=read short=5", "--fault", "fsync error=ENOSPC", "--fault=mkdir path=/*.d error=EDQUOT")
	f := g.create(t, "f", 0o600)
	if n, errno := g.Write(f.NodeId, f.Fh, 0, []byte("0123456789")); n != 10 || errno != 0 {
		t.Fatalf("WRITE: %d, %v", n, errno)
	}
	b := make([]byte, 100)
	if n, errno := g.Read(f.NodeId, f.Fh, 2, b); errno != 0 || string(b[:n]) != "23456789" {
		t.Errorf("READ: %q, %v; want 8 bytes, in two pieces", b[:n], errno)
	}
	for range 2 {
		if errno := g.Fsync(f.NodeId, f.Fh, false); errno != syscall.ENOSPC {
			t.Errorf("FSYNC: %v, want ENOSPC", errno)
		}
	}
	if _, errno := g.Mkdir(root, "a.d", 0o755, 0); errno != syscall.EDQUOT {
		t.Errorf("MKDIR: %v, want EDQUOT", errno)
	}
	if _, errno := g.Mkdir(root, "a", 0o755, 0); errno != 0 {
		t.Errorf("MKDIR of another name: %v", errno)
	}
}

// A request that is late is answered late, and the others in the queue meanwhile.
func TestFaultDelay(t *testing.T) {
	g, _ := boot(t, frontend.Options{}, "--fault=write delay=300ms")
	f := g.create(t, "f", 0o600)
	start := time.Now()
	p := g.Send(frontend.WriteMessage(f.NodeId, f.Fh, 0, []byte("data")))
	if _, errno := g.GetAttr(root); errno != 0 {
		t.Errorf("GETATTR: %v", errno)
	}
	if p.Done() && time.Since(start) < 300*time.Millisecond {
		t.Error("the WRITE was answered before its time")
	}
	if _, errno, err := p.Reply(); errno != 0 || err != nil {
		t.Errorf("WRITE: %v, %v", errno, err)
	}
	if d := time.Since(start); d < 300*time.Millisecond {
		t.Errorf("the WRITE took %v", d)
	}
	if got := g.hostText(t, "f"); got != "data" {
		t.Errorf("the host has %q", got)
	}
}

// Hung requests go on at SIGUSR1, once; others are served while they hang.
func TestFaultHangIsReleased(t *testing.T) {
	g, _ := boot(t, frontend.Options{}, "--fault=fsync hang", "--fault=write nth=1 hang error=EIO")
	f := g.create(t, "f", 0o600)
	write := g.Send(frontend.WriteMessage(f.NodeId, f.Fh, 0, []byte("data")))
	g.daemon.waitFor("FAULT: write nth=1 error=EIO hang")
	for range 2 {
		sync := g.Send(fsyncMessage(f))
		g.daemon.waitFor("FAULT: fsync hang")
		for range 100 {
			if _, errno := g.GetAttr(root); errno != 0 {
				t.Fatalf("GETATTR: %v", errno)
			}
		}
		if sync.Done() {
			t.Fatal("the FSYNC was answered")
		}
		// The log line comes before the wait; a signal may come in between.
		for !sync.Done() {
			g.daemon.signal(unix.SIGUSR1)
			g.daemon.waitFor("Released the calls that hang by a fault rule")
			time.Sleep(time.Millisecond)
		}
		if _, errno, err := sync.Reply(); errno != 0 || err != nil {
			t.Errorf("FSYNC: %v, %v", errno, err)
		}
	}
	if _, errno, err := write.Reply(); errno != syscall.EIO || err != nil {
		t.Errorf("WRITE: %v, %v; want EIO", errno, err)
	}
	g.vm.Close()
	g.daemon.wait(0)
}

// The guest's INTERRUPT ends what hangs with EINTR, and nothing of it is done.
func TestFaultHangIsInterrupted(t *testing.T) {
	g, _ := boot(t, frontend.Options{}, "--fault=write hang")
	f := g.create(t, "f", 0o600)
	p := g.Send(frontend.WriteMessage(f.NodeId, f.Fh, 0, []byte("data")))
	g.daemon.waitFor("FAULT: write hang")
	g.Interrupt(p.Unique())
	if _, errno, err := p.Reply(); errno != syscall.EINTR || err != nil {
		t.Errorf("WRITE: %v, %v; want EINTR", errno, err)
	}
	if got := g.hostText(t, "f"); got != "" {
		t.Errorf("the host has %q", got)
	}
}

// Hung requests keep neither a signal nor the end of the VM from stopping the daemon.
func TestFaultHangEndsWithTheDaemon(t *testing.T) {
	for name, stop := range map[string]func(g *guest){
		"signal": func(g *guest) { g.daemon.signal(unix.SIGTERM) },
		"VM":     func(g *guest) { g.vm.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			g, _ := boot(t, frontend.Options{}, "--fault=write,fsync hang", "--fault=any delay=1h path=/late")
			f := g.create(t, "f", 0o600)
			g.Send(frontend.Message{Op: frontend.OpLookup, Node: root, Names: []string{"late"}, Out: 128})
			g.daemon.waitFor("FAULT: any path=/late delay=1h0m0s")
			for range 50 { // more than there are workers
				g.Send(frontend.WriteMessage(f.NodeId, f.Fh, 0, []byte("data")))
				g.Send(fsyncMessage(f))
			}
			g.daemon.waitFor("FAULT: write,fsync hang")
			stop(g)
			g.daemon.wait(0)
			if got := g.hostText(t, "f"); got != "" {
				t.Errorf("the host has %q of requests that hung to the end", got)
			}
		})
	}
}

// Without rules nothing is said of faults.
func TestNoFaults(t *testing.T) {
	g, _ := boot(t, frontend.Options{})
	g.vm.Close()
	g.daemon.wait(0)
	if strings.Contains(strings.ToLower(g.daemon.output()), "fault") {
		t.Errorf("faults are spoken of:\n%s", g.daemon.output())
	}
}

// expectSeen wants text in what the daemon has printed already.
func (p *proc) expectSeen(t *testing.T, text string) {
	t.Helper()
	if !strings.Contains(p.output(), text) {
		t.Errorf("the log lacks %q:\n%s", text, p.output())
	}
}
