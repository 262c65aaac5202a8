// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// readyLine is what other programs wait for.
const readyLine = "Waiting for vhost-user socket connection..."

// daemonBinary is the daemon, built with the race detector by TestMain.
var daemonBinary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "virtiofsd-go-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	daemonBinary = filepath.Join(dir, "virtiofsd-go")
	for _, s := range []os.Signal{unix.SIGHUP, unix.SIGINT} {
		if signal.Ignored(s) { // as under nohup; the daemons shall not inherit that
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else each daemon waits a second at its end
	code := 1
	if out, err := exec.Command("go", "build", "-race", "-o", daemonBinary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the daemon: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// proc is a running daemon. It is killed at the test's end if it still runs.
type proc struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // its standard error, line by line; closed when it ends
	seen  []string    // lines that were taken from there
}

// start runs the daemon with args, and extra files as its fds 3 and up.
func start(t *testing.T, extra []*os.File, args ...string) *proc {
	t.Helper()
	cmd := exec.Command(daemonBinary, args...)
	cmd.ExtraFiles = extra
	return startCmd(t, cmd)
}

func startCmd(t *testing.T, cmd *exec.Cmd) *proc {
	t.Helper()
	p := &proc{t: t, cmd: cmd, lines: make(chan string, 1000)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
	})
	return p
}

// startReady runs the daemon on a new directory, waits until it is ready and returns it with the
// path of its socket.
func startReady(t *testing.T, more ...string) (p *proc, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "fs.sock")
	p = start(t, nil, append([]string{"--shared-dir", t.TempDir(), "--socket-path", socket, "--sandbox=none"}, more...)...)
	p.waitFor(readyLine)
	return p, socket
}

// waitFor reads the daemon's lines until one has text in it, and returns that line.
func (p *proc) waitFor(text string) string {
	p.t.Helper()
	limit := time.After(30 * time.Second) // a bound for a broken daemon; no test is about time
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the daemon ended without printing %q; it printed:\n%s", text, p.output())
			}
			p.seen = append(p.seen, l)
			if strings.Contains(l, text) {
				return l
			}
		case <-limit:
			p.t.Fatalf("the daemon did not print %q; it printed:\n%s", text, p.output())
		}
	}
}

func (p *proc) output() string { return strings.Join(p.seen, "\n") }

// wait waits for the daemon's end and checks its exit code.
func (p *proc) wait(code int) {
	p.t.Helper()
	limit := time.After(30 * time.Second)
	for more := true; more; {
		select {
		case l, ok := <-p.lines:
			more = ok
			if ok {
				p.seen = append(p.seen, l)
			}
		case <-limit:
			p.t.Fatalf("the daemon does not end; it printed:\n%s", p.output())
		}
	}
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("exit code %d (%v), want %d; it printed:\n%s", got, p.cmd.ProcessState, code, p.output())
	}
}

func (p *proc) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// connect connects to the daemon as a VMM would.
func connect(t *testing.T, socket string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// askFeatures sends VHOST_USER_GET_FEATURES and wants a reply: somebody serves the connection.
func askFeatures(t *testing.T, c net.Conn) {
	t.Helper()
	request := []byte{1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0} // request 1, flags: version 1, size 0
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 12+8)
	if _, err := io.ReadFull(c, reply); err != nil || reply[0] != 1 || reply[4] != 5 || reply[8] != 8 {
		t.Fatalf("reply %v, %v; want request 1, flags 5, size 8", reply, err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// socketFile returns a unix socket of the type as a file to hand to a daemon.
func socketFile(t *testing.T, domain, typ int, use func(fd int) error) *os.File {
	t.Helper()
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { f.Close() })
	if err := use(fd); err != nil {
		t.Fatal(err)
	}
	return f
}
