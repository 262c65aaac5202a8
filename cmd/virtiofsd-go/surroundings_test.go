// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Programs wait for the pid file and kill who is in it.
func TestPIDFile(t *testing.T) {
	p, socket := startReady(t)
	pid, err := os.ReadFile(socket + ".pid")
	if want := fmt.Sprintln(p.cmd.Process.Pid); string(pid) != want || err != nil {
		t.Errorf("the pid file has %q, %v; want %q", pid, err, want)
	}
	f, err := os.Open(socket + ".pid")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Mode() != 0o600 {
		t.Errorf("its mode is %v, %v; want 0600", st.Mode(), err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("a lock on it: %v, want it taken", err)
	}
	p.signal(unix.SIGTERM)
	p.wait(0)
	if exists(socket + ".pid") {
		t.Error("the pid file is still there")
	}
}

func TestSocketGroup(t *testing.T) {
	_, socket := startReady(t, "--socket-group=12345")
	var st unix.Stat_t
	if err := unix.Stat(socket, &st); err != nil || st.Gid != 12345 || st.Mode&0o777 != 0o770 {
		t.Errorf("%v, group %d, mode %o; want 12345, 770", err, st.Gid, st.Mode)
	}
	p := start(t, nil, "--sandbox=none", "--shared-dir=/", "--socket-path", socket+"2", "--socket-group=no-such-group")
	p.wait(1)
	if want := "virtiofsd-go: --socket-group no-such-group: there is no such group on this host"; p.output() != want {
		t.Errorf("output is %q, want %q", p.output(), want)
	}
	if exists(socket + "2") {
		t.Error("a socket was made")
	}
}

// withLimits starts the daemon with limits on open files and without the right to raise them.
func withLimits(t *testing.T, soft, hard int, args ...string) *proc {
	t.Helper()
	script := fmt.Sprintf(`ulimit -Sn %d && ulimit -Hn %d && exec setpriv --bounding-set=-sys_resource "$0" "$@"`, soft, hard)
	args = append([]string{"-c", script, daemonBinary, "--sandbox=none", "--shared-dir", t.TempDir(),
		"--socket-path", filepath.Join(t.TempDir(), "s")}, args...)
	return startCmd(t, exec.Command("sh", args...))
}

func TestFileLimit(t *testing.T) {
	for _, tt := range []struct {
		option     string
		soft, hard int
	}{
		{"", 6000, 6000}, {"--rlimit-nofile=5000", 5000, 6000}, {"--rlimit-nofile=6000", 6000, 6000},
		{"--rlimit-nofile=0", 5999, 6000}, // what the Go runtime makes of it
	} {
		t.Run(tt.option, func(t *testing.T) {
			args := slices.DeleteFunc([]string{tt.option}, func(s string) bool { return s == "" })
			p := withLimits(t, 1000, 6000, args...)
			p.waitFor(readyLine)
			var l unix.Rlimit
			if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &l); err != nil {
				t.Fatal(err)
			}
			if l.Cur != uint64(tt.soft) || l.Max != uint64(tt.hard) {
				t.Errorf("limits %d and %d, want %d and %d", l.Cur, l.Max, tt.soft, tt.hard)
			}
		})
	}
	for option, want := range map[string]string{
		"--rlimit-nofile=6001":       "virtiofsd-go: --rlimit-nofile 6001 is above the hard limit of 6000, which this process may not raise: give at most that, or raise it",
		"--rlimit-nofile=9999999999": "virtiofsd-go: --rlimit-nofile 9999999999 is above what this host allows any process, ",
		"--rlimit-nofile=300":        "virtiofsd-go: only 300 files may be open at once, and at least ",
	} {
		p := withLimits(t, 1000, 6000, option)
		p.wait(1)
		if len(p.seen) != 1 || !strings.HasPrefix(p.output(), want) {
			t.Errorf("%s: output is %q, want one line: %s", option, p.output(), want)
		}
	}
}

// withDev starts the daemon with --syslog where dev is in the place of /dev.
func withDev(t *testing.T, dev string) *proc {
	t.Helper()
	return startCmd(t, exec.Command("unshare", "--mount", "sh", "-c", `mount --bind "$0" /dev && exec "$@"`, dev,
		daemonBinary, "--syslog", "-f", "--sandbox=none", "--shared-dir", t.TempDir(), "--socket-path", filepath.Join(t.TempDir(), "s")))
}

func TestNoSyslog(t *testing.T) {
	p := withDev(t, t.TempDir())
	p.waitFor(readyLine)
	if !strings.Contains(p.seen[0], "WARN  virtiofsd_go] --syslog: there is no system log here, messages go to standard error") {
		t.Errorf("the first line is %q, want a warning", p.seen[0])
	}
}

func TestSyslog(t *testing.T) {
	dev := t.TempDir()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dev + "/log", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetReadDeadline(time.Now().Add(30 * time.Second)) // a bound for a broken daemon
	p := withDev(t, dev)
	for _, want := range []struct{ priority, text string }{ // 8*LOG_USER plus LOG_WARNING, LOG_INFO
		{"<12>", "virtiofsd_go: -f is deprecated"}, {"<14>", "virtiofsd_go: " + readyLine}} {
		b := make([]byte, 4096)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if m := string(b[:n]); !strings.HasPrefix(m, want.priority) || !strings.Contains(m, want.text) || !strings.Contains(m, "virtiofsd-go[") {
			t.Errorf("message %q, want %s and %q", m, want.priority, want.text)
		}
	}
	p.signal(unix.SIGTERM)
	p.wait(0)
	if p.output() != "" {
		t.Errorf("standard error has %q", p.output())
	}
}

func TestRustLog(t *testing.T) {
	cmd := exec.Command(daemonBinary, "--sandbox=none", "--shared-dir", t.TempDir(), "--socket-path", filepath.Join(t.TempDir(), "s"))
	cmd.Env = append(os.Environ(), "RUST_LOG=ERROR")
	p := startCmd(t, cmd)
	p.waitFor(readyLine)
	if want := "RUST_LOG is not looked at: --log-level says what is logged RUST_LOG=ERROR"; !strings.Contains(p.seen[0], want) {
		t.Errorf("the first line is %q, want %q", p.seen[0], want)
	}
}

// What has no effect yet is said, once each.
func TestNoticesAreLogged(t *testing.T) {
	p := start(t, nil, "--shared-dir", t.TempDir(), "--socket-path", filepath.Join(t.TempDir(), "s"), "-d", "--migration-mode=find-paths")
	p.waitFor(readyLine)
	for _, want := range []string{"-d is deprecated: use --log-level debug", "--migration-mode has no effect yet"} {
		if n := strings.Count(p.output(), want); n != 1 {
			t.Errorf("%q is said %d times in:\n%s", want, n, p.output())
		}
	}
}
