// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sandbox"
)

// WorkerExit is the exit code, not 0, of a worker that has said itself what was wrong.
type WorkerExit int

func (e WorkerExit) Error() string { return fmt.Sprintf("the worker ended with exit code %d", int(e)) }

// Run serves one VMM for each share as cfg, which is valid, says. It returns nil when all of them
// have gone or a signal has stopped it cleanly, and after an error the process shall end. It logs to
// stderr or the system's log. It is called on the main thread.
func Run(cfg config.Config, stderr io.Writer) error {
	log, syslog := openLog(cfg, stderr)
	err := run(cfg, log, syslog)
	var told WorkerExit
	if err != nil && syslog != nil && !errors.As(err, &told) {
		log.Error("The daemon ends", zap.Error(err)) // standard error, where it is told too, may not be looked at
	}
	return err
}

func run(cfg config.Config, log *zap.Logger, syslog *os.File) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passedOn(cfg)...)
	defer signal.Stop(signals)
	// Go ends a process that writes to a standard error that nobody reads any more.
	signal.Ignore(unix.SIGPIPE)
	if err := dropGroups(log); err != nil {
		return err
	}
	if err := setFileLimit(cfg.RLimitNoFile, log); err != nil {
		return err
	}
	budget, err := fdBudget(len(cfg.Shares))
	if err != nil {
		return err
	}
	sockets, err := openSockets(cfg.Shares, log)
	if err != nil {
		return err
	}
	defer closeSockets(sockets)
	w, err := startWorker(job{Config: cfg, Budget: budget, Parent: os.Getpid(), Syslog: syslog != nil}, sockets, syslog)
	if err != nil {
		return err
	}
	if err := giveUpRights(sockets); err != nil {
		w.Kill()
		return err
	}
	return attend(w, sockets, signals, log)
}

// passedOn are the signals for the worker. SIGQUIT has it print what its goroutines do, and end.
func passedOn(cfg config.Config) []os.Signal {
	all := append(stopSignals(), unix.SIGQUIT)
	if slices.ContainsFunc(cfg.Shares, func(s config.Share) bool { return len(s.Faults) > 0 }) {
		all = append(all, unix.SIGUSR1)
	}
	return all
}

// startWorker starts the worker, which takes over the sockets. They stay open here, so that whoever asks
// for the process that has a socket finds this one.
func startWorker(j job, sockets []*socket, syslog *os.File) (*sandbox.Worker, error) {
	if sandbox.NeedsProc && j.Config.Sandbox == config.SandboxChroot {
		return nil, errors.New("this program is built with cgo, and --sandbox chroot works without it only: build it by make, or with CGO_ENABLED=0")
	}
	j.Config.Notices = nil
	spec := sandbox.Spec{Mode: sandbox.Mode(j.Config.Sandbox)} // the same words
	var err error
	if spec.UIDs, err = idmap.ParseRanges(j.Config.UIDMap); err != nil {
		return nil, fmt.Errorf("--uid-map: %w", err)
	}
	if spec.GIDs, err = idmap.ParseRanges(j.Config.GIDMap); err != nil {
		return nil, fmt.Errorf("--gid-map: %w", err)
	}
	for i, s := range sockets {
		spec.Shares = append(spec.Shares, j.Config.Shares[i].SharedDir)
		f, err := s.File()
		if err != nil {
			return nil, fmt.Errorf("the socket, for the worker: %w", err)
		}
		defer f.Close()
		spec.Files = append(spec.Files, f)
	}
	if syslog != nil {
		spec.Files = append(spec.Files, syslog)
	}
	var job bytes.Buffer
	if err := gob.NewEncoder(&job).Encode(j); err != nil {
		return nil, fmt.Errorf("the worker's job: %w", err)
	}
	spec.Job = job.Bytes()
	return sandbox.Start(spec)
}

// attend does what the worker asks for and passes signals on, until the worker ends.
func attend(w *sandbox.Worker, sockets []*socket, signals <-chan os.Signal, log *zap.Logger) error {
	events := make(chan sandbox.Event)
	go func() {
		defer close(events)
		for {
			e, ok := w.Next()
			if !ok {
				return
			}
			events <- e
		}
	}()
	var early []os.Signal // a worker that is not ready yet would be ended, or not hear them
	ready := false
	for {
		select {
		case s := <-signals:
			if ready {
				w.Signal(s)
			} else {
				early = append(early, s)
			}
		case e, ok := <-events:
			if !ok {
				return outcome(w)
			}
			handle(e, w, sockets, log)
			if e.Kind == sandbox.Ready {
				ready = true
				for _, s := range early {
					w.Signal(s)
				}
			}
		}
	}
}

// handle does what the worker asks for.
func handle(e sandbox.Event, w *sandbox.Worker, sockets []*socket, log *zap.Logger) {
	switch e.Kind {
	case sandbox.Ready:
		notify("READY=1", log)
		w.Confirm()
	case sandbox.Stopping:
		notify("STOPPING=1", log)
	case sandbox.Ended:
		if e.Share < len(sockets) {
			sockets[e.Share].Close()
		}
		w.Confirm()
	}
}

// outcome waits for the worker, which has nothing to tell any more, and says how it ended.
func outcome(w *sandbox.Worker) error {
	state, err := w.Wait()
	if err != nil {
		return fmt.Errorf("waiting for the worker: %w", err)
	}
	if s, ok := state.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		hint := ""
		if s.Signal() == unix.SIGSYS {
			hint = ": it has made a system call that it has no use for (the host's kernel log says which, and --seccomp log lets it go on)"
		}
		return fmt.Errorf("the worker was ended by %s%s", unix.SignalName(s.Signal()), hint)
	}
	if code := state.ExitCode(); code != 0 {
		return WorkerExit(code)
	}
	return nil
}
