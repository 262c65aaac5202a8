// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dirent is one entry of a directory (struct linux_dirent64 of getdents64(2)).
type Dirent struct {
	Ino  uint64
	Off  uint64 // where the entry after this one is found; opaque, may have the top bit set
	Type uint8  // DT_*
	Name []byte // bytes of the buffer given to Next
}

const direntHead = 19 // offsetof(struct linux_dirent64, d_name)

// Getdents reads entries of directory fd into buf and returns the bytes used, 0 at the end.
// EINVAL: buf is too small for the next entry.
func Getdents(fd int, buf []byte) (int, error) {
	return retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall(unix.SYS_GETDENTS64, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
		return r, e
	})
}

// Next takes the first entry off buf, as Getdents filled it, and returns the rest. ok is false at
// the end, and for bytes that are no entry.
func (d *Dirent) Next(buf []byte) (rest []byte, ok bool) {
	if len(buf) < direntHead {
		return nil, false
	}
	n := int(binary.NativeEndian.Uint16(buf[16:]))
	if n < direntHead || n > len(buf) {
		return nil, false
	}
	d.Ino = binary.NativeEndian.Uint64(buf)
	d.Off = binary.NativeEndian.Uint64(buf[8:])
	d.Type = buf[18]
	d.Name = buf[direntHead:n]
	if end := bytes.IndexByte(d.Name, 0); end >= 0 {
		d.Name = d.Name[:end]
	}
	return buf[n:], true
}

// String returns the name's bytes as a string that is valid as long as they are unchanged.
func (d *Dirent) String() string { return unsafe.String(unsafe.SliceData(d.Name), len(d.Name)) }

// Syncfs writes back the file system that fd, not O_PATH, lies on.
func Syncfs(fd int) error {
	_, err := retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall(unix.SYS_SYNCFS, uintptr(fd), 0, 0)
		return r, e
	})
	return err
}

// Readlink reads the target of the symbolic link that fd, an O_PATH fd, refers to into buf.
func Readlink(fd int, buf []byte) (int, error) {
	var c cname // empty
	return retry(func() (uintptr, syscall.Errno) {
		r, _, e := syscall.Syscall6(unix.SYS_READLINKAT, uintptr(fd), uintptr(unsafe.Pointer(&c)),
			uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0, 0)
		return r, e
	})
}
