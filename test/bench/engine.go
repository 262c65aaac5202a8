// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// engine keeps the slots of one request queue busy. It belongs to one goroutine.
type engine struct {
	c      *frontend.Client
	script script
	slots  []slot
	begun  []time.Time   // when each slot's operation began
	flying int           // slots with an operation in flight
	pause  time.Duration // of each slot between its operations

	lat []uint32 // nanoseconds of each operation, when wanted
	ops int
}

func newEngine(c *frontend.Client, s script, depth int) *engine {
	e := &engine{c: c, script: s, slots: make([]slot, depth), begun: make([]time.Time, depth)}
	for i := range e.slots {
		e.slots[i].i = i
	}
	c.Queue().Ordered()
	return e
}

// run carries out operations until the time is over and at least min were done, and waits for
// those in flight.
func (e *engine) run(d time.Duration, min int) error {
	e.ops, e.lat = 0, e.lat[:0]
	now := time.Now()
	end := now.Add(d)
	for i := range e.slots {
		e.start(&e.slots[i], now)
	}
	for e.flying > 0 {
		s, done, err := e.step()
		if err != nil {
			return err
		}
		if !done {
			continue
		}
		now = time.Now()
		e.finish(s, now)
		if now.Before(end) || e.ops < min {
			if e.pause > 0 {
				time.Sleep(e.pause)
				now = time.Now()
			}
			e.start(s, now)
		}
	}
	return nil
}

func (e *engine) start(s *slot, now time.Time) {
	e.begun[s.i] = now
	e.flying++
	e.send(s.i, e.script.first(s))
}

func (e *engine) send(tag int, m frontend.Message) {
	p := e.c.Add(m)
	p.Tag = tag
	e.c.Queue().Kick()
}

// step waits for a reply and sends what follows it; done says that the slot's operation is
// complete.
func (e *engine) step() (s *slot, done bool, err error) {
	p, err := e.c.Queue().Next()
	if err != nil {
		return nil, false, err
	}
	s = &e.slots[p.Tag]
	m, more, err := e.judge(s, p)
	if err != nil || !more {
		return s, err == nil, err
	}
	e.send(s.i, m)
	return s, false, nil
}

// judge has the script look at a reply, and gives the request's memory back.
func (e *engine) judge(s *slot, p *frontend.Pending) (frontend.Message, bool, error) {
	size, errno, err := p.Reply()
	if err != nil {
		return frontend.Message{}, false, err
	}
	m, more, err := e.script.next(s, reply{p, size, errno})
	p.Free()
	return m, more, err
}

func (e *engine) finish(s *slot, now time.Time) {
	e.flying--
	e.ops++
	e.lat = append(e.lat, uint32(min(now.Sub(e.begun[s.i]), 1<<32-1)))
}
