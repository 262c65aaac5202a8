// SPDX-License-Identifier: Apache-2.0

package vhostuser

import "go.uber.org/zap"

// Messages about guest memory and its dirty log. Memory may change while rings run: requests
// in flight keep what they use mapped.

// maxMemSlots is the answer to GET_MAX_MEM_SLOTS. It must never decrease; QEMU caps at 512,
// and wants a few of these for itself.
const maxMemSlots = 509

func (c *Conn) getMaxMemSlots(*message) ([]byte, error) {
	return AppendU64(nil, maxMemSlots), nil
}

// setMemTable replaces the whole table. The payload may be longer than its regions need:
// user-mode Linux up to 6.12 sends room for two with one region in it.
func (c *Conn) setMemTable(m *message) ([]byte, error) {
	n := uint64((&cursor{m.payload}).u32())
	if uint64(len(m.payload)) < memTableHead+n*memRegionSize {
		return nil, ErrSize
	}
	if uint64(len(m.fds)) < n {
		return nil, ErrMissingFDs
	}
	regions := make([]MemRegion, n)
	fds := make([]int, n)
	for i := range regions {
		regions[i] = decodeMemRegion(m.payload[memTableHead+i*memRegionSize:])
		fds[i] = m.takeFD(i)
	}
	if err := c.mem.Replace(regions, fds); err != nil {
		return nil, err
	}
	if n > 0 {
		c.warnPrivate(regions[0])
	}
	c.memoryChanged()
	return nil, nil
}

func (c *Conn) addMemReg(m *message) ([]byte, error) {
	if len(m.fds) == 0 {
		return nil, ErrMissingFDs
	}
	r := decodeMemRegion(m.payload[8:])
	if err := c.mem.Add(r, m.takeFD(0)); err != nil {
		return nil, err
	}
	c.warnPrivate(r)
	c.memoryChanged()
	return nil, nil
}

func (c *Conn) remMemReg(m *message) ([]byte, error) {
	if err := c.mem.Remove(decodeMemRegion(m.payload[8:])); err != nil {
		return nil, err
	}
	c.memoryChanged()
	return nil, nil
}

// memoryChanged looks up the addresses of running rings again and tells their queues. A ring
// whose memory has gone is left to its queue, which finds out by itself and stops looking at
// it, until its memory is back.
func (c *Conn) memoryChanged() {
	for i := range c.rings {
		r := &c.rings[i]
		if !r.running {
			continue
		}
		err := c.update(i, true)
		if err != nil && !r.lost {
			c.peers.Warn("vhost-user ring lost its memory", zap.Int("ring", i), zap.Error(err))
		}
		r.lost = err != nil
	}
}

// setLogBase hands over the dirty log. The reply is a number, 0, as libvhost-user's is and as
// rust-vmm's front-ends (cloud-hypervisor) read it; QEMU looks at nothing but its message number.
func (c *Conn) setLogBase(m *message) ([]byte, error) {
	if len(m.fds) == 0 {
		return nil, ErrMissingFDs
	}
	p := cursor{m.payload}
	size, offset := p.u64(), p.u64()
	if err := c.mem.SetLog(m.takeFD(0), size, offset); err != nil {
		return nil, err
	}
	return AppendU64(nil, 0), nil
}

// setLogFD takes an eventfd that may be signalled when the log changes. It is optional, and
// front-ends look at the log when they want to: it is closed.
func (c *Conn) setLogFD(m *message) ([]byte, error) {
	if len(m.fds) == 0 {
		return nil, ErrMissingFDs
	}
	return nil, nil
}
