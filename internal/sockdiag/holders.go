// SPDX-License-Identifier: Apache-2.0

package sockdiag

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// holders finds the processes that have socket inode open, in order of pid. Processes that end
// meanwhile, or that the caller may not look into, are passed over.
func holders(inode uint32) ([]Holder, error) {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("sockdiag: %w", err)
	}
	want := fmt.Sprintf("socket:[%d]", inode)
	var found []Holder
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || !holds(pid, want) {
			continue
		}
		found = append(found, Holder{PID: pid, Comm: comm(pid)})
	}
	// ReadDir sorts by name, which puts pid 10 before pid 9.
	slices.SortFunc(found, func(a, b Holder) int { return a.PID - b.PID })
	return found, nil
}

func holds(pid int, link string) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if l, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && l == link {
			return true
		}
	}
	return false
}

func comm(pid int) string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(string(b), "\n")
}
