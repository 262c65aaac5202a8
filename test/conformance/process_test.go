// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// process is a daemon in a process of its own (shareserver) with a guest on it.
type process struct {
	*guest
	pid int
	in  io.Writer
	out *bufio.Reader
}

// buildServer builds shareserver without the race detector, whose memory would be counted.
func buildServer(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "shareserver")
	out, err := exec.Command("go", "build", "-race=false", "-o", bin, "./shareserver").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// startProcess starts a shareserver with a guest, which ends with the test or with powerOff.
func startProcess(t *testing.T, bin string, args ...string) *process {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "vhost-user")
	defer theirs.Close()
	cmd := exec.Command(bin, args...)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
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
	g := &guest{t: t, done: make(chan error, 1)}
	go func() { g.done <- cmd.Wait() }()
	g.vm, err = frontend.New(fds[0], frontend.Options{
		Timeout: time.Minute, Memory: []frontend.MemSpec{{Size: 64 << 20}},
		Fail: func(err error) { t.Helper(); t.Fatal(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.powerOff)
	g.boot()
	return &process{guest: g, pid: cmd.Process.Pid, in: in, out: bufio.NewReader(out)}
}

// collect makes the daemon collect its garbage, and waits for it.
func (p *process) collect() {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.out.ReadString('\n'); err != nil {
		p.t.Fatal(err)
	}
}

// memory is what the daemon holds after a garbage collection: its anonymous memory, and what is
// in memory files of its own, mapped or not. The guest's memory is not its own.
func (p *process) memory() (bytes uint64) {
	p.t.Helper()
	p.collect()
	status := read(p.t, fmt.Sprintf("/proc/%d/status", p.pid))
	_, rest, found := strings.Cut(status, "RssAnon:")
	var kb uint64
	if _, err := fmt.Sscan(rest, &kb); !found || err != nil {
		p.t.Fatalf("no RssAnon in %q", status)
	}
	return kb<<10 + p.mappedMemfds() + p.openMemfds()
}

// mappedMemfds is what the process has in the memory files that it maps.
func (p *process) mappedMemfds() (bytes uint64) {
	p.t.Helper()
	own := false
	for line := range strings.Lines(read(p.t, fmt.Sprintf("/proc/%d/smaps", p.pid))) {
		fields := strings.Fields(line)
		switch {
		case !strings.HasSuffix(fields[0], ":"): // address, permissions, offset, device, inode, path
			own = len(fields) > 5 && isOwnMemfd(fields[5])
		case own && (fields[0] == "Rss:" || fields[0] == "Swap:"):
			var kb uint64
			fmt.Sscan(fields[1], &kb)
			bytes += kb << 10
		}
	}
	return bytes
}

// openMemfds is what is in memory files that the process has open; a file that is mapped too
// counts twice, which errs on the safe side.
func (p *process) openMemfds() (bytes uint64) {
	p.t.Helper()
	for _, path := range p.fds() {
		what, err := os.Readlink(path)
		if err != nil || !isOwnMemfd(what) {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			p.t.Fatal(err)
		}
		bytes += 512 * uint64(st.Blocks)
	}
	return bytes
}

func isOwnMemfd(path string) bool {
	return strings.HasPrefix(path, "/memfd:") && !strings.HasPrefix(path, "/memfd:guest-ram")
}

// fds are the daemon's open files.
func (p *process) fds() []string {
	p.t.Helper()
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.pid))
	if err != nil || len(paths) == 0 {
		p.t.Fatalf("no fds of the daemon: %v", err)
	}
	return paths
}
