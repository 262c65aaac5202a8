// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listening is a listening unix socket at path, as a service manager hands it over.
func listening(t *testing.T, path string) *os.File {
	t.Helper()
	return socketFile(t, unix.AF_UNIX, unix.SOCK_STREAM, func(fd int) error {
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			return err
		}
		return unix.Listen(fd, 1)
	})
}

// activate starts the daemon as a service manager does that has made sockets at paths.
func activate(t *testing.T, names string, paths []string, args ...string) *proc {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", `export LISTEN_PID=$$; exec "$0" "$@"`, daemonBinary, "--sandbox=none"}, args...)...)
	cmd.Env = append(os.Environ(), "LISTEN_FDS="+string(rune('0'+len(paths))), "LISTEN_FDNAMES="+names)
	for _, path := range paths {
		cmd.ExtraFiles = append(cmd.ExtraFiles, listening(t, path))
	}
	return startCmd(t, cmd)
}

func TestSocketActivation(t *testing.T) {
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	t.Run("one socket", func(t *testing.T) {
		p := activate(t, "virtiofsd-go.socket", []string{a}, "--shared-dir", t.TempDir())
		p.waitFor(readyLine)
		conn := connect(t, a)
		askFeatures(t, conn)
		conn.Close()
		p.wait(0)
		if !exists(a) || exists(a+".pid") {
			t.Error("the socket was removed, or a pid file made")
		}
	})
	t.Run("by name", func(t *testing.T) {
		p := activate(t, "first:second", []string{b, c},
			"--share", t.TempDir()+",fd=second", "--share", t.TempDir()+",fd=first")
		p.waitFor(readyLine)
		p.waitFor(readyLine)
		askFeatures(t, connect(t, b))
		askFeatures(t, connect(t, c))
	})
	t.Run("for another process", func(t *testing.T) {
		cmd := exec.Command(daemonBinary, "--shared-dir=/")
		cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_PID=1")
		p := startCmd(t, cmd)
		p.wait(2)
		if !strings.Contains(p.output(), "--socket-path is missing") {
			t.Errorf("output is %q, want a line that the socket is missing", p.output())
		}
	})
}

// The service manager is told when a VMM can connect, and when the daemon begins to stop.
func TestNotify(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@virtiofsd-go-test-" + filepath.Base(t.TempDir())} {
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		l.SetReadDeadline(time.Now().Add(30 * time.Second)) // a bound for a broken daemon
		told := func(want string) {
			t.Helper()
			b := make([]byte, 100)
			if n, err := l.Read(b); string(b[:n]) != want || err != nil {
				t.Fatalf("told %q, %v; want %q", b[:n], err, want)
			}
		}
		socket := filepath.Join(t.TempDir(), "s")
		cmd := exec.Command(daemonBinary, "--sandbox=none", "--shared-dir", t.TempDir(), "--socket-path", socket)
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+name)
		p := startCmd(t, cmd)
		told("READY=1")
		askFeatures(t, connect(t, socket))
		p.signal(unix.SIGTERM)
		told("STOPPING=1")
		p.wait(0)
	}
}

func TestNotifyNobody(t *testing.T) {
	cmd := exec.Command(daemonBinary, "--sandbox=none", "--shared-dir", t.TempDir(), "--socket-path", filepath.Join(t.TempDir(), "s"))
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(t.TempDir(), "nobody"))
	p := startCmd(t, cmd)
	p.waitFor("The service manager cannot be told the state state=\"READY=1\"")
	p.waitFor(readyLine)
}
