// SPDX-License-Identifier: Apache-2.0

// Package seccomp keeps the process to the system calls that serving needs (seccomp(2)): who takes it
// over by a guest's request can start no program, make no network connection and map no code.
//
// The filter is a list of calls that pass, some only with certain arguments (list.go), and what happens
// on all others. Only the low half of an argument is looked at, which is all that the kernel looks at
// where a rule asks: numbers of type int, and flags that lie there.
package seccomp

import (
	"fmt"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Action is what happens on a call that the list does not have.
type Action uint32

// The actions, by their values in Linux include/uapi/linux/seccomp.h.
const (
	Kill Action = unix.SECCOMP_RET_KILL_PROCESS // the process ends by SIGSYS; the kernel's log names the call
	Trap Action = unix.SECCOMP_RET_TRAP         // likewise, and the Go runtime prints the call's number and all stacks
	Log  Action = unix.SECCOMP_RET_LOG          // it is carried out; the kernel's log names it
)

// Options say what the process does beside what all do.
type Options struct {
	FileHandles bool // files are opened by handle
}

// Install puts the filter on all threads of the process, for good. The process has no new privileges
// (prctl(2)) or CAP_SYS_ADMIN.
func Install(a Action, o Options) error {
	raw, err := bpf.Assemble(program(machine, rules(o), uint32(a)))
	if err != nil {
		return fmt.Errorf("assemble the filter of system calls: %w", err)
	}
	return install(raw)
}

// install is the system call itself, seccomp(2) with SECCOMP_FILTER_FLAG_TSYNC.
func install(raw []bpf.RawInstruction) error {
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	thread, err := setFilter(&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	if err != nil {
		return os.NewSyscallError("seccomp", err)
	}
	if thread != 0 {
		return fmt.Errorf("seccomp: thread %d has a filter of its own", thread)
	}
	return nil
}
