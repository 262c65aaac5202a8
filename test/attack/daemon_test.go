// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The daemon's command, as users get it and with the backdoor; built once.
var (
	realDaemon  = sync.OnceValues(func() (string, error) { return build("virtiofsd-go") })
	buildFolder string
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "attack")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		buildFolder = dir
		return m.Run()
	}())
}

func build(name string, flags ...string) (string, error) {
	path := filepath.Join(buildFolder, name)
	args := append(append([]string{"build", "-race=false", "-o", path}, flags...), "../../cmd/virtiofsd-go")
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as users get it
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the daemon: %w\n%s", err, out)
	}
	return path, nil
}

// daemon is a running daemon with some shares. It is killed at the test's end.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    *os.File
	shares []string // directories
	socks  []string
	ended  chan struct{}
}

// startDaemon runs the command on n new directories, in the way that it is run by default, and waits
// until its sockets are there.
func startDaemon(t *testing.T, bin string, n int, args ...string) *daemon {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, log: log, ended: make(chan struct{})}
	for i := range n {
		share := newScene(t).share
		d.shares = append(d.shares, share)
		d.socks = append(d.socks, filepath.Join(t.TempDir(), strconv.Itoa(i)))
		args = append(args, "--share", share+",socket="+d.socks[i])
	}
	d.cmd = exec.Command(bin, args...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(d.stop)
	d.until("all sockets are waited on", func() bool {
		return strings.Count(d.output(), "Waiting for vhost-user socket connection") == n
	})
	return d
}

func (d *daemon) stop() {
	unix.Kill(-d.cmd.Process.Pid, unix.SIGKILL)
	<-d.ended
	d.log.Close()
}

// waitEnd waits for the daemon's end.
func (d *daemon) waitEnd() {
	d.t.Helper()
	select {
	case <-d.ended:
	case <-time.After(patience):
		d.t.Fatalf("the daemon does not end\n%s", tail(d.output()))
	}
}

func (d *daemon) output() string {
	b, err := os.ReadFile(d.log.Name())
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// alive fails the test when the daemon has ended.
func (d *daemon) alive() {
	d.t.Helper()
	select {
	case <-d.ended:
		d.t.Fatalf("the daemon has ended: %v\n%s", d.cmd.ProcessState, tail(d.output()))
	default:
	}
}

func (d *daemon) until(what string, is func() bool) {
	d.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		d.alive()
		if time.Now().After(end) {
			d.t.Fatalf("%s: not after %v\n%s", what, patience, tail(d.output()))
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

// pids are the daemon's processes, the first one first.
func (d *daemon) pids() []int {
	all := []int{d.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, t := range tasks {
			b, _ := os.ReadFile(t) // a thread that has gone has none
			for f := range strings.FieldsSeq(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}

// usage is what the daemon has: all of its processes together.
type usage struct {
	fds, threads, mappings int
	anon                   uint64 // bytes
}

func (d *daemon) usage() (u usage) {
	d.t.Helper()
	for _, pid := range d.pids() {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			d.alive()
			d.t.Fatal(err)
		}
		u.fds += len(fds)
		u.threads += len(threads)
		u.mappings += strings.Count(string(maps), "\n")
		_, rest, _ := strings.Cut(string(status), "RssAnon:")
		var kb uint64
		fmt.Sscan(rest, &kb)
		u.anon += kb << 10
	}
	return u
}

// virtualSize is the address space in use by the process that uses most, in bytes.
func (d *daemon) virtualSize() (most uint64) {
	d.t.Helper()
	for _, pid := range d.pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			d.t.Fatal(err)
		}
		var pages uint64
		fmt.Sscan(string(b), &pages)
		most = max(most, pages*uint64(os.Getpagesize()))
	}
	return most
}
