// SPDX-License-Identifier: Apache-2.0

package vhostuser

import "fmt"

// The state of a ring is what the front-end has said about it. From that follows whether the
// device runs it:
//
//	                 disabled        enabled
//	not kicked       rests           rests
//	kicked           rests           runs, as soon as size and addresses are known
//
// "Kicked" begins with SET_VRING_KICK (the specification's "started" begins with the first
// event on it; looking at the ring once more than needed does no harm, and user-mode Linux
// and libkrun give no first event) and ends with GET_VRING_BASE. The order in which the
// parts are told does not matter. A ring that stops running keeps its position.
//
// Every message edits that state through Conn.change, which then makes the device follow.
// After it the device runs exactly the rings that are ready.
type ring struct {
	size    uint16    // SET_VRING_NUM; 0: not known
	base    uint16    // where the next start begins
	addr    VringAddr // SET_VRING_ADDR, valid with hasAddr
	hasAddr bool
	hasKick bool // kicked; kick may still be -1, "none, poll"
	enabled bool

	kick, call, err int // owned by the ring; -1: none

	running bool      // the device runs it, with active
	active  Ring      // as the device was told last
	at      VringAddr // from which active's addresses come
	rebased bool      // SET_VRING_BASE came while it ran
	lost    bool      // its memory went away while it ran
}

func newRing() ring { return ring{kick: -1, call: -1, err: -1} }

func (r *ring) ready() bool { return r.size != 0 && r.hasAddr && r.hasKick && r.enabled }

// stale: the ring runs, but was told a size or base that it can only take at a new start.
// Until then it goes on where it is.
func (r *ring) stale() bool { return r.running && (r.rebased || r.size != r.active.Size) }

// change edits ring i and makes the device follow. On error the ring is as it was before,
// and the descriptors that edit brought are closed; else those that it replaced are.
func (c *Conn) change(i int, edit func(r *ring)) error {
	r := &c.rings[i]
	old := *r
	edit(r)
	err := c.follow(i)
	if err != nil {
		closeReplaced(r, &old)
		*r = old
		return err
	}
	closeReplaced(&old, r)
	return nil
}

// closeReplaced closes the descriptors of gone that kept does not have.
func closeReplaced(gone, kept *ring) {
	if gone.kick != kept.kick {
		closeFD(gone.kick)
	}
	if gone.call != kept.call {
		closeFD(gone.call)
	}
	if gone.err != kept.err {
		closeFD(gone.err)
	}
}

// follow makes the device's side of ring i agree with its state. On error nothing changed.
func (c *Conn) follow(i int) error {
	r := &c.rings[i]
	switch {
	case r.running && !r.ready():
		c.stop(i)
	case r.running:
		return c.update(i, false)
	case r.ready():
		return c.start(i)
	}
	return nil
}

func (c *Conn) start(i int) error {
	r := &c.rings[i]
	next, err := c.resolve(r)
	if err != nil {
		return err
	}
	err = c.dev.StartQueue(i, next)
	c.trace.deviceRing("StartQueue", i, next, err)
	if err != nil {
		return err
	}
	r.active, r.at, r.running, r.rebased, r.lost = next, r.addr, true, false, false
	return nil
}

// update tells the device what has changed for a running ring, if anything has. A change of
// guest memory always counts: the queue may have to let go of what it had mapped.
func (c *Conn) update(i int, memory bool) error {
	r := &c.rings[i]
	next, at := r.active, r.at
	if !r.stale() && (memory || r.addr != r.at) {
		var err error
		if next, err = c.resolve(r); err != nil {
			return err
		}
		next.Base, next.Features = r.active.Base, r.active.Features
		at = r.addr
	}
	next.Kick, next.Call, next.Err = r.kick, r.call, r.err
	if next == r.active && !memory {
		return nil
	}
	err := c.dev.UpdateQueue(i, next)
	c.trace.deviceRing("UpdateQueue", i, next, err)
	if err != nil {
		return err
	}
	r.active, r.at = next, at
	return nil
}

// stop stops the running ring i and remembers its position, unless the front-end has set
// another one in the meantime.
func (c *Conn) stop(i int) (base uint16) {
	r := &c.rings[i]
	base = c.dev.StopQueue(i)
	c.trace.deviceStop(i, base)
	if !r.rebased {
		r.base = base
	}
	r.running, r.rebased, r.lost = false, false, false
	return base
}

// unkick stops ring i if it runs, ends its kicked state and returns its position.
func (c *Conn) unkick(i int) (base uint16) {
	r := &c.rings[i]
	if r.running {
		r.base = c.stop(i)
	}
	closeFD(r.kick)
	closeFD(r.call)
	r.kick, r.call, r.hasKick = -1, -1, false
	return r.base
}

// resetRing brings ring i to its initial state, except for its call and err descriptors.
func (c *Conn) resetRing(i int) {
	r := &c.rings[i]
	if r.running {
		c.stop(i)
	}
	closeFD(r.kick)
	call, err := r.call, r.err
	*r = newRing()
	r.call, r.err = call, err
}

// forgetRing brings ring i to its initial state and closes all of its descriptors.
func (c *Conn) forgetRing(i int) {
	c.resetRing(i)
	r := &c.rings[i]
	closeFD(r.call)
	closeFD(r.err)
	*r = newRing()
}

// enableAll enables all rings. On error those that could not be started are not enabled.
func (c *Conn) enableAll() error {
	var first error
	for i := range c.rings {
		err := c.change(i, func(r *ring) { r.enabled = true })
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}

// resolve turns the front-end's user addresses of r into guest physical ones.
// Sizes and alignments are those of virtio 1.2 section 2.7, with the event fields.
func (c *Conn) resolve(r *ring) (Ring, error) {
	t := c.mem.Acquire()
	defer t.Release()
	n := uint64(r.size)
	out := Ring{
		Size: r.size, Base: r.base,
		Features: c.features &^ (FeatureProtocolFeatures | FeatureLogAll),
		LogUsed:  r.addr.Flags&VringLogUsed != 0,
		Kick:     r.kick, Call: r.call, Err: r.err,
	}
	if out.LogUsed {
		out.LogAddr = r.addr.Log
	}
	for _, part := range [...]struct {
		gpa               *uint64
		addr, size, align uint64
	}{
		{&out.Desc, r.addr.Desc, 16 * n, 16},
		{&out.Avail, r.addr.Avail, 6 + 2*n, 2},
		{&out.Used, r.addr.Used, 6 + 8*n, 4},
	} {
		gpa, err := t.Translate(part.addr, part.size)
		switch {
		case err != nil && t.Empty():
			return out, ErrNoMemory
		case err != nil:
			return out, fmt.Errorf("%w: %w", ErrRingMemory, err)
		}
		if gpa%part.align != 0 {
			return out, ErrRingAddress
		}
		*part.gpa = gpa
	}
	return out, nil
}
