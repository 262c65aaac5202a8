// SPDX-License-Identifier: Apache-2.0

package inodes

import "sync"

// clock knows the records that hold an fd and finds those that were not used lately (CLOCK, the
// second-chance algorithm). A record's place in it is its link field.
type clock struct {
	mu      sync.Mutex
	records []record
	ring    []uint32
	hand    int
	stuck   int // records that have an fd and are not in the ring
	budget  int // beyond it fds are given up
	most    int // beyond it no record with an fd is made
}

// patience is how many records are looked at for one that can be given up, unless one must be
// found. The budget may be overrun for a while when all were just used.
const patience = 64

func (c *clock) init(records []record, budget, most int) {
	c.records, c.budget, c.most = records, budget, most
}

// full tells whether there may be no more fds.
func (c *clock) full() bool { return c.len() >= c.most }

func (c *clock) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ring) + c.stuck
}

// add enters a record that got an fd. Its shard is locked, or nobody else knows it; so for remove.
func (c *clock) add(slot uint32) {
	c.mu.Lock()
	c.push(slot)
	c.mu.Unlock()
}

func (c *clock) push(slot uint32) {
	c.records[slot].link = uint32(len(c.ring))
	c.ring = append(c.ring, slot)
}

// remove takes a record out whose fd is given up.
func (c *clock) remove(slot uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.records[slot].stuck {
		c.stuck--
		return
	}
	c.pull(slot)
}

// stick leaves a record aside that keeps its fd; unstick takes it in again.
func (c *clock) stick(slot uint32) {
	c.mu.Lock()
	c.pull(slot)
	c.stuck++
	c.records[slot].stuck = true
	c.mu.Unlock()
}

func (c *clock) unstick(slot uint32) {
	if !c.records[slot].stuck {
		return
	}
	c.mu.Lock()
	c.stuck--
	c.records[slot].stuck = false
	c.push(slot)
	c.mu.Unlock()
}

func (c *clock) pull(slot uint32) {
	at, last := c.records[slot].link, len(c.ring)-1
	moved := c.ring[last]
	c.ring[at] = moved
	c.records[moved].link = at
	c.ring = c.ring[:last]
}

// victim returns a record that was not used lately, pinned by nobody but now the caller; 0 if
// there is none to be found quickly, or the budget is kept. With force neither counts.
func (c *clock) victim(force bool) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !force && len(c.ring)+c.stuck <= c.budget {
		return 0
	}
	tries := 2 * len(c.ring) // the first round may only find that all were used
	if !force {
		tries = min(tries, patience)
	}
	for range tries {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		slot := c.ring[c.hand]
		c.hand++
		ctl := &c.records[slot].ctl
		v := ctl.Load()
		switch {
		case v&bitLive == 0 || v&pinMask != 0:
		case v&bitUsed != 0:
			ctl.And(^uint64(bitUsed))
		case ctl.CompareAndSwap(v, v+1):
			return slot
		}
	}
	return 0
}
