// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPlantedFaults: the checks of this package find what they are there for. Each fault is put
// into the cache in turn.
func TestPlantedFaults(t *testing.T) {
	concurrent := worldConfig{seed: 1, frames: 64, goroutines: 8}
	failing, changing, tiny := concurrent, concurrent, concurrent
	failing.errors, changing.foreign, tiny.frames = true, true, 1
	model := func(cfg worldConfig) func(planted) []string {
		return func(p planted) []string {
			cfg.planted = p
			return newWorld(cfg).run(200_000)
		}
	}
	type plantedCase struct {
		name  string
		fault planted
		check func(planted) []string
	}
	cases := []plantedCase{
		{"a refused page stays uptodate", planted{keepRefused: true}, model(failing)},
		{"a page is unlocked before the host answered", planted{endEarly: true}, model(failing)},
		{"truncate takes no range lock", planted{noTruncateLock: true}, model(concurrent)},
		{"a direct write takes no range lock", planted{noDirectLock: true}, model(concurrent)},
		{"a fill is kept over a drop", planted{keepSpoiled: true}, model(concurrent)},
		{"a fill is kept over a host-side change", planted{keepSpoiled: true}, model(changing)},
		{"pages are dropped after the host was asked", planted{dropLate: true}, model(concurrent)},
		{"a read is short where the host was", planted{shortAnswer: true}, model(failing)},
		{"a stamp that differs is believed", planted{trustStamps: true}, stale},
		{"a write waits for a frame", planted{waitFrame: true}, func(p planted) []string {
			defer func(d time.Duration) { stuck = d }(stuck)
			stuck = 2 * time.Second
			return model(tiny)(p)
		}},
		{"a page is overwritten under its readers", planted{overwritePinned: true}, overwritten},
		{"pages stay after a failed fsync", planted{keepAfterSync: true}, keptAfterSync},
		{"a head page is not sent alone", planted{noSplit: true}, func(p planted) []string { return predicted(1, 2000, false, p) }},
	}
	if !raceDetector { // which finds it first, and fails the test
		cases = append(cases, plantedCase{"a write takes no range lock", planted{noWriteLock: true}, model(concurrent)})
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			found := tt.check(tt.fault)
			if len(found) == 0 {
				t.Fatal("nobody noticed")
			}
			t.Log(found[0])
		})
	}
	for name, check := range map[string]func(planted) []string{"overwritten": overwritten, "keptAfterSync": keptAfterSync, "stale": stale} {
		if found := check(planted{}); len(found) > 0 {
			t.Errorf("%s without a fault: %q", name, found)
		}
	}
}

// overwritten lets the host refuse a write of a page that somebody is reading.
func overwritten(p planted) (found []string) {
	h := &fakeHost{clock: newClock(), data: pattern(1, 2*PageSize)}
	c := newTestCache(4, h.clock, true)
	c.planted = p
	f := c.Open(testKey, Handle{Host: h, Mode: ModeAlways})
	_, _ = f.ReadAt(nil, [][]byte{make([]byte, PageSize)}, 0, 0)
	m := f.m
	m.mu.Lock()
	i := m.pages[0]
	c.pages[i].pins++ // as a reader that copies
	m.mu.Unlock()
	h.before = func(op string, _ int64, _ int) (int, error) {
		if !bytes.Equal(c.frame(i), pattern(1, 2*PageSize)[:PageSize]) {
			found = append(found, op+": a reader gets bytes that the host has not taken")
		}
		if op == "write" {
			return 0, unix.EIO
		}
		return -1, nil
	}
	for _, part := range [][]byte{pattern(9, PageSize), pattern(8, 10)} {
		_, _ = f.WriteAt(nil, [][]byte{part}, 0, 0)
	}
	m.mu.Lock()
	m.unpin(i)
	m.unlock()
	return found
}

// stale lets the host change a file and the daemon see it, by each of the ways that it has.
func stale(p planted) (found []string) {
	h := &fakeHost{clock: newClock(), data: pattern(1, PageSize)}
	h.mtime = h.clock.ns.Load() - int64(time.Hour)
	c := newTestCache(4, h.clock, true)
	c.planted = p
	f := c.Open(testKey, Handle{Host: h, Mode: ModeAlways})
	buf := make([]byte, PageSize)
	for name, look := range map[string]func(){
		"statx": func() { st, _ := c.stat(nil, h); f.Observe(st, false) },
		"open":  func() { st, _ := c.stat(nil, h); c.Observe(testKey, st, true) },
		"time":  func() { h.clock.advance(trust) },
		"write": func() { _, _ = f.WriteAt(nil, [][]byte{h.content()[:10]}, 0, 0) },
	} {
		_, _ = f.ReadAt(nil, [][]byte{buf}, 0, 0)
		h.foreign(0, pattern(byte(name[0]), PageSize))
		look()
		if n, err := f.ReadAt(nil, [][]byte{buf}, 0, 0); n != PageSize || err != nil || !bytes.Equal(buf, h.data) {
			found = append(found, name+": a read is older than what the daemon has seen")
		}
	}
	return found
}

// keptAfterSync loses what the host had taken before it reports an error.
func keptAfterSync(p planted) (found []string) {
	h := &fakeHost{clock: newClock(), data: pattern(1, 2*PageSize)}
	c := newTestCache(4, h.clock, true)
	c.planted = p
	f := c.Open(testKey, Handle{Host: h, Mode: ModeAlways})
	if _, err := f.WriteAt(nil, [][]byte{pattern(2, 2*PageSize)}, 0, 0); err != nil {
		return []string{err.Error()}
	}
	h.before = func(op string, _ int64, _ int) (int, error) {
		if op == "sync" || op == "flush" {
			copy(h.data, pattern(1, 2*PageSize))
			return 0, unix.EIO
		}
		return -1, nil
	}
	for name, sync := range map[string]func() error{"fsync": func() error { return f.Sync(nil, false) }, "flush": func() error { return f.Flush(nil) }} {
		if err := sync(); err != unix.EIO {
			found = append(found, name+" answers something else")
		}
		buf := make([]byte, 2*PageSize)
		if _, err := f.ReadAt(nil, [][]byte{buf}, 0, 0); err != nil || !bytes.Equal(buf, h.data) {
			found = append(found, name+": bytes that the host has lost are read")
		}
		copy(h.data, pattern(3, 2*PageSize))
		_, _ = f.WriteAt(nil, [][]byte{pattern(2, 2*PageSize)}, 0, 0)
	}
	return found
}

// TestHostWritesArePredicted: the host writes of a request follow from the state of its pages and
// the host's answers.
func TestHostWritesArePredicted(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for _, lazy := range []bool{false, true} {
		for _, s := range predicted(seed, 4000, lazy, planted{}) {
			t.Errorf("seed %d, lazy %v: %s", seed, lazy, s)
		}
	}
}
