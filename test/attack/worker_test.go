// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/landlock"
)

var backdoorDaemon = sync.OnceValues(func() (string, error) { return build("backdoor", "-tags=backdoor") })

// attempt is something that a worker that was taken over may try.
type attempt struct {
	name string
	by   string // what stops it: letters of the layers below
	try  func(in *mole) bool
	safe bool // can be tried where nothing confines the worker
}

// The layers that stop attempts. An attempt is expected to fail where any of its layers is there.
const (
	byNamespaces   = "n" // --sandbox=namespace
	byRoot         = "r" // --sandbox=namespace or chroot: the share is all that there is
	byFilter       = "f" // --seccomp=kill
	byNoHandles    = "h" // --inode-file-handles=never
	byCapabilities = "c" // those that serving does not need are given up
	byLandlock     = "l" // --sandbox=chroot or none, where the kernel has it
)

var attempts = []attempt{
	{"open outside by path", byRoot + byLandlock, func(in *mole) bool { return in.opens(in.outside) }, true},
	{"open outside by ..", byRoot + byLandlock, func(in *mole) bool { return in.opens("../outside") || in.opens("../../outside") }, true},
	{"open outside by a link", byRoot + byLandlock, func(in *mole) bool { return in.opens("link") || in.opens("abs") }, true},
	{"open outside by /proc/self/root", byRoot + byLandlock, func(in *mole) bool { return in.opens("/proc/self/root" + in.outside) }, true},
	{"open outside by /proc/1/root", byRoot + byLandlock, func(in *mole) bool { return in.opens("/proc/1/root" + in.outside) }, true},
	{"open outside by handle", byNoHandles + byLandlock, func(in *mole) bool { return in.opensHandle(unix.O_RDONLY) }, true},
	{"O_PATH outside by handle", byNoHandles + byLandlock, func(in *mole) bool { return in.opensHandle(unix.O_PATH) }, true},
	{"write below /proc/sys", byRoot + byLandlock, func(in *mole) bool {
		return in.ok(unix.SYS_OPENAT, unix.AT_FDCWD, "/proc/sys/kernel/core_pattern", unix.O_WRONLY, 0)
	}, true},
	{"open a device", byNamespaces, opensDevice, true},
	{"execute a program of the share", byNamespaces + byFilter + byLandlock, executes, true},
	{"ptrace a process of the host", byNamespaces + byCapabilities + byFilter, func(in *mole) bool {
		return in.ok(unix.SYS_PTRACE, unix.PTRACE_SEIZE, os.Getpid(), 0, 0)
	}, true},
	{"signal a process of the host", byNamespaces + byFilter, func(in *mole) bool { return in.ok(unix.SYS_KILL, os.Getpid(), 0) }, true},
	{"take an fd of a process of the host", byNamespaces + byCapabilities + byFilter, func(in *mole) bool {
		fd, _, errno := in.call(unix.SYS_PIDFD_OPEN, os.Getpid(), 0)
		return errno == 0 && in.ok(unix.SYS_PIDFD_GETFD, fd, 1, 0)
	}, true},
	{"new mount namespace", byCapabilities + byFilter, func(in *mole) bool { return in.ok(unix.SYS_UNSHARE, unix.CLONE_NEWNS) }, true},
	{"new network namespace", byCapabilities + byFilter, func(in *mole) bool { return in.ok(unix.SYS_UNSHARE, unix.CLONE_NEWNET) }, true},
	{"enter a namespace", byCapabilities + byFilter, func(in *mole) bool {
		fd, _, errno := in.call(unix.SYS_PIDFD_OPEN, 1, 0)
		return errno == 0 && in.ok(unix.SYS_SETNS, fd, unix.CLONE_NEWUTS)
	}, false},
	{"mount", byCapabilities + byFilter + byLandlock, func(in *mole) bool { return in.ok(unix.SYS_MOUNT, "none", "/d", "tmpfs", 0, 0) }, false},
	{"chroot", byCapabilities + byFilter, func(in *mole) bool { return in.ok(unix.SYS_CHROOT, ".") }, false},
	{"new process", byFilter, func(in *mole) bool { return in.ok(unix.SYS_CLONE, int(unix.SIGCHLD), 0, 0, 0, 0) }, false},
	{"socket: internet", byFilter, socket(unix.AF_INET, unix.SOCK_STREAM), true},
	{"socket: unix", byFilter, socket(unix.AF_UNIX, unix.SOCK_STREAM), true},
	{"socket: netlink", byFilter, socket(unix.AF_NETLINK, unix.SOCK_RAW), true},
	{"socket: packet", byCapabilities + byFilter, socket(unix.AF_PACKET, unix.SOCK_RAW), true},
	{"memory to write and execute", byFilter, func(in *mole) bool {
		return in.ok(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0)
	}, true},
	{"memory written, then to execute", byFilter, func(in *mole) bool {
		at, _, errno := in.call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0)
		return errno == 0 && in.ok(unix.SYS_MPROTECT, at, 4096, unix.PROT_READ|unix.PROT_EXEC)
	}, true},
	{"io_uring", byFilter, func(in *mole) bool { return in.ok(unix.SYS_IO_URING_SETUP, 1, buffer(120)) }, true},
	{"userfaultfd", byFilter, func(in *mole) bool { return in.ok(unix.SYS_USERFAULTFD, 0) }, true},
	{"bpf", byCapabilities + byFilter, func(in *mole) bool { return in.ok(unix.SYS_BPF, 0, buffer(72), 72) }, true},
	{"perf", byCapabilities + byFilter, func(in *mole) bool { return in.ok(unix.SYS_PERF_EVENT_OPEN, buffer(112), 0, -1, -1, 0) }, true},
	{"keyrings", byFilter, func(in *mole) bool { return in.ok(unix.SYS_KEYCTL, 0, -3, 1, 0, 0) }, true},
}

func socket(domain, typ int) func(in *mole) bool {
	return func(in *mole) bool { return in.ok(unix.SYS_SOCKET, domain, typ, 0) }
}

// opensDevice makes the device of /dev/null in the share and opens it.
func opensDevice(in *mole) bool {
	for dir := -100; dir < 40; dir++ {
		if dir > -100 && dir < 0 {
			continue
		}
		in.call(unix.SYS_MKNODAT, dir, "device", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
		if in.ok(unix.SYS_OPENAT, dir, "device", unix.O_RDWR, 0) {
			return true
		}
	}
	return false
}

// executes runs a program that the host has put into the share: this daemon, which prints its usage.
func executes(in *mole) bool {
	bin, err := realDaemon()
	if err != nil {
		in.t.Fatal(err)
	}
	b, err := os.ReadFile(bin)
	if err == nil {
		err = os.WriteFile(filepath.Join(in.d.shares[0], "tool"), b, 0o755)
	}
	if err != nil {
		in.t.Fatal(err)
	}
	for dir := 3; dir < 40 && !in.dead; dir++ {
		in.call(unix.SYS_EXECVEAT, dir, "tool", 0, 0, 0)
	}
	if in.dead {
		in.d.waitEnd() // the program may print something first
	}
	return strings.Contains(in.d.output(), "--shared-dir")
}

// ways are the ways to run the daemon, and the layers that each has.
var ways = []struct {
	name   string
	args   []string
	layers string
}{
	{"as by default", nil, defaultLayers},
	{"--inode-file-handles=never", []string{"--inode-file-handles=never"}, defaultLayers + byNoHandles},
	{"--sandbox=chroot", []string{"--sandbox=chroot"}, without(defaultLayers, byNamespaces) + landlockLayer()},
	{"--sandbox=none", []string{"--sandbox=none"}, without(defaultLayers, byNamespaces, byRoot) + landlockLayer()},
}

func landlockLayer() string {
	if landlock.ABI() == 0 {
		return ""
	}
	return byLandlock
}

func without(layers string, gone ...string) string {
	for _, g := range gone {
		layers = strings.ReplaceAll(layers, g, "")
	}
	return layers
}

// TestWorkerTakenOver makes each attempt from inside a worker, in each way of running the daemon, and
// prints what came of it.
func TestWorkerTakenOver(t *testing.T) {
	bin, err := backdoorDaemon()
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]string, len(attempts))
	head := fmt.Sprintf("%-40s", "")
	for _, w := range ways {
		head += fmt.Sprintf(" %-28s", w.name)
		var in *mole
		for i, a := range attempts {
			if in == nil || in.dead { // the filter ends the process
				in = goInside(t, bin, w.args...)
				if !in.canRead() {
					t.Fatal("the backdoor cannot read a file of the share")
				}
			}
			stopped := strings.ContainsAny(w.layers, a.by)
			came := "not tried"
			if stopped || a.safe {
				came = outcome(a.try(in), in.dead)
			}
			if stopped && came == succeeded {
				t.Errorf("%s: %s", w.name, a.name)
			}
			rows[i] += fmt.Sprintf(" %-28s", came)
		}
		in.d.stop()
	}
	for i, a := range attempts {
		rows[i] = fmt.Sprintf("%-40s", a.name) + rows[i]
	}
	t.Logf("what a worker that was taken over can do\n%s\n%s", head, strings.Join(rows, "\n"))
}

const succeeded = "DONE"

func outcome(done, dead bool) string {
	switch {
	case done:
		return succeeded
	case dead:
		return "ended the worker"
	}
	return "refused"
}

// canRead reads a file of the share through the backdoor: else no failure would mean anything.
func (in *mole) canRead() bool {
	for dir := 3; dir < 40; dir++ {
		fd, _, errno := in.call(unix.SYS_OPENAT, dir, "f", unix.O_RDONLY, 0)
		if errno != 0 {
			continue
		}
		_, b, errno := in.call(unix.SYS_PREAD64, fd, buffer(8), 8, 0)
		if errno == 0 && strings.HasPrefix(string(b), "datadata") {
			return true
		}
	}
	return false
}

// TestNoBackdoor: users' builds have nothing of it.
func TestNoBackdoor(t *testing.T) {
	for tags, want := range map[string]bool{"": false, "backdoor": true} {
		out, err := exec.Command("go", "list", "-deps", "-tags="+tags, "../../cmd/virtiofsd-go").Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(out), "internal/backdoor\n"); got != want {
			t.Errorf("with the tags %q the backdoor is part of the command: %v", tags, got)
		}
	}
}
