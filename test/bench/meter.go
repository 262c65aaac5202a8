// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what processes have used so far.
type usage struct {
	cpu       time.Duration // of all threads, also those that ended
	waits     uint64        // context switches because there was nothing to do: each ends in a wake-up
	preempted uint64        // context switches because somebody else was to run
	anon      int64         // bytes of memory of their own (RssAnon)
	rss       int64         // all resident bytes, guest memory that they touched included
}

// measure adds up what the processes of a daemon have used.
func measure(pids []int) (usage, error) {
	var u usage
	for _, pid := range pids {
		// A process's CPU clock has nanoseconds and includes running threads (Linux
		// include/linux/posix-timers_types.h: CPUCLOCK_SCHED is 2, the pid is inverted).
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
			return u, fmt.Errorf("CPU clock of process %d: %w", pid, err)
		}
		u.cpu += time.Duration(ts.Nano())
		dir := fmt.Sprintf("/proc/%d", pid)
		f, err := fields(dir + "/status")
		if err != nil {
			return u, err
		}
		u.anon += int64(f["RssAnon"]) << 10
		u.rss += int64(f["VmRSS"]) << 10
		tasks, err := os.ReadDir(dir + "/task")
		if err != nil {
			return u, err
		}
		for _, t := range tasks {
			f, err := fields(dir + "/task/" + t.Name() + "/status")
			if err != nil {
				continue // a thread that has just ended
			}
			u.waits += f["voluntary_ctxt_switches"]
			u.preempted += f["nonvoluntary_ctxt_switches"]
		}
	}
	return u, nil
}

// fields reads the numbers of a file of lines "name: number ...".
func fields(path string) (map[string]uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := map[string]uint64{}
	for l := range strings.SplitSeq(string(b), "\n") {
		name, rest, _ := strings.Cut(l, ":")
		if w := strings.Fields(rest); len(w) > 0 {
			if n, err := strconv.ParseUint(w[0], 10, 64); err == nil {
				f[name] = n
			}
		}
	}
	return f, nil
}

// busy is the time that all CPUs of the machine have worked since it started.
func busy() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	w := strings.Fields(line)
	if len(w) < 9 || w[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var ticks uint64
	for i, s := range w[1:9] {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0, err
		}
		if i != 3 && i != 4 { // idle, iowait
			ticks += n
		}
	}
	return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ
}

// ownCPU is the time that this process has worked.
func ownCPU() (time.Duration, error) {
	u, err := clock(unix.CLOCK_PROCESS_CPUTIME_ID)
	return u, err
}

func clock(id int32) (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(id, &ts)
	return time.Duration(ts.Nano()), os.NewSyscallError("clock_gettime", err)
}
