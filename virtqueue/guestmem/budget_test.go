// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// Limits count what is mapped: a table that was replaced counts until its last user lets it go, and so
// does the dirty log.
func TestLimits(t *testing.T) {
	page := uint64(unix.Getpagesize())
	m := NewWithin(Limits{Bytes: 10 * page, Mappings: 4})
	file := closing(t, memfd(t, "limits", int(20*page)))
	add := func(what string, at, pages uint64, want error) {
		t.Helper()
		if err := m.Add(Region{GPA: at * page, Size: pages * page}, mustDup(t, file)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	add("more than all", 0, 11, ErrRegion)
	add("so large that sums overflow", 0, 1<<40, ErrRegion)
	add("most of it", 0, 8, nil)
	add("too much together", 8, 3, ErrRegion)
	add("the rest", 8, 2, nil)
	if err := m.SetLog(mustDup(t, file), 8, 0); !errors.Is(err, ErrRegion) {
		t.Errorf("a dirty log beyond the limit: %v", err)
	}
	held := m.Acquire()
	if err := m.Remove(Region{GPA: 0, Size: 8 * page}); err != nil {
		t.Fatal(err)
	}
	add("in the place of what is still in use", 0, 8, ErrRegion)
	held.Release()
	add("in the place of what was removed", 0, 1, nil)
	add("a third one", 1, 1, nil)
	add("a fourth one", 2, 1, nil)
	add("too many", 3, 1, ErrRegion)
	m.Reset()
	add("all anew", 0, 10, nil)
	m.Reset()
	if n := mapped(t, "limits"); n != 0 || m.budget.bytes != 0 || m.budget.mappings != 0 {
		t.Errorf("%d mappings are left, the budget says %d of %d bytes", n, m.budget.mappings, m.budget.bytes)
	}
}
