// SPDX-License-Identifier: Apache-2.0

package capabilities

import (
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
)

// psx makes a system call on all threads also where the program is built with cgo, as with the race
// detector, which the standard library's syscall.AllThreadsSyscall does not.

// prctl is prctl(2) on all threads.
func prctl(option, arg uintptr) error {
	if _, _, e := psx.Syscall6(unix.SYS_PRCTL, option, arg, 0, 0, 0, 0); e != 0 {
		return e
	}
	return nil
}

// capset is capset(2) on all threads.
func capset(c sys.Capabilities) error {
	header, data := c.Wire()
	if _, _, e := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0); e != 0 {
		return e
	}
	return nil
}
