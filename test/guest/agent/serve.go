// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/proto"
)

// line is the serial line to the test. mu keeps replies whole; it guards writes only.
type line struct {
	f  *os.File
	mu sync.Mutex
}

// agentMain serves the serial line named by the first argument until it breaks.
func agentMain() error {
	if len(os.Args) != 2 {
		return errors.New("usage: agent DEVICE")
	}
	f, err := os.OpenFile(os.Args[1], os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	if err := makeRaw(int(f.Fd())); err != nil {
		return fmt.Errorf("%s: %w", os.Args[1], err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	l := &line{f: f}
	// A newline first: whatever stood on the line before is noise of its own.
	if _, err := f.WriteString("\n"); err != nil {
		return err
	}
	l.send(proto.Reply{Hello: strings.TrimSpace(string(boot))})
	in := bufio.NewReader(f)
	for {
		text, err := in.ReadBytes('\n')
		if err != nil {
			return err
		}
		var r proto.Request
		if json.Unmarshal(text, &r) == nil && len(r.Argv) > 0 {
			go l.run(r)
		}
	}
}

// makeRaw turns off everything that a terminal line does to bytes, as cfmakeraw(3) does.
func makeRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8 | unix.CLOCAL
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

func (l *line) send(r proto.Reply) {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // Reply holds only strings, bytes and numbers
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.f.Write(append(text, '\n')); err != nil {
		fmt.Fprintln(os.Stderr, "agent: serial line:", err)
		os.Exit(1)
	}
}

// output sends what a command writes, in pieces.
type output struct {
	l  *line
	id uint64
}

// Write implements io.Writer.
func (o output) Write(p []byte) (int, error) {
	o.l.send(proto.Reply{ID: o.id, Out: p})
	return len(p), nil
}

// run carries out one command. At the time limit it kills the command's process group and
// answers at once: a process that hangs in the kernel cannot be waited for.
func (l *line) run(r proto.Request) {
	cmd := exec.Command(r.Argv[0], r.Argv[1:]...)
	cmd.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LC_ALL=C",
	}, r.Env...)
	cmd.Dir = "/"
	out := output{l, r.ID}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // a background child may keep the output open
	if err := cmd.Start(); err != nil {
		l.send(proto.Reply{ID: r.ID, Done: true, Code: 127, Err: err.Error()})
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var limit <-chan time.Time
	if r.Timeout > 0 {
		limit = time.After(time.Duration(r.Timeout) * time.Millisecond)
	}
	select {
	case err := <-ended:
		l.send(status(r.ID, cmd, err))
	case <-limit:
		// The group may be gone already; then there is nothing to kill.
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		l.send(proto.Reply{ID: r.ID, Done: true, Code: 124, Err: "time limit in the guest"})
	}
}

func status(id uint64, cmd *exec.Cmd, err error) proto.Reply {
	r := proto.Reply{ID: id, Done: true}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		r.Code = ws.ExitStatus()
		if ws.Signaled() {
			r.Code = 128 + int(ws.Signal())
		}
		return r
	}
	if err != nil {
		r.Err = err.Error()
	}
	return r
}
