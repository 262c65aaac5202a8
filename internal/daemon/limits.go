// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Open files that the daemon itself needs beside those that it keeps for the guest.
const (
	memoryFDs = 509 // memory regions that a VMM may add at most
	ringFDs   = 3 * 65
	ownFDs    = 96 // log, sockets, epoll, /proc, files open for a moment only
	leastFDs  = 128
)

// fdBudget returns how many files may be kept open for the guest. The Go runtime has raised the
// soft limit to the hard one when the process started.
func fdBudget() (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("the limit of open files: %w", err)
	}
	return budgetOf(l.Cur)
}

func budgetOf(limit uint64) (int, error) {
	const reserve = memoryFDs + ringFDs + ownFDs
	if limit < reserve+leastFDs {
		return 0, fmt.Errorf("only %d files may be open at once, and at least %d are needed: raise the limit (ulimit -n, systemd LimitNOFILE=)",
			limit, reserve+leastFDs)
	}
	return int(min(limit, 1<<30)) - reserve, nil
}

// leastProcs is how many threads may run Go code at once, at the least. A queue's thread keeps
// its place during short system calls, so with one place only the others would wait behind it.
const leastProcs = 4

// setProcs raises GOMAXPROCS on hosts with few CPUs, unless the user has set it.
func setProcs() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < leastProcs {
		runtime.GOMAXPROCS(leastProcs)
	}
}
