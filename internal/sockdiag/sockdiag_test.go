// SPDX-License-Identifier: Apache-2.0

package sockdiag

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary play another process that holds a socket.
func TestMain(m *testing.M) {
	if path := os.Getenv("SOCKDIAG_TEST_HOLD"); path != "" {
		l, err := net.Listen("unix", path)
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		defer l.Close()
		os.Stdout.WriteString("listening\n")
		os.Stdin.Read(make([]byte, 1)) // until the parent closes its end
		return
	}
	os.Exit(m.Run())
}

// crowd makes unix sockets of every kind, bound and unbound, connected and abstract.
func crowd(t *testing.T) {
	dir := t.TempDir()
	for i, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		for _, name := range []string{filepath.Join(dir, string(rune('a'+i))), "@sockdiag-test-" + filepath.Base(dir) + string(rune('a'+i))} {
			fd := bound(t, typ, name)
			if typ != unix.SOCK_DGRAM {
				if err := unix.Listen(fd, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	}
}

// bound returns a socket bound to name; closed at the test's end, the file stays.
func bound(t *testing.T, typ int, name string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// checkHeldByUs wants path to be held by this very process.
func checkHeldByUs(t *testing.T, path string, listening bool) {
	t.Helper()
	s, ok, err := Find(path)
	if err != nil || !ok {
		t.Fatalf("Find: %v, %v; want the live socket", ok, err)
	}
	if s.Listening != listening {
		t.Errorf("Listening = %v, want %v", s.Listening, listening)
	}
	if s.UID != -1 && s.UID != os.Getuid() {
		t.Errorf("UID = %d, want ours, %d", s.UID, os.Getuid())
	}
	if len(s.Holders) != 1 || s.Holders[0].PID != os.Getpid() {
		t.Errorf("holders %v, want only this process, %d", s.Holders, os.Getpid())
	}
}

func TestFindAmongManyKinds(t *testing.T) {
	for _, before := range []bool{true, false} {
		t.Run(map[bool]string{true: "crowd older", false: "crowd younger"}[before], func(t *testing.T) {
			if before {
				crowd(t)
			}
			path := filepath.Join(t.TempDir(), "fs.sock")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if !before {
				crowd(t)
			}
			checkHeldByUs(t, path, true)
		})
	}
}

func TestFindBoundDatagramSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dgram")
	bound(t, unix.SOCK_DGRAM, path)
	checkHeldByUs(t, path, false)
}

// A name given to bind may be relative, and may lead through a symbolic link.
func TestFindByOtherNames(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	fd := bound(t, unix.SOCK_STREAM, "rel.sock")
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"rel.sock", filepath.Join(dir, "rel.sock"), filepath.Join(dir, "link", "rel.sock")} {
		checkHeldByUs(t, p, true)
	}
}

func TestFindStale(t *testing.T) {
	crowd(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if s, ok, err := Find(path); ok || err != nil {
		t.Errorf("closed listener: found %v, %v; want nothing", s, err)
	}
	if _, _, err := Find(filepath.Join(dir, "none")); err == nil {
		t.Error("a path that does not exist: no error")
	}
}

// The socket that was bound to the path is alive, but its file was replaced by a stale one.
func TestFindReplacedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := os.Rename(path, path+".old"); err != nil { // keeps the inode number in use
		t.Fatal(err)
	}
	second, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	second.SetUnlinkOnClose(false)
	second.Close()
	if s, ok, err := Find(path); ok || err != nil {
		t.Errorf("found %v, %v; want nothing: the living socket has another file", s, err)
	}
	checkHeldByUs(t, path+".old", true)
}

func TestFindOtherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "SOCKDIAG_TEST_HOLD="+path)
	cmd.Stderr = os.Stderr
	stop, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop.Close(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "listening\n" {
		t.Fatalf("helper said %q, %v", line, err)
	}

	s, ok, err := Find(path)
	if err != nil || !ok || len(s.Holders) != 1 || s.Holders[0].PID != cmd.Process.Pid {
		t.Fatalf("Find: %+v, %v, %v; want process %d", s, ok, err, cmd.Process.Pid)
	}
	name := filepath.Base(exe)
	name = name[:min(len(name), 15)]
	if s.Holders[0].Comm != name || !strings.Contains(s.String(), "("+name+")") {
		t.Errorf("name %q in %q, want %q", s.Holders[0].Comm, s, name)
	}
}

func TestStringWithoutHolders(t *testing.T) {
	for _, c := range []struct {
		s    Socket
		want string
	}{
		{Socket{UID: 107}, "a process of user 107 that we may not look into"},
		{Socket{UID: -1}, "a process that we may not look into"},
		{Socket{Holders: []Holder{{9, "qemu"}, {10, "x"}}}, "process 9 (qemu)"},
	} {
		if got := c.s.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestParseShort(t *testing.T) {
	for n := range sizeofMsg {
		if _, err := parse(make([]byte, n)); err == nil {
			t.Errorf("%d bytes: no error", n)
		}
	}
	bad := make([]byte, sizeofMsg+4)
	bad[sizeofMsg] = 200 // an attribute longer than the message
	if _, err := parse(bad); err == nil {
		t.Error("overlong attribute: no error")
	}
}
