// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadyLineAndSocket(t *testing.T) {
	p, socket := startReady(t)
	form := regexp.MustCompile(`^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO  virtiofsd_go\] Waiting for vhost-user socket connection\.\.\.$`)
	if !form.MatchString(p.output()) {
		t.Errorf("output is %q, want one line like %v", p.output(), form)
	}
	st, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != os.ModeSocket|0o700 {
		t.Errorf("socket's mode is %v, want it for its owner only", st.Mode())
	}
	askFeatures(t, connect(t, socket))
}

func TestStaleSocketIsReplaced(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "fs.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	p := start(t, nil, "--shared-dir", t.TempDir(), "--socket-path", socket, "--sandbox=none")
	p.waitFor("Replacing a stale socket file path=" + socket)
	p.waitFor(readyLine)
	askFeatures(t, connect(t, socket))
}

// A daemon that was killed leaves its socket behind; the next one takes the path.
func TestSocketOfKilledDaemonIsReplaced(t *testing.T) {
	first, socket := startReady(t)
	first.signal(os.Kill)
	first.wait(-1)
	if !exists(socket) {
		t.Fatal("the killed daemon left no socket: this tests nothing")
	}
	p := start(t, nil, "--shared-dir", t.TempDir(), "--socket-path", socket, "--sandbox=none")
	p.waitFor(readyLine)
	askFeatures(t, connect(t, socket))
}

// The refused daemon names the one that listens, and does not disturb it: its first connection,
// the only one that it serves, is still to come.
func TestLiveListenerIsRefused(t *testing.T) {
	first, socket := startReady(t)
	second := start(t, nil, "--shared-dir", t.TempDir(), "--socket-path", socket, "--sandbox=none")
	second.wait(1)
	want := fmt.Sprintf("virtiofsd-go: %s is in use by process %d (virtiofsd-go): stop that process, or choose another --socket-path",
		socket, first.cmd.Process.Pid)
	if second.output() != want {
		t.Errorf("output is %q, want %q", second.output(), want)
	}
	askFeatures(t, connect(t, socket))
}

func TestOnlyOneOfManyStarts(t *testing.T) {
	const n = 4
	socket := filepath.Join(t.TempDir(), "fs.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // stale: all of them want to replace it
	dir := t.TempDir()
	var procs []*proc
	for range n {
		procs = append(procs, start(t, nil, "--shared-dir", dir, "--socket-path", socket, "--sandbox=none"))
	}
	// Those that lose end. Then the winner serves and ends too, when its VMM goes.
	ended := make(chan string, n)
	for _, p := range procs {
		go func() {
			var out []string
			for l := range p.lines {
				out = append(out, l)
			}
			ended <- strings.Join(out, "\n")
		}()
	}
	for range n - 1 {
		if out := <-ended; !strings.Contains(out, "is in use by process") {
			t.Fatalf("ended with %q, want: in use", out)
		}
	}
	c := connect(t, socket)
	askFeatures(t, c)
	c.Close()
	if out := <-ended; !strings.Contains(out, readyLine) {
		t.Errorf("the last one printed %q, want the ready line", out)
	}
}

func TestStartMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, shared, socket, want string }{
		{"socket's directory missing", dir, dir + "/no/s", "the directory of the socket, " + dir + "/no, does not exist: create it"},
		{"socket's directory is a file", dir, file + "/s", "the socket cannot be made, as " + file + " is not a directory"},
		{"socket path is a file", dir, file, file + " exists and is not a socket: it stays as it is; choose another --socket-path"},
		{"socket path is a directory", dir, dir, dir + " exists and is not a socket"},
		{"socket path is a link", dir, link, link + " exists and is not a socket"},
		{"shared directory missing", dir + "/no", dir + "/s", "the shared directory " + dir + "/no does not exist: create it, or correct --shared-dir"},
		{"shared directory is a device", "/dev/null", dir + "/s", "/dev/null is neither a directory nor a regular file: nothing else can be shared"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, nil, "--shared-dir", tt.shared, "--socket-path", tt.socket, "--sandbox=none")
			p.wait(1)
			if !strings.HasPrefix(p.output(), "virtiofsd-go: "+tt.want) || len(p.seen) != 1 {
				t.Errorf("output is %q, want one line with %q", p.output(), tt.want)
			}
		})
	}
	if b, err := os.ReadFile(file); string(b) != "precious" || err != nil {
		t.Errorf("the file in the socket's place is now %q, %v", b, err)
	}
	if !exists(link) || exists(dir+"/s") {
		t.Error("a link was removed, or a socket made")
	}
}

func TestInheritedSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	f := socketFile(t, unix.AF_UNIX, unix.SOCK_STREAM, func(fd int) error {
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			return err
		}
		return unix.Listen(fd, 1)
	})
	p := start(t, []*os.File{f}, "--shared-dir", t.TempDir(), "--fd", "3")
	p.waitFor(readyLine)
	c := connect(t, path)
	askFeatures(t, c)
	c.Close()
	p.wait(0)
	if !exists(path) {
		t.Error("the daemon removed a socket file that it did not make")
	}
}

func TestInheritedMistakes(t *testing.T) {
	nothing := func(int) error { return nil }
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	tcp := socketFile(t, unix.AF_INET, unix.SOCK_STREAM, func(fd int) error { return unix.Listen(fd, 1) })
	for _, tt := range []struct {
		name string
		file *os.File
		want string
	}{
		{"closed", nil, "is not open"},
		{"a file", null, "is open, but not a socket"},
		{"TCP", tcp, "is a socket, but not a unix socket"},
		{"datagrams", socketFile(t, unix.AF_UNIX, unix.SOCK_DGRAM, nothing), "is a unix socket, but not a stream one"},
		{"seqpacket", socketFile(t, unix.AF_UNIX, unix.SOCK_SEQPACKET, nothing), "is a unix socket, but not a stream one"},
		{"not listening", socketFile(t, unix.AF_UNIX, unix.SOCK_STREAM, nothing), "is a unix socket that does not listen"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fd, extra := "3", []*os.File{tt.file}
			if tt.file == nil {
				fd, extra = "99", nil
			}
			p := start(t, extra, "--shared-dir", t.TempDir(), "--fd", fd, "--sandbox=none")
			p.wait(1)
			if !strings.HasPrefix(p.output(), "virtiofsd-go: --fd "+fd+": "+tt.want) {
				t.Errorf("output is %q, want: %s", p.output(), tt.want)
			}
		})
	}
}

func TestFewOpenFiles(t *testing.T) {
	cmd := exec.Command("sh", "-c", `ulimit -n 200 && exec "$0" "$@"`, daemonBinary,
		"--shared-dir", t.TempDir(), "--socket-path", filepath.Join(t.TempDir(), "s"), "--sandbox=none")
	p := startCmd(t, cmd)
	p.wait(1)
	if !strings.HasPrefix(p.output(), "virtiofsd-go: only 200 files may be open at once") {
		t.Errorf("output is %q, want a word about the limit", p.output())
	}
}
