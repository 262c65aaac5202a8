// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// countTime is how long system calls are counted in a cell, at most.
const countTime = 200 * time.Millisecond

// countRow counts the system calls of each daemon in the row: in a run of its own, as strace slows
// the daemon down. That makes batches larger, so at depth 1 the numbers are exact, and at larger
// depths those around waking up are a little low.
func (p plan) countRow(r *row, tr *tree) {
	for i, t := range p.targets {
		c := r.cells[i]
		if len(c.Samples) == 0 || r.w.hol {
			continue
		}
		calls, err := countCell(t, r.w, r.depth, tr, min(countTime, p.time))
		if c.Calls = calls; err != nil {
			c.Failed = fmt.Sprintf("while its system calls were counted: %v", err)
			p.say("%s failed: %s", c.Daemon, c.Failed)
		}
	}
}

func countCell(t target, w workload, depth int, tr *tree, d time.Duration) (calls map[string]float64, err error) {
	s, err := startSession(t, w, depth, tr)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	if err := s.run(0, s.warmUp()); err != nil {
		return nil, err
	}
	file := filepath.Join(s.tmp, "calls")
	tracer, err := attach(s.server.Pids(), file)
	if err != nil {
		return nil, err
	}
	runErr := s.run(d, 1)
	if err := errors.Join(runErr, tracer.stop()); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	ops := 0
	for _, e := range s.engines {
		ops += e.ops
	}
	calls, err = parseCalls(string(text))
	for name := range calls {
		calls[name] /= float64(ops)
	}
	return calls, errors.Join(err, s.end())
}

// strace is strace attached to a daemon.
type strace struct{ cmd *exec.Cmd }

// attach has strace count the calls of all threads of the processes, into file, and returns when
// it does.
func attach(pids []int, file string) (*strace, error) {
	args := []string{"-c", "-f", "-q", "-U", "calls,name", "-o", file}
	for _, pid := range pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	t := &strace{exec.Command("strace", args...)}
	var errs strings.Builder
	t.cmd.Stderr = &errs
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); !traced(pids); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("strace does not attach: %s", errs.String()), t.stop())
		}
	}
	return t, nil
}

// traced tells whether all threads of the processes have a tracer.
func traced(pids []int) bool {
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil || len(tasks) == 0 {
			return false
		}
		for _, task := range tasks {
			if f, err := fields(task); err == nil && f["TracerPid"] == 0 {
				return false
			}
		}
	}
	return true
}

// stop detaches strace, which writes its table then.
func (t *strace) stop() error {
	if err := t.cmd.Process.Signal(unix.SIGINT); err != nil {
		return err
	}
	err := t.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.ExitCode() == 130 || exit.Sys().(interface{ Signaled() bool }).Signaled()) {
		return nil // strace ends as it was asked to
	}
	return err
}

// parseCalls reads the table that strace -c -U calls,name writes.
func parseCalls(text string) (map[string]float64, error) {
	calls := map[string]float64{}
	for l := range strings.SplitSeq(text, "\n") {
		w := strings.Fields(l)
		if len(w) != 2 || w[1] == "total" || w[1] == "syscall" || strings.HasPrefix(w[0], "-") {
			continue
		}
		n, err := strconv.ParseFloat(w[0], 64)
		if err != nil {
			return nil, fmt.Errorf("strace wrote %q", l)
		}
		calls[w[1]] = n
	}
	if len(calls) == 0 {
		return nil, fmt.Errorf("strace counted nothing: %q", text)
	}
	return calls, nil
}
