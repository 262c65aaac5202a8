// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package sandbox

import "golang.org/x/sys/unix"

// NeedsProc tells whether the program, once it runs, finds its threads in /proc to make a system call on all of
// them (package psx): it is built with cgo, as with the race detector.
const NeedsProc = true

// mountProc makes /proc of the PID namespace, which is the worker's alone, without anything but processes, and
// read-only.
func mountProc(root int) error {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "subset", "pid"); err != nil {
		return err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	proc, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, hardened|unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(proc)
	if err := unix.Mkdirat(root, "proc", 0o500); err != nil {
		return err
	}
	return unix.MoveMount(proc, "", root, "proc", unix.MOVE_MOUNT_F_EMPTY_PATH)
}
