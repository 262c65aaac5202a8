// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// readyLine is what this daemon and its peers print when a VMM can connect.
const readyLine = "Waiting for vhost-user socket connection..."

// daemonTime is how long a daemon may take to get ready and to end.
const daemonTime = 20 * time.Second

// Daemon is a running virtio-fs daemon that serves one socket. Close must be called.
type Daemon struct {
	Socket string
	dir    string
	proc   *process
	log    *daemonLog
}

// daemonLog keeps what a daemon prints.
type daemonLog struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ready chan struct{} // closed when readyLine has come
	seen  bool
}

// Write implements io.Writer.
func (l *daemonLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if !l.seen && strings.Contains(l.text.String(), readyLine) {
		l.seen = true
		close(l.ready)
	}
	return len(p), nil
}

func (l *daemonLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// buildDaemon builds the daemon, plain and with the race detector, once a process each.
var (
	buildDaemon     = sync.OnceValues(func() (string, error) { return buildOne(daemonTool) })
	buildRaceDaemon = sync.OnceValues(func() (string, error) { return buildOne(raceDaemonTool) })
)

func buildOne(t tool) (string, error) {
	dir, err := workDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, t.name), t.buildIn(dir)
}

// DaemonEnv names the environment variable with another daemon to run the guests on, one with
// the same options. It is for comparing; results with it say nothing about this daemon.
const DaemonEnv = "VIRTIOFSD_GO_DAEMON"

// DaemonSpec says what daemon to start.
type DaemonSpec struct {
	Shared string   // directory of the host
	Tag    string   // user-mode Linux learns it from the daemon
	Args   []string // further options
	Shares []string // options of each of several shares of Shared, instead of Tag
	Race   bool     // with the race detector: slow, and a race ends it with status 66
	Wrap   []string // a command that runs the daemon's, e.g. prlimit with options
}

// StartDaemon builds and starts the daemon and returns when a VMM can connect.
func StartDaemon(s DaemonSpec) (*Daemon, error) {
	bin, err := os.Getenv(DaemonEnv), error(nil)
	switch {
	case bin != "":
	case s.Race:
		bin, err = buildRaceDaemon()
	default:
		bin, err = buildDaemon()
	}
	if err != nil {
		return nil, err
	}
	return startDaemon(func(socket string) []string {
		argv := append(slices.Clone(s.Wrap), bin)
		for i, options := range s.Shares {
			argv = append(argv, fmt.Sprintf("--share=%s,socket=%s%d,%s", s.Shared, socket, i, options))
		}
		if len(s.Shares) == 0 {
			argv = append(argv, "--socket-path="+socket, "--shared-dir="+s.Shared, "--tag="+s.Tag)
		}
		return append(argv, s.Args...)
	})
}

// SocketOf is the socket of one of several shares.
func (d *Daemon) SocketOf(share int) string { return fmt.Sprint(d.Socket, share) }

func startDaemon(argv func(socket string) []string) (*Daemon, error) {
	dir, err := tempDir("daemon-")
	if err != nil {
		return nil, err
	}
	d := &Daemon{Socket: filepath.Join(dir, "sock"), dir: dir, log: &daemonLog{ready: make(chan struct{})}}
	d.proc, err = spawn(argv(d.Socket), d.log, nil, nil)
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	select {
	case <-d.log.ready:
		return d, nil
	case <-d.proc.done:
		err = fmt.Errorf("the daemon ended: %w", errors.Join(d.proc.err, ErrGone))
	case <-time.After(daemonTime):
		err = fmt.Errorf("the daemon is not ready after %v", daemonTime)
	}
	d.Close()
	return nil, fmt.Errorf("%w\n%s", err, d.Log())
}

// Log returns what the daemon has printed.
func (d *Daemon) Log() string { return d.log.String() }

// Pid returns the daemon's process id.
func (d *Daemon) Pid() int { return d.proc.cmd.Process.Pid }

// Worker returns the id of the process that serves: the last one of a chain of children, as sandboxes fork.
func (d *Daemon) Worker() int {
	pid := d.Pid()
	for {
		children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		child := 0
		for _, path := range children {
			text, _ := os.ReadFile(path) // a thread that has just ended has none
			fmt.Sscan(string(text), &child)
		}
		if child == 0 {
			return pid
		}
		pid = child
	}
}

// Wait waits until the daemon has ended by itself and returns how it did: nil for status 0.
func (d *Daemon) Wait() error {
	select {
	case <-d.proc.done:
		return d.proc.err
	case <-time.After(daemonTime):
		return fmt.Errorf("the daemon still runs after %v", daemonTime)
	}
}

// Stop asks the daemon to end and returns how it did.
func (d *Daemon) Stop() error {
	if err := d.proc.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return d.Wait()
}

// Close kills the daemon if it still runs and removes its files.
func (d *Daemon) Close() {
	d.proc.kill()
	os.RemoveAll(d.dir)
}
