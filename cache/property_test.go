// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// operations is how many the property tests do in all: VIRTIOFSD_GO_CACHE_OPS, or fewer than a few seconds take.
func operations(t *testing.T) int {
	s := os.Getenv("VIRTIOFSD_GO_CACHE_OPS")
	if s == "" {
		return 30_000
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestProperties holds random operations of many goroutines against the model.
func TestProperties(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	n := operations(t)
	var cfgs []worldConfig
	for _, frames := range []int{0, 1, 2, 5, 64} {
		for _, foreign := range []bool{false, true} {
			for i := range 4 {
				cfgs = append(cfgs, worldConfig{seed: seed, frames: frames, goroutines: 8, foreign: foreign, errors: i&1 != 0, lazy: i&2 != 0, heap: true})
			}
		}
	}
	done := int64(0)
	for _, cfg := range cfgs {
		t.Run(fmt.Sprintf("%d frames, foreign %v, errors %v, lazy %v", cfg.frames, cfg.foreign, cfg.errors, cfg.lazy), func(t *testing.T) {
			w := newWorld(cfg)
			for _, s := range w.run(n / len(cfgs)) {
				t.Errorf("seed %d: %s", seed, s)
			}
			done += w.ops.Load()
		})
	}
	t.Logf("seed %d: %d operations", seed, done)
}
