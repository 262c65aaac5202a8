// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helperEnv makes the test binary a process of the host that locks the file that it names.
const helperEnv = "LOCKS_TEST_HELPER"

func TestMain(m *testing.M) {
	if path := os.Getenv(helperEnv); path != "" {
		if err := help(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// help takes POSIX locks as its input says, "type start end" each line, and answers with the errno.
func help(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		var l span
		switch _, err := fmt.Scanln(&l.typ, &l.start, &l.end); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
		w := l.wire()
		errno, _ := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &w).(unix.Errno)
		fmt.Println(int(errno))
	}
}

// hostProcess is a process of the host that has POSIX locks on a file.
type hostProcess struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Scanner
}

func startHostProcess(t testing.TB, path string) *hostProcess {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
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
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the host process: %v", err)
		}
	})
	return &hostProcess{t, in, bufio.NewScanner(out)}
}

func (p *hostProcess) set(l span) error {
	if _, err := fmt.Fprintln(p.in, l.typ, l.start, l.end); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("the host process gives no answer: %v", p.out.Err())
	}
	n, err := strconv.Atoi(p.out.Text())
	if err != nil {
		p.t.Fatal(err)
	}
	if n == 0 {
		return nil
	}
	return unix.Errno(n)
}

// reopen is Options.Reopen.
func reopen(fd, access int) (int, error) {
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), access|unix.O_CLOEXEC, 0)
}

// never is a Space.poll for tests that must not need polls.
func never(int) time.Duration { return time.Hour }

// newGuest enters a guest with room for all.
func newGuest(t testing.TB, s *Space) *Guest {
	t.Helper()
	g := s.NewGuest(Options{MaxOwners: 1000, MaxRanges: 10000, Reopen: reopen})
	t.Cleanup(func() {
		g.Reset()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(g.owners) != 0 || len(g.spare) != 0 || g.ranges != 0 || g.posixOwners.Load() != 0 {
			t.Errorf("after a reset: %d owners, %d idle, %d ranges, %d with fds", len(g.owners), len(g.spare), g.ranges, g.posixOwners.Load())
		}
	})
	return g
}

// newFile makes a file of the host.
func newFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

var handles uint64

// open opens a file for a guest. The handle is dropped, if that was not done, at the end of the test.
func open(t testing.TB, g *Guest, path string, access int) *Handle {
	t.Helper()
	fd, err := unix.Open(path, access|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	handles++
	h, err := g.Handle(handles, fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Drop()
		closeFD(fd)
	})
	return h
}

// Locks of a whole file.
var (
	readAll  = Lock{0, maxOffset, unix.F_RDLCK, 1}
	writeAll = Lock{0, maxOffset, unix.F_WRLCK, 1}
	freeAll  = Lock{0, maxOffset, unix.F_UNLCK, 1}
)

// part is a lock of the bytes from a to b.
func part(typ int16, a, b int64) Lock { return Lock{a, b, typ, 1} }

func want(t testing.TB, what string, got, errno error) {
	t.Helper()
	if got != errno {
		t.Errorf("%s: got %v, want %v", what, got, errno)
	}
}

// must is for what has to succeed.
func must(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// waiting starts a request that waits, and returns when it is in its file's line. Its error comes
// out of the channel.
func waiting(t testing.TB, h *Handle, call func(cancel <-chan struct{}) error) (cancel func(), result chan error) {
	t.Helper()
	stop := make(chan struct{})
	result = make(chan error, 1)
	before := lined(h)
	go func() { result <- call(stop) }()
	eventually(t, "a request that waits", func() bool { return lined(h) == before+1 })
	return func() { close(stop) }, result
}

// lined counts who waits for the handle's file.
func lined(h *Handle) (n int) {
	s := h.guest.space
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[h.key]; f != nil {
		for w := f.line.first; w != nil; w = w.next {
			n++
		}
	}
	return n
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// come waits for the end of a request that waited.
func come(t testing.TB, what string, result chan error, errno error) {
	t.Helper()
	select {
	case got := <-result:
		want(t, what, got, errno)
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: still waits", what)
	}
}

// still checks that a request has not ended. It proves nothing when it passes too early, so it comes
// after something that would have ended it.
func still(t testing.TB, what string, result chan error) {
	t.Helper()
	select {
	case got := <-result:
		t.Fatalf("%s: %v, but it has to wait", what, got)
	default:
	}
}
