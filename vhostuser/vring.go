// SPDX-License-Identifier: Apache-2.0

package vhostuser

import "math/bits"

// Messages about one ring: decode, check, tell the state machine (ring.go).

// maxRingSize is the largest split ring (virtio 1.2 section 2.7).
const maxRingSize = 32768

func (c *Conn) ringIndex(n uint64) (int, error) {
	if n >= uint64(len(c.rings)) {
		return 0, ErrIndex
	}
	return int(n), nil
}

// ringState decodes the payload of the messages that set one number of one ring.
func (c *Conn) ringState(m *message) (i int, num uint32, err error) {
	s := DecodeVringState(m.payload)
	i, err = c.ringIndex(uint64(s.Index))
	return i, s.Num, err
}

func (c *Conn) setVringNum(m *message) ([]byte, error) {
	i, num, err := c.ringState(m)
	if err != nil {
		return nil, err
	}
	if num > maxRingSize || bits.OnesCount32(num) != 1 {
		return nil, ErrValue
	}
	return nil, c.change(i, func(r *ring) { r.size = uint16(num) })
}

// setVringAddr also comes for a running ring, to switch the logging of its used entries.
func (c *Conn) setVringAddr(m *message) ([]byte, error) {
	a := DecodeVringAddr(m.payload)
	i, err := c.ringIndex(uint64(a.Index))
	if err != nil {
		return nil, err
	}
	return nil, c.change(i, func(r *ring) { r.addr, r.hasAddr = a, true })
}

// setVringBase says where the ring's next start begins. Split rings have 16-bit indices.
func (c *Conn) setVringBase(m *message) ([]byte, error) {
	i, num, err := c.ringState(m)
	if err != nil {
		return nil, err
	}
	if num > 0xffff {
		return nil, ErrValue
	}
	return nil, c.change(i, func(r *ring) { r.base, r.rebased = uint16(num), r.running })
}

// getVringBase stops the ring: its requests are completed before the reply. Kick and call
// descriptors are done with then, as in other back-ends; err stays, QEMU sends it only once.
func (c *Conn) getVringBase(m *message) ([]byte, error) {
	i, _, err := c.ringState(m)
	if err != nil {
		return nil, err
	}
	base := c.unkick(i)
	return VringState{Index: uint32(i), Num: uint32(base)}.Append(nil), nil
}

// setVringEnable with 0 completes the ring's requests too: user-mode Linux frees the ring's
// memory after it and never asks for GET_VRING_BASE.
func (c *Conn) setVringEnable(m *message) ([]byte, error) {
	i, num, err := c.ringState(m)
	if err != nil {
		return nil, err
	}
	if num > 1 {
		return nil, ErrValue
	}
	return nil, c.change(i, func(r *ring) { r.enabled = num == 1 })
}

// ringFD decodes the messages that carry a descriptor for one ring. The descriptor is taken
// from m; -1: the front-end says that there is none.
func (c *Conn) ringFD(m *message) (i, fd int, err error) {
	n := DecodeU64(m.payload)
	if n&^(vringFDIndex|VringFDNone) != 0 {
		return 0, -1, ErrValue
	}
	if i, err = c.ringIndex(n & vringFDIndex); err != nil {
		return 0, -1, err
	}
	if n&VringFDNone != 0 {
		return i, -1, nil
	}
	if len(m.fds) == 0 {
		return 0, -1, ErrMissingFDs
	}
	return i, m.takeFD(0), nil
}

// setVringKick starts the ring, once enabled. A ring that runs and was told a new base or
// size starts again from there: user-mode Linux sets rings up anew without stopping them.
func (c *Conn) setVringKick(m *message) ([]byte, error) {
	i, fd, err := c.ringFD(m)
	if err != nil {
		return nil, err
	}
	if r := &c.rings[i]; r.stale() {
		c.stop(i)
		closeFD(r.kick)
		r.kick, r.hasKick = -1, false
	}
	return nil, c.change(i, func(r *ring) { r.kick, r.hasKick = fd, true })
}

// setVringCall replaces the notification; after the reply the old one is not used any more.
func (c *Conn) setVringCall(m *message) ([]byte, error) {
	i, fd, err := c.ringFD(m)
	if err != nil {
		return nil, err
	}
	return nil, c.change(i, func(r *ring) { r.call = fd })
}

func (c *Conn) setVringErr(m *message) ([]byte, error) {
	i, fd, err := c.ringFD(m)
	if err != nil {
		return nil, err
	}
	return nil, c.change(i, func(r *ring) { r.err = fd })
}
