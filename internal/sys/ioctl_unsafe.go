// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ioctl carries out an ioctl(2) whose argument is the structure in arg, which is at least as long
// as the kernel takes it to be.
func Ioctl(fd int, cmd uint32, arg []byte) error {
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(cmd), uintptr(unsafe.Pointer(unsafe.SliceData(arg))))
		return r, e
	})
	return err
}
