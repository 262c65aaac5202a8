// SPDX-License-Identifier: Apache-2.0

package creds

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ids of the whole process are changed at its start only, while all threads have the same ones: the Go
// runtime ends a program whose threads differ.

// LeaveGroups leaves the process in no supplementary group, which files of guests could end up in
// (CVE-2022-0358). It returns the groups that stay, as it may not give them up: without CAP_SETGID, or in a
// user namespace that forbids it (user_namespaces(7), /proc/PID/setgroups).
func LeaveGroups() (stay []int, err error) {
	groups, err := os.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("read supplementary groups: %w", err)
	}
	if len(groups) == 0 {
		return nil, nil
	}
	err = syscall.Setgroups(nil)
	if errors.Is(err, unix.EPERM) {
		return groups, nil
	}
	return nil, os.NewSyscallError("setgroups", err)
}

// BecomeRoot takes the ids of root, where the user namespace has them; else the own ones stay.
func BecomeRoot() error {
	if err := syscall.Setresgid(0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return os.NewSyscallError("setresgid", err)
	}
	if err := syscall.Setresuid(0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
		return os.NewSyscallError("setresuid", err)
	}
	return nil
}
