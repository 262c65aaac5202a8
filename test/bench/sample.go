// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"time"
)

// Sample is what one run of a workload has given. Numbers "per operation" are of the daemon with
// all its processes and threads.
type Sample struct {
	Ops     int     // operations
	Seconds float64 // that they took
	P50     float64 // latency of an operation, µs
	P99     float64
	P999    float64
	CPU     float64 // µs of CPU time, user and system, per operation; 0: cannot be told
	// Waits and Preempted are context switches per operation: because a thread had to wait, which
	// ends in a wake-up, and because another one was to run.
	Waits, Preempted float64
	Kicks            float64 // notifications of the device per operation
	Signals          float64 // and of the driver
	Anon, RSS        float64 // MiB at the end: the daemon's own memory; all that is resident, the guest's pages included
	Ready            float64 // ms from the daemon's start until a VMM could connect
	Others           float64 // CPUs that were busy with neither the daemon nor the benchmark
}

// OpsPerSecond is the rate.
func (s Sample) OpsPerSecond() float64 { return float64(s.Ops) / s.Seconds }

// state is everything that is read before and after a run.
type state struct {
	at             time.Time
	usage          usage
	kicks, signals uint64
	busy, own      time.Duration
}

func (s *session) state() (st state, err error) {
	if st.usage, err = measure(s.server.Pids()); err != nil {
		return st, err
	}
	if st.busy, err = busy(); err != nil {
		return st, err
	}
	st.own, err = ownCPU()
	for _, e := range s.engines {
		e.c.Queue().TakeSignals()
	}
	st.kicks, st.signals = s.notifications()
	st.at = time.Now()
	return st, err
}

// sample makes the figures of the operations between two states.
func (s *session) sample(from, to state, ops int, lat []uint32) (Sample, error) {
	if ops == 0 || len(lat) == 0 {
		return Sample{}, fmt.Errorf("no operation was completed")
	}
	n := float64(ops)
	slices.Sort(lat)
	cpu := to.usage.cpu - from.usage.cpu
	elapsed := to.at.Sub(from.at)
	return Sample{
		Ops: ops, Seconds: elapsed.Seconds(),
		P50: quantile(lat, 0.5), P99: quantile(lat, 0.99), P999: quantile(lat, 0.999),
		CPU:       micros(cpu) / n,
		Waits:     float64(to.usage.waits-from.usage.waits) / n,
		Preempted: float64(to.usage.preempted-from.usage.preempted) / n,
		Kicks:     float64(to.kicks-from.kicks) / n,
		Signals:   float64(to.signals-from.signals) / n,
		Anon:      float64(to.usage.anon) / mib, RSS: float64(to.usage.rss) / mib,
		Ready:  micros(s.ready) / 1000,
		Others: max(0, float64(to.busy-from.busy-cpu-(to.own-from.own))/float64(elapsed)),
	}, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// quantile of sorted nanoseconds, in µs.
func quantile(sorted []uint32, q float64) float64 {
	return float64(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]) / 1000
}

// measureCell is one run: a fresh daemon, a warm-up, the measurement, and a look at what the host
// has now.
func measureCell(t target, w workload, depth int, tr *tree, d time.Duration) (Sample, error) {
	s, err := startSession(t, w, depth, tr)
	if err != nil {
		return Sample{}, err
	}
	defer s.kill()
	if err := s.run(d/10, s.warmUp()); err != nil {
		return Sample{}, err
	}
	for _, e := range s.engines {
		e.pause = w.pause
	}
	var out Sample
	if w.hol {
		out, err = s.behindFsync(d)
	} else {
		out, err = s.timed(d)
	}
	if err != nil {
		return out, err
	}
	if err := s.end(); err != nil {
		return out, err
	}
	if w.writes {
		if err := tr.verify(); err != nil {
			return out, err
		}
		return out, tr.settle()
	}
	return out, nil
}

// warmUp is how many operations make each engine touch everything once.
func (s *session) warmUp() int {
	if d, ok := s.engines[0].script.(*dataScript); ok {
		return int(d.units) / len(s.engines)
	}
	return len(s.tree.names)
}

func (s *session) timed(d time.Duration) (Sample, error) {
	from, err := s.state()
	if err != nil {
		return Sample{}, err
	}
	if err := s.run(d, 1); err != nil {
		return Sample{}, err
	}
	to, err := s.state()
	if err != nil {
		return Sample{}, err
	}
	var lat []uint32
	ops := 0
	for _, e := range s.engines {
		lat, ops = append(lat, e.lat...), ops+e.ops
	}
	return s.sample(from, to, ops, lat)
}
