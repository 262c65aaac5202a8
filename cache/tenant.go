// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"math"
	"sync/atomic"
	"time"
)

// Tenant is one of several guests that share a cache. A page counts for the tenant that first opened
// its file. As long as there is room, each may have as many as it can use. When there is none, one with
// more than an equal part of the cache gives up a page of its own for a new one, and one with less takes from
// that with the most: none can push the pages of others below their part, whatever it reads.
// Tenants that have not read anything for a while have no part.
type Tenant struct {
	index uint16       // in Cache.all
	last  atomic.Int64 // when it last read, about

	// Guarded by Cache.mu.
	small, main queue
	left        bool
}

// tenantIdle is how long one that reads nothing keeps its part, in nanoseconds.
const tenantIdle = int64(30 * time.Second)

// Join makes a tenant, which leaves when all its Files are closed.
func (c *Cache) Join() *Tenant {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.all[1:] {
		if t.left && t.frames() == 0 {
			t.left = false
			return t
		}
	}
	if len(c.all) > math.MaxUint16 {
		return c.common
	}
	t := &Tenant{index: uint16(len(c.all))}
	c.all = append(c.all, t)
	return t
}

// Leave ends a Join.
func (c *Cache) Leave(t *Tenant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.left = t.index != 0
}

// touch notes that a tenant reads.
func (t *Tenant) touch(now int64) {
	if now-t.last.Load() > int64(time.Second) {
		t.last.Store(now)
	}
}

// frames is how many pages it has. Called with Cache.mu.
func (t *Tenant) frames() int { return t.small.len + t.main.len }

func (t *Tenant) active(now int64) bool { return !t.left && now-t.last.Load() < tenantIdle }

// payer finds whose page goes for one of t's: that of one that does not need it, t's own if it has
// its part, or else one of that with the most. Called with Cache.mu.
func (c *Cache) payer(t *Tenant) *Tenant {
	if t.frames() == c.frames {
		return t // it has the cache for itself
	}
	now, parts := c.Now(), 1
	most, idle := t, (*Tenant)(nil)
	for _, o := range c.all {
		switch n := o.frames(); {
		case o == t || n == 0:
		case !o.active(now):
			if idle == nil || n > idle.frames() {
				idle = o
			}
		default:
			parts++
			if n > most.frames() {
				most = o
			}
		}
	}
	switch {
	case idle != nil:
		return idle
	case t.frames() >= c.frames/parts:
		return t
	}
	return most
}
