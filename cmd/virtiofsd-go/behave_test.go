// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// TestOptionsInInit: what FUSE_INIT's reply agrees to with each option, of all that Linux offers.
func TestOptionsInInit(t *testing.T) {
	for _, c := range []struct {
		options string
		flag    uint64
		on      bool
	}{
		{"", fuse.CAP_HANDLE_KILLPRIV_V2, false},
		{"--killpriv-v2", fuse.CAP_HANDLE_KILLPRIV_V2, true},
		{"--killpriv-v2 --no-killpriv-v2", fuse.CAP_HANDLE_KILLPRIV_V2, false},
		{"", fuse.CAP_EXPORT_SUPPORT, true},
		{"", fuse.CAP_ALLOW_IDMAP, true},
		{"", fuse.CAP_DIRECT_IO_ALLOW_MMAP, false},
		{"--allow-mmap", fuse.CAP_DIRECT_IO_ALLOW_MMAP, true},
		{"", fuse.CAP_WRITEBACK_CACHE, false},
		{"--writeback", fuse.CAP_WRITEBACK_CACHE, true},
		{"", fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO, true},
		{"--no-readdirplus", fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO, false},
		{"--cache=never", fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO, false},
		{"", fuse.CAP_CACHE_SYMLINKS, false},
		{"--cache=never", fuse.CAP_CACHE_SYMLINKS, false},
		{"--cache=metadata", fuse.CAP_CACHE_SYMLINKS, true},
		{"--cache=always", fuse.CAP_CACHE_SYMLINKS, true},
		{"", fuse.CAP_SUBMOUNTS, true},
		{"--no-announce-submounts --announce-submounts", fuse.CAP_SUBMOUNTS, false},
	} {
		_, init := boot(t, frontend.Options{}, strings.Fields(c.options)...)
		if on := init.Flags64()&c.flag != 0; on != c.on {
			t.Errorf("options %q: flag %#x is agreed upon: %v, want %v", c.options, c.flag, on, c.on)
		}
	}
}

// A share whose file system has no handles that can be opened, such as procfs.
func TestOptionInodeFileHandles(t *testing.T) {
	const dir = "/proc/tty"
	for use, fails := range map[string]bool{"never": false, "prefer": false, "mandatory": true} {
		socket := filepath.Join(t.TempDir(), "fs.sock")
		d := start(t, nil, "--shared-dir", dir, "--socket-path", socket, "--inode-file-handles="+use)
		if !fails {
			d.waitFor(readyLine)
			continue
		}
		d.wait(1)
		if !strings.Contains(d.output(), "file handles cannot be used") {
			t.Errorf("--inode-file-handles=%s says:\n%s", use, d.output())
		}
	}
}

// The daemon has the right to open by handles only where it uses them; who insists on them must have it.
func TestRightToOpenByHandle(t *testing.T) {
	const right = 1 << unix.CAP_DAC_READ_SEARCH
	for use, want := range map[string]uint64{"never": 0, "prefer": right, "mandatory": right} {
		p, _ := startReady(t, "--sandbox=namespace", "--inode-file-handles="+use) // Landlock has no place for them
		if got := p.capabilities(t) & right; got != want {
			t.Errorf("--inode-file-handles=%s: capability %#x, want %#x", use, got, want)
		}
	}
	for use, fails := range map[string]bool{"never": false, "prefer": false, "mandatory": true} {
		p := startCmd(t, exec.Command("setpriv", "--bounding-set=-dac_read_search", daemonBinary, "--sandbox=none",
			"--shared-dir", t.TempDir(), "--socket-path", filepath.Join(t.TempDir(), "s"), "--inode-file-handles="+use))
		if !fails {
			p.waitFor(readyLine)
			continue
		}
		p.wait(1)
		if !strings.Contains(p.output(), "file handles cannot be used") {
			t.Errorf("--inode-file-handles=%s without the right says:\n%s", use, p.output())
		}
	}
}

// capabilities are the process's effective ones.
func (p *proc) capabilities(t *testing.T) (set uint64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.worker(t)))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), "\nCapEff:\t")
	if _, err := fmt.Sscanf(line, "%x", &set); err != nil {
		t.Fatalf("%s: %v", status, err)
	}
	return set
}

// TestOptionsInOpen: the flags of open(2) that the daemon's own fds of a file have, all together.
func TestOptionsInOpen(t *testing.T) {
	for options, want := range map[string]int{
		"":                   0,
		"--allow-direct-io":  unix.O_DIRECT,
		"--preserve-noatime": unix.O_NOATIME,
		"--writeback":        unix.O_RDWR,
	} {
		g, _ := boot(t, frontend.Options{}, strings.Fields(options)...)
		f, errno := g.Create(root, "f", unix.O_WRONLY|unix.O_DIRECT|unix.O_NOATIME, 0o200, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		const all = unix.O_DIRECT | unix.O_NOATIME | unix.O_RDWR
		if got := g.daemon.fdFlags(t, filepath.Join(g.dir, "f")) & all; got != want {
			t.Errorf("options %q: flags %#x, want %#x", options, got, want)
		}
		buf := make([]byte, 1)
		_, errno = g.Read(f.NodeId, f.Fh, 0, buf)
		if readable := errno == 0; readable != (options == "--writeback") {
			t.Errorf("options %q: READ of a file that was made write-only: %v", options, errno)
		}
	}
}

// worker is the process id of the one that serves.
func (p *proc) worker(t *testing.T) (pid int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tasks {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has just ended
		}
		if n, _ := fmt.Sscan(string(b), &pid); n == 1 {
			return pid
		}
	}
	t.Fatal("the daemon has no worker")
	return 0
}

// fdFlags are the flags of all fds of a file that the process has open for use, or-ed.
func (p *proc) fdFlags(t *testing.T, path string) (flags int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d", p.worker(t))
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if is, err := os.Stat(dir + "/fd/" + fd.Name()); err != nil || !os.SameFile(is, want) {
			continue
		}
		info, err := os.ReadFile(dir + "/fdinfo/" + fd.Name())
		if err != nil {
			t.Fatal(err)
		}
		var pos, f int
		if _, err := fmt.Sscanf(strings.Join(strings.Fields(string(info)), " "), "pos: %d flags: %o", &pos, &f); err != nil {
			t.Fatalf("%s: %v", info, err)
		}
		if f&unix.O_PATH == 0 {
			flags |= f
		}
	}
	return flags
}
