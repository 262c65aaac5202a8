// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRightsOfThreads: what the threads of the process that serves may do, when it is ready, by /proc.
func TestRightsOfThreads(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want []string // lines of proc_pid_status(5)
	}{
		{nil, []string{"CapPrm:\t00000000880000df", "CapEff:\t00000000880000df", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"}},
		{[]string{"--inode-file-handles=never"}, []string{"CapPrm:\t00000000880000db", "CapEff:\t00000000880000db", "Seccomp:\t2"}},
		{[]string{"--modcaps=-mknod:+sys_admin", "--seccomp=log"}, []string{"CapPrm:\t00000000802000df", "Seccomp:\t2"}},
		{[]string{"--seccomp=trap"}, []string{"Seccomp:\t2"}},
		{[]string{"--seccomp=none"}, []string{"NoNewPrivs:\t1", "Seccomp:\t0"}},
	} {
		if os.Geteuid() != 0 { // an ordinary user has none
			for i, l := range tt.want {
				if strings.HasPrefix(l, "Cap") {
					tt.want[i] = "NoNewPrivs:\t1"
				}
			}
		}
		p, socket := startReady(t, append([]string{"--sandbox=namespace"}, tt.args...)...)
		askFeatures(t, connect(t, socket))
		pid := serving(t, p.cmd.Process.Pid)
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil || len(tasks) < 4 {
			t.Fatalf("%d threads, %v", len(tasks), err)
		}
		for _, task := range tasks {
			status, err := os.ReadFile(task)
			if err != nil {
				continue // it has ended
			}
			for _, line := range tt.want {
				if !strings.Contains(string(status), "\n"+line+"\n") {
					t.Errorf("%q: a thread has not %q:\n%s", tt.args, line, status)
				}
			}
		}
		p.signal(unix.SIGTERM)
		p.wait(0)
	}
}

// serving is the process that serves: pid, or its last descendant.
func serving(t *testing.T, pid int) int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lists {
		var child int
		b, _ := os.ReadFile(l)
		if n, _ := fmt.Sscan(string(b), &child); n == 1 {
			return serving(t, child)
		}
	}
	return pid
}
