// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
)

func TestBudget(t *testing.T) {
	const each = messageFDs + ringFDs + ownFDs
	for _, tt := range []struct {
		limit  uint64
		shares int
		want   int // -1: an error
	}{
		{0, 1, -1}, {each + leastFDs - 1, 1, -1}, {each + leastFDs, 1, leastFDs},
		{1024, 1, 1024 - each}, {1 << 20, 1, 1<<20 - each}, {unix.RLIM_INFINITY, 1, 1<<30 - each},
		{3*(each+leastFDs) - 1, 3, -1}, {3 * (each + leastFDs), 3, leastFDs}, {3*(each+1000) + 2, 3, 1000},
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

func TestInodes(t *testing.T) {
	const gib = 1 << 30
	for _, tt := range []struct {
		memory uint64
		shares int
		want   uint32
	}{
		{gib / 2, 1, leastInodes}, {8 * gib, 1, gib / inodeBytes}, {16 * gib, 2, gib / inodeBytes},
		{8 * gib, 100, leastInodes}, {1 << 50, 1, mostInodes},
	} {
		if got := inodesOf(tt.memory, tt.shares); got != tt.want {
			t.Errorf("%d bytes, %d shares: %d inodes, want %d", tt.memory, tt.shares, got, tt.want)
		}
	}
}

// TestOnLimit: a limit is told of once, however often the guest comes to it.
func TestOnLimit(t *testing.T) {
	var b strings.Builder
	tell := onLimit(newLogger(&b, config.LogInfo))
	for range 1000 {
		tell("open files")
		tell("file locks")
	}
	if got := b.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "limit of open files") || !strings.Contains(got, "limit of file locks") {
		t.Errorf("two limits a thousand times each are told of as\n%s", got)
	}
}

func TestWorkers(t *testing.T) {
	for n, want := range map[int]int{0: 64, 1: 64, 64: 64, 65: 65, 1024: 1024, 1 << 30: 1024} {
		if got := workersOf(n); got != want {
			t.Errorf("--thread-pool-size %d: %d workers, want %d", n, got, want)
		}
	}
}
