// SPDX-License-Identifier: Apache-2.0

package threads

import (
	"os"
	"testing"
)

func TestSleep(t *testing.T) {
	const n = 20
	stop := Sleep(n)
	defer stop()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil || len(tasks) < n {
		t.Errorf("%d threads, %v, want at least %d", len(tasks), err, n)
	}
}
