// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls here act on the calling thread alone, unlike those of package syscall, which the Go
// runtime spreads over all threads. The caller has locked the thread.

// SetEffectiveGID sets the thread's effective (and with it file system) group id.
func SetEffectiveGID(gid uint32) error { return setres(unix.SYS_SETRESGID, gid) }

// SetEffectiveUID sets the thread's effective (and with it file system) user id. Going from 0 to
// another id empties the effective capabilities, going back refills them (capabilities(7)).
func SetEffectiveUID(uid uint32) error { return setres(unix.SYS_SETRESUID, uid) }

func setres(trap uintptr, id uint32) error {
	const keep = ^uintptr(0)
	if _, _, e := syscall.RawSyscall(trap, keep, uintptr(id), keep); e != 0 {
		return e
	}
	return nil
}

// SetGroups sets the thread's supplementary groups.
func SetGroups(groups []uint32) error {
	if _, _, e := syscall.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)),
		uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0); e != 0 {
		return e
	}
	return nil
}

// Capabilities are the capability sets of a thread, bit n for capability number n.
type Capabilities struct{ Effective, Permitted, Inheritable uint64 }

// Capget reads the calling thread's capabilities.
func Capget() (Capabilities, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if _, _, e := syscall.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&d)), 0); e != 0 {
		return Capabilities{}, e
	}
	join := func(lo, hi uint32) uint64 { return uint64(hi)<<32 | uint64(lo) }
	return Capabilities{
		Effective:   join(d[0].Effective, d[1].Effective),
		Permitted:   join(d[0].Permitted, d[1].Permitted),
		Inheritable: join(d[0].Inheritable, d[1].Inheritable),
	}, nil
}

// Capset sets the calling thread's capabilities.
func Capset(c Capabilities) error {
	header, data := c.Wire()
	if _, _, e := syscall.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0); e != 0 {
		return e
	}
	return nil
}

// Wire returns what capset(2) is given to set c.
func (c Capabilities) Wire() (unix.CapUserHeader, [2]unix.CapUserData) {
	return unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{
		{Effective: uint32(c.Effective), Permitted: uint32(c.Permitted), Inheritable: uint32(c.Inheritable)},
		{Effective: uint32(c.Effective >> 32), Permitted: uint32(c.Permitted >> 32), Inheritable: uint32(c.Inheritable >> 32)},
	}
}
