// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// enoughReads is how many reads have to come back during one FSYNC for their CPU time to show
// beside that of the FSYNC, which differs from time to time by more than a few reads take.
const enoughReads = 500

// behindFsync measures reads that are sent while an FSYNC of a dirty file is out on the same
// queue. Rounds with and without reads take turns: the CPU time of the FSYNC alone, which is
// the disk's and not the reads', is taken off.
func (s *session) behindFsync(d time.Duration) (Sample, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f, err := s.openDirty()
	if err != nil {
		return Sample{}, err
	}
	var sum Sample
	var lat []uint32
	rounds := 0
	for end := time.Now().Add(d); sum.Ops == 0 || time.Now().Before(end); {
		alone, err := f.round(false)
		if err != nil {
			return Sample{}, err
		}
		with, err := f.round(true)
		if err != nil {
			return Sample{}, err
		}
		one, err := s.sample(with.from, with.to, f.e.ops, f.e.lat)
		if err != nil {
			return Sample{}, err
		}
		lat = append(lat, f.e.lat...)
		one.CPU -= micros(alone.to.usage.cpu-alone.from.usage.cpu) / float64(one.Ops)
		sum = sum.add(one)
		rounds++
	}
	all, err := s.sample(state{}, state{}, len(lat), lat) // for the quantiles
	sum.P50, sum.P99, sum.P999 = all.P50, all.P99, all.P999
	if sum.CPU < 0 || sum.Ops < enoughReads*rounds {
		sum.CPU = 0
	}
	return sum, err
}

// add makes one sample of two, each with the weight of its operations or its time.
func (s Sample) add(o Sample) Sample {
	per := func(a, b float64) float64 {
		return (a*float64(s.Ops) + b*float64(o.Ops)) / float64(s.Ops+o.Ops)
	}
	return Sample{
		Ops: s.Ops + o.Ops, Seconds: s.Seconds + o.Seconds,
		CPU: per(s.CPU, o.CPU), Waits: per(s.Waits, o.Waits), Preempted: per(s.Preempted, o.Preempted),
		Kicks: per(s.Kicks, o.Kicks), Signals: per(s.Signals, o.Signals),
		Anon: o.Anon, RSS: o.RSS, Ready: o.Ready,
		Others: (s.Others*s.Seconds + o.Others*o.Seconds) / (s.Seconds + o.Seconds),
	}
}

// fsyncer sends FSYNCs of the file that the host makes dirty.
type fsyncer struct {
	s        *session
	e        *engine
	node, fh uint64
}

type fsyncRound struct{ from, to state }

func (s *session) openDirty() (*fsyncer, error) {
	f := &fsyncer{s: s, e: s.engines[0]}
	// The engine's queue is ordered by now, so these go by the engine too.
	var e fuse.EntryOut
	m := frontend.Message{Op: frontend.OpLookup, Node: frontend.RootID, Names: []string{fileNames[dirtyFile]}, Out: room[fuse.EntryOut]()}
	if err := f.call(m, frontend.Wire(&e)); err != nil {
		return nil, err
	}
	in := fuse.OpenIn{Flags: unix.O_RDWR}
	var o fuse.OpenOut
	m = frontend.Message{Op: frontend.OpOpen, Node: e.NodeId, Args: args(&in), Out: room[fuse.OpenOut]()}
	if err := f.call(m, frontend.Wire(&o)); err != nil {
		return nil, err
	}
	f.node, f.fh = e.NodeId, o.Fh
	return f, nil
}

// call sends a request while nothing else is in flight and copies its reply to out.
func (f *fsyncer) call(m frontend.Message, out []byte) error {
	f.e.send(0, m)
	p, err := f.e.c.Queue().Next()
	if err != nil {
		return err
	}
	defer p.Free()
	size, errno, err := p.Reply()
	if err == nil {
		err = reply{p, size, errno}.want(m.Op.String(), len(out))
	}
	p.Read(out, replyHeader)
	return err
}

// round makes the file dirty and sends an FSYNC, then, with reads set, as many reads as there are
// slots and more as they come back, until the FSYNC has come back.
func (f *fsyncer) round(reads bool) (r fsyncRound, err error) {
	defer catch(&err)
	e := f.e
	if err := f.s.tree.writeAll(dirtyFile); err != nil {
		return r, err
	}
	if r.from, err = f.s.state(); err != nil {
		return r, err
	}
	e.ops, e.lat = 0, e.lat[:0]
	in := fuse.FsyncIn{Fh: f.fh}
	e.send(len(e.slots), frontend.Message{Op: frontend.OpFsync, Node: f.node, Args: args(&in)})
	for i := range e.slots {
		if reads {
			e.start(&e.slots[i], time.Now())
		}
	}
	for synced := false; !synced || e.flying > 0; {
		p, err := e.c.Queue().Next()
		if err != nil {
			return r, err
		}
		if p.Tag == len(e.slots) {
			_, errno, err := p.Reply()
			p.Free()
			if err != nil || errno != 0 {
				return r, fmt.Errorf("FSYNC: %w, %v", errno, err)
			}
			synced = true
			continue
		}
		s := &e.slots[p.Tag]
		if _, _, err := e.judge(s, p); err != nil {
			return r, err
		}
		now := time.Now()
		if e.finish(s, now); !synced {
			e.start(s, now)
		}
	}
	r.to, err = f.s.state()
	return r, err
}
