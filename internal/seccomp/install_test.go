// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/threads"
)

// The test binary installs the filter of actionEnv and does deedEnv, if they are there.
const (
	actionEnv = "SECCOMP_TEST_ACTION"
	deedEnv   = "SECCOMP_TEST_DEED"
)

var actions = map[string]Action{"kill": Kill, "trap": Trap, "log": Log}

func TestMain(m *testing.M) {
	action, filtered := actions[os.Getenv(actionEnv)]
	if !filtered {
		os.Exit(m.Run())
	}
	defer threads.Sleep(10)()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	if err := Install(action, Options{}); err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	if err := deeds[os.Getenv(deedEnv)](); err != nil {
		fmt.Println("failed:", err)
		return
	}
	fmt.Println("done")
}

// raw is a deed of one system call.
func raw(number uintptr, args ...uintptr) func() error {
	return func() error {
		args = append(args, make([]uintptr, 6)...)
		if _, _, e := syscall.Syscall6(number, args[0], args[1], args[2], args[3], args[4], args[5]); e != 0 {
			return e
		}
		return nil
	}
}

// fork makes a process that ends at once.
func fork() error {
	child, _, e := syscall.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
	if e != 0 {
		return e
	}
	for child == 0 {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return nil
}

// deeds are what a process may want to do. Those of forbidden are not for ours.
var deeds = map[string]func() error{
	"life":  life,
	"panic": func() error { panic("a panic of the test") },

	"exec":              func() error { return unix.Exec("/bin/true", []string{"true"}, nil) },
	"start":             func() error { return exec.Command("/bin/true").Run() },
	"network":           func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return err },
	"fork":              fork,
	"ptrace":            raw(unix.SYS_PTRACE, unix.PTRACE_ATTACH),
	"unshare":           raw(unix.SYS_UNSHARE, unix.CLONE_NEWUSER),
	"setns":             raw(unix.SYS_SETNS),
	"mount":             raw(unix.SYS_MOUNT),
	"code":              raw(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0)),
	"memory as code":    raw(unix.SYS_MPROTECT, 0, 0, unix.PROT_EXEC),
	"io_uring":          raw(unix.SYS_IO_URING_SETUP, 1),
	"bpf":               raw(unix.SYS_BPF),
	"userfaultfd":       raw(unix.SYS_USERFAULTFD),
	"by handle":         raw(unix.SYS_OPEN_BY_HANDLE_AT),
	"another's memory":  raw(unix.SYS_PROCESS_VM_READV, 1),
	"pidfd":             raw(unix.SYS_PIDFD_OPEN, 1),
	"signal to another": raw(unix.SYS_TGKILL, 1, 1),
	"keys":              raw(unix.SYS_KEYCTL),
	"connect":           raw(unix.SYS_CONNECT),
	"none such":         raw(100000),
}

// refused are deeds that fail with an errno, under each action.
var refused = map[string]struct {
	deed func() error
	want error
}{
	"clone3":       {raw(unix.SYS_CLONE3), unix.ENOSYS},
	"named memory": {raw(unix.SYS_PRCTL, unix.PR_SET_VMA), unix.EINVAL},
}

func init() {
	for name, r := range refused {
		deeds[name] = r.deed
	}
}

// do starts a process that does the deed under the action.
func do(action, deed string) (out string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a bound for a broken filter
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), actionEnv+"="+action, deedEnv+"="+deed, "GORACE=atexit_sleep_ms=0")
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// TestForbidden does each forbidden thing under each action.
func TestForbidden(t *testing.T) {
	for deed := range deeds {
		if _, ok := refused[deed]; ok || deed == "life" || deed == "panic" {
			continue
		}
		t.Run(deed, func(t *testing.T) {
			out, err := do("kill", deed)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGSYS || out != "" {
				t.Errorf("kill: %v, %q, want an end by SIGSYS", err, out)
			}
			// The runtime's own message, in a process whose stacks it can print.
			out, err = do("trap", deed)
			if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(out, "SIGSYS: bad system call") || !strings.Contains(out, "goroutine ") {
				t.Errorf("trap: %v, %q, want a message and stacks", err, out)
			}
			if out, err = do("log", deed); err != nil {
				t.Errorf("log: %v, %s", err, out)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for deed, r := range refused {
		for action := range actions {
			if out, err := do(action, deed); err != nil || out != "failed: "+r.want.Error()+"\n" {
				t.Errorf("%s, %s: %v, %q, want %q", deed, action, err, out, r.want)
			}
		}
	}
}

// TestLife: what every Go program does goes on under the filter, and a panic is told.
func TestLife(t *testing.T) {
	if out, err := do("kill", "life"); err != nil || out != "done\n" {
		t.Errorf("%v, %s", err, out)
	}
	out, err := do("kill", "panic")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(out, "panic: a panic of the test") || !strings.Contains(out, "install_test.go") {
		t.Errorf("panic: %v, %q", err, out)
	}
}

// life has threads come and go, memory collected, goroutines preempted, faults recovered from, files and
// pipes polled and timers run.
func life() error {
	if err := everyThreadFiltered(); err != nil {
		return err
	}
	stop := threads.Sleep(30)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { // locked to its end: the thread goes too
			runtime.LockOSThread()
			for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
			}
		})
		wg.Go(func() {
			defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			defer func() { _ = recover() }()
			var p *int
			*p = 1
		})
	}
	wg.Wait()
	for range 5 {
		_ = make([]byte, 16<<20)
		runtime.GC()
		debug.FreeOSMemory()
		time.Sleep(time.Millisecond)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	go func() { time.Sleep(10 * time.Millisecond); w.Close() }()
	if _, err := r.Read(make([]byte, 1)); err == nil {
		return errors.New("a read of a closed pipe")
	}
	r.Close()
	stop()
	return everyThreadFiltered()
}

func everyThreadFiltered() error {
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		return err
	}
	if len(tasks) < 10 {
		return fmt.Errorf("only %d threads", len(tasks))
	}
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil || !strings.Contains(string(status), "\nSeccomp:\t2\n") {
			return fmt.Errorf("%s has no filter: %v", task, err)
		}
	}
	return nil
}
