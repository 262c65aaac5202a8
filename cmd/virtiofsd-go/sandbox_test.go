// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// What parent and worker are to those outside. What the sandbox holds is tested in internal/sandbox.

// startPair runs a daemon in the default sandbox.
func startPair(t *testing.T) (p *proc, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "fs.sock")
	p = start(t, nil, "--shared-dir", t.TempDir(), "--socket-path", socket)
	p.waitFor(readyLine)
	return p, socket
}

// A worker that is killed takes its parent with it, which says so and tidies up.
func TestWorkerIsKilled(t *testing.T) {
	p, socket := startPair(t)
	if err := unix.Kill(p.worker(t), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.wait(1)
	if last := p.seen[len(p.seen)-1]; last != "virtiofsd-go: the worker was ended by SIGKILL" {
		t.Errorf("the last line is %q", last)
	}
	if exists(socket) || exists(socket+".pid") {
		t.Error("the socket or its pid file is left")
	}
}

// A daemon that was killed makes room for the next one, also for one that comes at once.
func TestKilledDaemonIsReplacedAtOnce(t *testing.T) {
	for range 5 {
		first, socket := startPair(t)
		first.signal(os.Kill)
		first.cmd.Process.Wait()
		second := start(t, nil, "--shared-dir", t.TempDir(), "--socket-path", socket)
		second.waitFor(readyLine)
		askFeatures(t, connect(t, socket))
	}
}

// The parent has no rights any more when a VMM can connect.
func TestParentHasNoRights(t *testing.T) {
	p, _ := startPair(t)
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.cmd.Process.Pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	for _, path := range tasks {
		status, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has just ended
		}
		for _, want := range []string{"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("%s lacks %q:\n%s", path, want, status)
			}
		}
	}
}

// TestOrdinaryUser: in a user namespace with one id, all that a guest makes belongs to that user, and a
// change of owner fails as without a sandbox.
func TestOrdinaryUser(t *testing.T) {
	const user = 65534
	if err := os.Chmod(filepath.Dir(daemonBinary), 0o755); err != nil {
		t.Fatal(err)
	}
	base, err := os.MkdirTemp("/var/tmp", "virtiofsd-go-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	dir, socket := filepath.Join(base, "share"), filepath.Join(base, "s")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{base, dir} {
		if err := os.Chown(p, user, user); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(daemonBinary, "--shared-dir", dir, "--socket-path", socket, "--xattr")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	p := startCmd(t, cmd)
	p.waitFor(readyLine)
	vm, err := frontend.Connect(socket, frontend.Options{Fail: func(err error) { t.Helper(); t.Fatal(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	g := &guest{Driver: vm.Start(), daemon: p, vm: vm, dir: dir}
	g.MustInit()
	g.Caller.Uid, g.Caller.Gid = 1000, 1000
	f := g.create(t, "f", 0o600)
	var st unix.Stat_t
	if err := unix.Stat(dir+"/f", &st); err != nil || st.Uid != user || st.Gid != user {
		t.Errorf("%v, the file belongs to %d, %d; want %d", err, st.Uid, st.Gid, user)
	}
	if n, errno := g.Write(f.NodeId, f.Fh, 0, []byte("data")); n != 4 || errno != 0 {
		t.Errorf("WRITE: %d, %v", n, errno)
	}
	if got := g.hostText(t, "f"); got != "data" {
		t.Errorf("the host has %q", got)
	}
	in := fuse.SetAttrInCommon{Valid: fuse.FATTR_UID, Owner: fuse.Owner{Uid: 1000}}
	if _, errno := g.SetAttr(f.NodeId, in); errno != syscall.EPERM {
		t.Errorf("chown: %v, want EPERM", errno)
	}
}
