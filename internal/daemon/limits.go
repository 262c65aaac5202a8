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
	messageFDs = 253    // come with one message at most (SCM_MAX_FD); memory's are closed once mapped
	ringFDs    = 5 * 65 // kick, call and err, and two of the queue's loop
	ownFDs     = 222    // log, sockets, /proc, files that queues and workers open for a moment
	leastFDs   = 128
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
	const reserve = messageFDs + ringFDs + ownFDs
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
