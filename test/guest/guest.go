// SPDX-License-Identifier: Apache-2.0

// Package guest boots real Linux guests, under QEMU and under user-mode Linux, from Debian
// packages that it fetches into a cache, and runs commands in them. Guests have an ordinary
// Debian root, read-only, with tmpfs on /tmp and /mnt and this module's test programs in /tools.
package guest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// BootTime is how long a guest may take from its start until its agent runs.
const BootTime = 60 * time.Second

// Share is a virtio-fs device of a guest.
type Share struct {
	Socket string // the daemon's vhost-user socket
	Tag    string // user-mode Linux asks the daemon for it instead
	Queues int    // request queues; 0: one
}

// Spec says what guest to boot.
type Spec struct {
	Kind   Kind
	Mem    int // MiB; 0: 512
	CPUs   int // 0: one; user-mode Linux has no more
	Shares []Share
	Args   []string // further arguments of QEMU or user-mode Linux
}

// Guest is a running guest. Close must be called.
type Guest struct {
	Spec
	dir     string
	proc    *process
	console *console
	ctl     *control
	qmp     *QMP
}

// Start boots a guest and returns when its agent runs. The error of a guest that does not get
// there holds the end of its console.
func Start(s Spec, say func(format string, a ...any)) (*Guest, error) {
	if s.Mem == 0 {
		s.Mem = 512
	}
	if s.CPUs == 0 {
		s.CPUs = 1
	}
	kit, err := prepare(s.Kind, say)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", s.Kind, err)
	}
	dir, err := tempDir("guest-")
	if err != nil {
		return nil, err
	}
	g := &Guest{Spec: s, dir: dir, console: newConsole()}
	if err := g.launch(kit); err != nil {
		g.Close()
		return nil, fmt.Errorf("start %s: %w\n%s", s.Kind, err, g.Console())
	}
	if err := g.waitBoot(0, BootTime); err != nil {
		g.Close()
		return nil, fmt.Errorf("boot %s: %w; the end of its console:\n%s", s.Kind, err, g.Console())
	}
	return g, nil
}

// launch starts the guest's process with its lines to the agent and the monitor.
func (g *Guest) launch(k *kit) error {
	agent, agentPeer, err := socketPair()
	if err != nil {
		return err
	}
	defer agentPeer.Close()
	g.ctl = newControl(agent)
	extra := []*os.File{agentPeer}
	var monitor net.Conn
	var argv []string
	if g.Kind.IsUML() {
		argv, err = umlArgs(k, g.Spec, g.dir)
	} else {
		var peer *os.File
		if monitor, peer, err = socketPair(); err != nil {
			return err
		}
		defer peer.Close()
		extra = append(extra, peer)
		argv = qemuArgs(k, g.Spec)
	}
	if err != nil {
		return err
	}
	g.proc, err = spawn(argv, g.console, extra, func(c *exec.Cmd) {
		if g.Kind.IsUML() {
			c.Env = append(os.Environ(), "TMPDIR=/dev/shm")
		}
	})
	if err == nil && monitor != nil {
		g.qmp, err = newQMP(monitor)
	}
	return err
}

// waitBoot waits until more than boots agents have said hello.
func (g *Guest) waitBoot(boots int, limit time.Duration) error {
	stop := time.After(limit)
	for {
		next, n := g.ctl.nextBoot()
		if n > boots {
			return nil
		}
		select {
		case <-next:
		case <-g.console.broken:
			return fmt.Errorf("kernel trouble: %s", g.console.problem())
		case <-g.proc.done:
			return fmt.Errorf("the guest ended: %w", errors.Join(g.proc.err, ErrGone))
		case <-stop:
			return fmt.Errorf("no agent after %v", limit)
		}
	}
}

// Console returns the last lines that the guest's kernel, and QEMU, have printed.
func (g *Guest) Console() string { return g.console.tail(60) }

// QMP returns QEMU's monitor; nil for user-mode Linux.
func (g *Guest) QMP() *QMP { return g.qmp }

// Go starts a shell command in the guest; the guest kills it after limit.
func (g *Guest) Go(script string, limit time.Duration) (*Command, error) {
	return g.ctl.start(script, limit)
}

// Wait waits for a command that Go has started.
func (g *Guest) Wait(cmd *Command, limit time.Duration) (out string, code int, err error) {
	stop := make(chan time.Time, 1)
	timer := time.AfterFunc(limit, func() { stop <- time.Time{} })
	defer timer.Stop()
	watch := make(chan struct{})
	defer close(watch)
	go func() {
		select {
		case <-watch:
		case <-g.console.broken:
			stop <- time.Time{}
		case <-g.proc.done:
			stop <- time.Time{}
		}
	}()
	out, code, err = cmd.wait(stop)
	if p := g.console.problem(); p != "" {
		err = errors.Join(err, fmt.Errorf("kernel trouble: %s", p))
	}
	return out, code, err
}

// Do runs a shell command in the guest and returns its output (both streams) and exit status.
func (g *Guest) Do(script string, limit time.Duration) (out string, code int, err error) {
	cmd, err := g.Go(script, limit)
	if err != nil {
		return "", 0, err
	}
	// The guest's own limit comes first; the rest is for a guest that is stuck.
	return g.Wait(cmd, limit+30*time.Second)
}

// Close ends the guest at once and releases what it holds. It may be called again.
func (g *Guest) Close() {
	if g.proc != nil {
		g.proc.kill()
	}
	if g.qmp != nil {
		g.qmp.conn.Close()
	}
	if g.ctl != nil {
		g.ctl.conn.Close()
	}
	os.RemoveAll(g.dir)
}

// socketPair returns a connected pair of stream sockets: our end and the guest's.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}
