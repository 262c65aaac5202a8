// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"testing"
	"time"
)

// party is a tenant with a file of his own.
type party struct {
	t    *testing.T
	ten  *Tenant
	file *File
	host *fakeHost
	buf  []byte
}

func join(t *testing.T, c *Cache, clock *fakeClock, key uint64, pages int) *party {
	host := &fakeHost{data: make([]byte, pages*PageSize), clock: clock}
	ten := c.Join()
	f := c.Open(Key{Ino: key}, Handle{Host: host, Mode: ModeAlways, Tenant: ten})
	t.Cleanup(f.Close)
	return &party{t, ten, f, host, make([]byte, PageSize)}
}

// read reads page n twice and tells whether the first time was answered from the cache.
func (p *party) read(n int) (hit bool) {
	p.t.Helper()
	p.host.record = true
	for i := range 2 {
		p.host.calls = nil
		if got, err := p.file.ReadAt(nil, [][]byte{p.buf}, int64(n)*PageSize, 0); err != nil || got != PageSize {
			p.t.Fatalf("page %d: %d, %v", n, got, err)
		}
		if i == 0 {
			hit = true
			for _, call := range p.host.calls {
				hit = hit && call[:4] != "read"
			}
		}
	}
	return hit
}

func (p *party) has() int {
	c := p.file.m.c
	c.mu.Lock()
	defer c.mu.Unlock()
	return p.ten.frames()
}

const tenantFrames = 400

func tenantCache(t *testing.T) (*Cache, *fakeClock) {
	clock := newClock()
	c, err := New(Options{Size: tenantFrames * PageSize, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, clock
}

// TestTenantsKeepTheirPart: one tenant has a few pages that he reads now and then, another one reads very
// much, each page twice so that all look wanted. The first keeps his pages.
func TestTenantsKeepTheirPart(t *testing.T) {
	c, clock := tenantCache(t)
	const hot = tenantFrames / 3
	quiet, loud := join(t, c, clock, 1, hot), join(t, c, clock, 2, 20*tenantFrames)
	for n := range hot {
		quiet.read(n)
	}
	misses := 0
	for n := range 20 * tenantFrames {
		loud.read(n)
		if n%40 == 0 && !quiet.read(n/40%hot) {
			misses++
		}
	}
	if misses != 0 {
		t.Errorf("%d of %d reads of a tenant below his part went to the host", misses, 20*tenantFrames/40)
	}
	if n := loud.has(); n < tenantFrames-hot-1 {
		t.Errorf("the other one has %d pages, and %d are there for him", n, tenantFrames-hot)
	}
}

// TestTenantsAlone: one who is alone, or whose neighbours read nothing, may have the whole cache, and
// gives up to a part of it back.
func TestTenantsAlone(t *testing.T) {
	c, clock := tenantCache(t)
	a, b := join(t, c, clock, 1, 2*tenantFrames), join(t, c, clock, 2, 2*tenantFrames)
	readAll := func(p *party) {
		for n := range 2 * tenantFrames {
			p.read(n)
		}
	}
	readAll(a)
	if n := a.has(); n != tenantFrames {
		t.Fatalf("one alone has %d pages of %d", n, tenantFrames)
	}
	readAll(b)
	if n := b.has(); n != tenantFrames/2 || a.has() != tenantFrames/2 {
		t.Errorf("two have %d and %d pages of %d, want half of them each", a.has(), n, tenantFrames)
	}
	clock.advance(time.Duration(tenantIdle) + time.Second)
	readAll(b)
	if n := b.has(); n != tenantFrames {
		t.Errorf("beside one who reads nothing: %d pages of %d", n, tenantFrames)
	}
	c.Leave(a.ten)
	if again := c.Join(); again != a.ten {
		t.Error("the place of one who has left is not given to the next")
	}
}

// TestTenantsCount: frames are in exactly one queue, whoever comes and goes.
func TestTenantsCount(t *testing.T) {
	c, clock := tenantCache(t)
	var all []*party
	for k := range uint64(5) {
		p := join(t, c, clock, k+1, tenantFrames)
		all = append(all, p)
		for n := range tenantFrames {
			p.read(n)
		}
	}
	all[2].file.m.mu.Lock()
	all[2].file.m.dropAll()
	all[2].file.m.unlock()
	sum := c.unused.len
	for _, p := range all {
		sum += p.has()
	}
	if sum != tenantFrames || all[2].has() != 0 {
		t.Errorf("%d frames are in queues, want %d; one who has lost all has %d", sum, tenantFrames, all[2].has())
	}
}
