// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setFilter puts f on all threads. thread is one that does not take it; 0: all do.
func setFilter(f *unix.SockFprog) (thread int, err error) {
	r, _, e := syscall.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(f)))
	if e != 0 {
		return 0, e
	}
	return int(r), nil
}
