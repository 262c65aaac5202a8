// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that runs beside the test: a guest or a daemon. It has its own process
// group, and the kernel kills it when this process ends.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has been waited for
	err  error         // of Wait; valid after done
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

// spawn starts argv with its output going to out and extra files as descriptors 3 and up. The
// caller keeps the files. configure, when not nil, completes the command before it starts.
func spawn(argv []string, out io.Writer, extra []*os.File, configure func(*exec.Cmd)) (*process, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = extra
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second // a grandchild may hold the output open
	if configure != nil {
		configure(cmd)
	}
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go p.wait()
	return p, nil
}

// wait waits for the leader to end, kills what is left of its group and only then frees its
// process id: so the signal cannot hit a stranger.
func (p *process) wait() {
	pid := p.cmd.Process.Pid
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	// ESRCH: nobody is left. A pid of an unwaited child cannot be a stranger's.
	_ = unix.Kill(-pid, unix.SIGKILL)
	p.err = p.cmd.Wait()
	close(p.done)
}

// kill ends the whole process group and waits for its leader.
func (p *process) kill() {
	// An error means that it is gone already.
	_ = p.cmd.Process.Kill()
	<-p.done
}
