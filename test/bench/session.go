// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// server is a running daemon.
type server interface {
	Pids() []int
	Close() error // waits for its end, after its VMM has gone
	Kill()
}

// target is a daemon with its options: a line of each row.
type target struct {
	name  string
	peer  bool // somebody else's daemon
	start func(share, socket string) (s server, ready time.Duration, err error)
}

// session is a guest on a freshly started daemon, with the clients of one workload.
type session struct {
	tree   *tree
	depth  int // of each client
	server server
	ready  time.Duration // from the daemon's start until a VMM could connect

	vm      *frontend.VM
	driver  *frontend.Driver
	engines []*engine
	tmp     string
}

// errQueues says that a daemon offers fewer request queues than a workload wants.
var errQueues = errors.New("offers fewer request queues")

// broken is what the front-end panics with when a daemon breaks the protocol.
type broken struct{ error }

func (b broken) Unwrap() error { return b.error }

// catch turns such a panic into the error that err points to.
func catch(err *error) {
	switch p := recover().(type) {
	case nil:
	case broken:
		*err = p
	default:
		panic(p)
	}
}

// startSession starts the daemon, boots a guest on it and opens what the workload needs.
func startSession(t target, w workload, depth int, tr *tree) (s *session, err error) {
	queues := max(w.queues, 1)
	s = &session{tree: tr, depth: max(depth/queues, 1)}
	defer catch(&err)
	defer func() {
		if err != nil {
			s.kill()
		}
	}()
	if s.tmp, err = os.MkdirTemp("", "virtiofsd-go-bench-"); err != nil {
		return s, err
	}
	socket := filepath.Join(s.tmp, "s")
	if s.server, s.ready, err = t.start(tr.dir, socket); err != nil {
		return s, err
	}
	s.vm, err = frontend.Connect(socket, frontend.Options{
		Memory: []frontend.MemSpec{{Size: 256 * mib}},
		Queues: queues, RingSize: w.ring(), Timeout: time.Minute,
		Fail: func(err error) { panic(broken{err}) },
	})
	if queues > 1 && errors.Is(err, frontend.ErrReply) {
		err = errQueues
	}
	if err != nil {
		return s, err
	}
	s.driver = s.vm.Start()
	s.driver.MustInit()
	return s, s.open(w, queues)
}

// open makes an engine for each queue.
func (s *session) open(w workload, queues int) error {
	for i := range queues {
		c := s.driver.On(i)
		sc, err := w.script(s, c)
		if err != nil {
			return err
		}
		if d, ok := sc.(*dataScript); ok {
			d.at, d.step = int64(i), int64(queues)
		}
		s.engines = append(s.engines, newEngine(c, sc, s.depth))
	}
	return nil
}

// run has all engines run, each on a thread of its own.
func (s *session) run(d time.Duration, min int) error {
	errs := make([]error, len(s.engines))
	var wg sync.WaitGroup
	for i, e := range s.engines {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			defer catch(&errs[i])
			errs[i] = e.run(d, min)
		})
	}
	wg.Wait()
	return errors.Join(append(errs, s.driver.Settle())...)
}

// end powers the guest off and waits for the daemon.
func (s *session) end() error {
	defer s.kill()
	s.vm.Close()
	s.vm = nil
	if err := s.server.Close(); err != nil {
		return fmt.Errorf("the daemon: %w", err)
	}
	return nil
}

// kill ends everything at once. It can be called again.
func (s *session) kill() {
	if s.vm != nil {
		s.vm.Close()
	}
	if s.server != nil {
		s.server.Kill()
	}
	if s.tmp != "" {
		os.RemoveAll(s.tmp)
	}
	s.vm, s.server, s.tmp = nil, nil, ""
}

// notifications adds up what the queues have counted.
func (s *session) notifications() (kicks, signals uint64) {
	for i := range len(s.engines) + 1 {
		q := s.driver.Queue(i)
		kicks, signals = kicks+q.Kicks, signals+q.Signals
	}
	return kicks, signals
}
