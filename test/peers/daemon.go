// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// readyLine is in what all daemons print when a VMM can connect.
const readyLine = "Waiting for vhost-user socket connection"

// patience is how long a daemon may take to get ready, and to end when its VMM has gone.
const patience = 20 * time.Second

// Daemon is a running daemon. It serves one VMM and ends when that goes. Close must be called.
type Daemon struct {
	// Ready is how long it took from its start until a VMM could connect.
	Ready time.Duration

	cmd  *exec.Cmd
	log  *output
	done chan struct{} // closed when all of its processes have been waited for or killed
	err  error         // how it ended; valid after done
}

// starter starts processes on one thread that lives as long as this process: the parent-death
// signal follows the thread that forked (prctl(2), PR_SET_PDEATHSIG).
var starter = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
})

// Argv is the command that runs the daemon with arguments of its own.
func (p Peer) Argv(args ...string) []string {
	return append(p.command[:len(p.command):len(p.command)], args...)
}

// Start starts the daemon on the directory share and returns when a VMM can connect to socket, a
// path whose directory exists.
func (p Peer) Start(share, socket string, o Options) (*Daemon, error) {
	if p.Err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, p.Err)
	}
	args, err := p.args(share, socket, o)
	if err != nil {
		return nil, err
	}
	argv := p.Argv(args...)
	d := &Daemon{cmd: exec.Command(argv[0], argv[1:]...), log: &output{ready: make(chan struct{})}, done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	d.cmd.WaitDelay = time.Second
	begin := time.Now()
	started := make(chan error)
	starter() <- func() { started <- d.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	go d.wait()
	select {
	case <-d.log.ready:
		d.Ready = time.Since(begin)
		return d, nil
	case <-d.done:
		err = fmt.Errorf("%s ended at once: %w", p.Name, d.err)
	case <-time.After(patience):
		err = fmt.Errorf("%s is not ready after %v", p.Name, patience)
		d.kill()
	}
	return nil, fmt.Errorf("%w\n%s", err, d.Log())
}

// wait waits for the first process to end, kills what is left of its group and only then frees
// its process id: so the signal cannot hit a stranger.
func (d *Daemon) wait() {
	pid := d.cmd.Process.Pid
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = unix.Kill(-pid, unix.SIGKILL) // ESRCH: nobody is left
	if d.err = d.cmd.Wait(); d.err == nil {
		d.err = errEnded
	}
	close(d.done)
}

var errEnded = errors.New("exit status 0")

func (d *Daemon) kill() {
	_ = unix.Kill(-d.cmd.Process.Pid, unix.SIGKILL) // ESRCH: it is gone
	<-d.done
}

// Close waits for the daemon to end, which it does when its VMM has gone, and kills it if it does
// not. The error says what was wrong with its end.
func (d *Daemon) Close() error {
	select {
	case <-d.done:
	case <-time.After(patience):
		d.kill()
		return fmt.Errorf("it still ran %v after its VMM had gone\n%s", patience, d.Log())
	}
	if !errors.Is(d.err, errEnded) {
		return fmt.Errorf("it ended with %w\n%s", d.err, d.Log())
	}
	return nil
}

// Kill ends the daemon at once; Close afterwards is not needed.
func (d *Daemon) Kill() {
	select {
	case <-d.done:
	default:
		d.kill()
	}
}

// Log is what the daemon has printed.
func (d *Daemon) Log() string { return d.log.String() }

// Pids are the daemon's processes as of now, the first one first: sandboxes fork.
func (d *Daemon) Pids() []int {
	all := []int{d.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children(all[i])...)
	}
	return all
}

// children reads the processes that any thread of a process has forked (proc(5),
// /proc/pid/task/tid/children).
func children(pid int) []int {
	var pids []int
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, _ := os.ReadDir(dir) // a process that has gone has no children
	for _, t := range tasks {
		b, _ := os.ReadFile(dir + "/" + t.Name() + "/children")
		for w := range strings.FieldsSeq(string(b)) {
			if n, err := strconv.Atoi(w); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// output keeps what a daemon prints.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan struct{} // closed when readyLine has come
	seen  bool
}

// Write implements io.Writer.
func (l *output) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if !l.seen && strings.Contains(l.text.String(), readyLine) {
		l.seen = true
		close(l.ready)
	}
	return len(p), nil
}

func (l *output) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
