// SPDX-License-Identifier: Apache-2.0

// Package capabilities takes from the process the rights of root that it has no use for.
//
// Capabilities belong to threads, and a thread that the Go runtime starts has those of the one that
// started it. So they are changed on all threads at once, which the runtime does with the program
// stopped, and before any thread has other ids than the rest (internal/creds): a call whose result
// differs between threads ends the process.
package capabilities

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
)

// Set is a set of capabilities: bit N is number N of Linux include/uapi/linux/capability.h.
type Set uint64

// Of returns the set of the capabilities with these numbers.
func Of(numbers ...int) (s Set) {
	for _, n := range numbers {
		s |= 1 << n
	}
	return s
}

// Serving is what a file server needs that acts for all users of a guest, as its root too.
var Serving = Of(unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETGID,
	unix.CAP_SETUID, unix.CAP_MKNOD, unix.CAP_SETFCAP)

// Keep leaves all threads of the process the capabilities of want that it has, permitted and effective,
// and nothing that a program that it executes could get: no inheritable, ambient or bounding ones, and no
// new privileges (prctl(2)). It returns those that it kept. Without CAP_SETPCAP the bounding set stays, and
// means nothing, as there are no new privileges.
//
// It is called once, before the first request. After an error the process shall end.
func Keep(want Set) (Set, error) {
	had, err := sys.Capget()
	if err != nil {
		return 0, os.NewSyscallError("capget", err)
	}
	if had.Effective&uint64(Of(unix.CAP_SETPCAP)) != 0 {
		if err := emptyBoundingSet(); err != nil {
			return 0, err
		}
	}
	if err := prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil {
		return 0, fmt.Errorf("clear ambient capabilities: %w", err)
	}
	kept := sys.Capabilities{Effective: had.Permitted & uint64(want), Permitted: had.Permitted & uint64(want)}
	if err := capset(kept); err != nil {
		return 0, os.NewSyscallError("capset", err)
	}
	if err := prctl(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return 0, fmt.Errorf("give up new privileges: %w", err)
	}
	return Set(kept.Permitted), nil
}

// emptyBoundingSet drops each capability that the kernel knows; it knows none behind the first that it
// does not know.
func emptyBoundingSet() error {
	for n := range 64 {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		if err == unix.EINVAL {
			return nil
		}
		if err == nil && in != 0 {
			err = prctl(unix.PR_CAPBSET_DROP, uintptr(n))
		}
		if err != nil {
			return fmt.Errorf("take capability %d off the bounding set: %w", n, err)
		}
	}
	return nil
}
