// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// Open files that the daemon itself needs for each share beside those that it keeps for the guest.
const (
	messageFDs = 253    // come with one message at most (SCM_MAX_FD); memory's are closed once mapped
	ringFDs    = 5 * 65 // kick, call and err, and two of the queue's loop
	ownFDs     = 222    // log, sockets, /proc, files that queues and workers open for a moment
	leastFDs   = 128
)

// usualFiles is how many files may be open at once if the user does not say: the Rust virtiofsd's
// number.
const usualFiles = 1_000_000

// setFileLimit sets RLIMIT_NOFILE to n; -1 stands for usualFiles, or what can be had of it, and 0
// leaves it alone. The Go runtime has raised the soft limit to near the hard one when the process
// started.
func setFileLimit(n int64, log *zap.Logger) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("the limit of open files: %w", err)
	}
	most, err := hostFileLimit()
	if err != nil {
		return err
	}
	want := uint64(n)
	switch {
	case n == 0, n < 0 && l.Cur >= usualFiles:
		return nil
	case n < 0:
		want = min(usualFiles, most)
	case want > most:
		return fmt.Errorf("--rlimit-nofile %d is above what this host allows any process, %d: give less, or raise the sysctl fs.nr_open", n, most)
	}
	err = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: want, Max: max(want, l.Max)})
	if err == nil {
		return nil
	}
	if n < 0 {
		log.Debug("The limit of open files is the hard one", zap.Uint64("files", l.Max), zap.Error(err))
		return os.NewSyscallError("setrlimit", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: l.Max, Max: l.Max}))
	}
	return fmt.Errorf("--rlimit-nofile %d is above the hard limit of %d, which this process may not raise: give at most that, or raise it (ulimit -Hn, systemd LimitNOFILE=)", n, l.Max)
}

// hostFileLimit is the most that RLIMIT_NOFILE can be (proc(5), /proc/sys/fs/nr_open).
func hostFileLimit() (uint64, error) {
	b, err := os.ReadFile("/proc/sys/fs/nr_open")
	if err != nil {
		return 0, fmt.Errorf("the limit of open files: %w", err)
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
}

// fdBudget returns how many files may be kept open for the guest of each of n shares.
func fdBudget(n int) (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("the limit of open files: %w", err)
	}
	return budgetOf(l.Cur, n)
}

func budgetOf(limit uint64, n int) (int, error) {
	reserve := (messageFDs + ringFDs + ownFDs) * n
	if need := reserve + leastFDs*n; limit < uint64(need) {
		return 0, fmt.Errorf("only %d files may be open at once, and at least %d are needed: raise the limit (ulimit -n, systemd LimitNOFILE=)",
			limit, need)
	}
	return (int(min(limit, 1<<30)) - reserve) / n, nil
}

// Memory of the files that guests know.
const (
	inodeBytes  = 160 // of one: its record, name or handle, and its places in the index
	inodesPart  = 8   // that part of the host's memory may be taken by all shares
	leastInodes = 1 << 20
	mostInodes  = 1 << 26
)

// maxInodes returns how many files the guest of each of n shares may know.
func maxInodes(n int) (uint32, error) {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return 0, fmt.Errorf("the host's memory: %w", err)
	}
	return inodesOf(uint64(s.Totalram)*uint64(s.Unit), n), nil
}

func inodesOf(memory uint64, n int) uint32 {
	return uint32(min(max(memory/inodesPart/inodeBytes/uint64(n), leastInodes), mostInodes))
}

// Requests of one VM that may wait for the host at once, each on a thread.
const (
	leastWorkers = 64 // less, and slow requests would stand in front of others
	mostWorkers  = 1024
)

// workersOf is what --thread-pool-size n means here, where threads come and go as they are needed.
func workersOf(n int) int { return min(max(n, leastWorkers), mostWorkers) }

// setThreads makes room for n threads that wait for the host: Go ends a process with more than
// 10,000 threads if it is not told otherwise.
func setThreads(n int) {
	if n > 8000 {
		debug.SetMaxThreads(n + 2000)
	}
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

// memoryOf is what each of n VMs may have mapped here: together half of what a process can have
// (amd64's 128 TiB and Linux' vm.max_map_count of 65,530), and enough for any VM.
func memoryOf(n int) guestmem.Limits {
	l := guestmem.DefaultLimits
	return guestmem.Limits{Bytes: l.Bytes / uint64(n), Mappings: max(min(l.Mappings, 32_000/n), guestmem.MaxRegions+64)}
}
