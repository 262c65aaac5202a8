// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestBudget(t *testing.T) {
	const own, each = ownFDs, messageFDs + ringFDs
	for _, tt := range []struct {
		limit  uint64
		shares int
		want   int // -1: an error
	}{
		{0, 1, -1}, {own + each + leastFDs - 1, 1, -1}, {own + each + leastFDs, 1, leastFDs},
		{1024, 1, 1024 - own - each}, {1 << 20, 1, 1<<20 - own - each}, {unix.RLIM_INFINITY, 1, 1<<30 - own - each},
		{own + 3*(each+leastFDs) - 1, 3, -1}, {own + 3*(each+leastFDs), 3, leastFDs}, {own + 3*(each+1000) + 2, 3, 1000},
	} {
		got, err := budgetOf(tt.limit, tt.shares)
		if (err != nil) != (tt.want < 0) || (err == nil && got != tt.want) {
			t.Errorf("limit %d, %d shares: %d, %v; want %d", tt.limit, tt.shares, got, err, tt.want)
		}
		if err != nil && !strings.Contains(err.Error(), "ulimit -n") {
			t.Errorf("%v: does not say what to do", err)
		}
	}
}

func TestWorkers(t *testing.T) {
	for n, want := range map[int]int{0: 64, 1: 64, 64: 64, 65: 65, 1024: 1024, 1 << 30: 1024} {
		if got := workersOf(n); got != want {
			t.Errorf("--thread-pool-size %d: %d workers, want %d", n, got, want)
		}
	}
}
