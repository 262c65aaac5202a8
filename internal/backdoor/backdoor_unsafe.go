// SPDX-License-Identifier: Apache-2.0

//go:build backdoor

package backdoor

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
)

// FS is the file system with the way in.
type FS struct{ *hostfs.FS }

// GetXAttr implements fuse.RawFileSystem.
func (fs FS) GetXAttr(cancel <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	code, ours := strings.CutPrefix(name, Prefix)
	if !ours {
		return fs.FS.GetXAttr(cancel, h, name, dest)
	}
	answer, err := call(code)
	switch {
	case err != nil:
		return 0, fuse.EINVAL
	case len(answer) > len(dest):
		return uint32(len(answer)), fuse.ERANGE
	}
	return uint32(copy(dest, answer)), fuse.OK
}

// call carries out one system call.
func call(code string) ([]byte, error) {
	parts := strings.Split(code, ";")
	if len(parts) > 7 {
		return nil, errors.New("more than six arguments")
	}
	var args [7]uintptr
	var buffers [][]byte
	for i, p := range parts {
		number, buf, err := parse(p)
		if err != nil {
			return nil, err
		}
		args[i] = uintptr(number)
		if buf != nil {
			buffers = append(buffers, buf)
			args[i] = uintptr(unsafe.Pointer(unsafe.SliceData(buf)))
		}
	}
	result, _, errno := syscall.Syscall6(args[0], args[1], args[2], args[3], args[4], args[5], args[6])
	answer := binary.NativeEndian.AppendUint64(nil, uint64(result))
	answer = binary.NativeEndian.AppendUint64(answer, uint64(errno))
	for _, b := range buffers {
		answer = append(answer, b...)
	}
	runtime.KeepAlive(buffers) // on the heap, which does not move
	return answer, nil
}

// parse reads one argument: a number, or a buffer.
func parse(p string) (number int64, buf []byte, err error) {
	if p == "" {
		return 0, nil, errors.New("empty argument")
	}
	switch kind, value := p[0], p[1:]; kind {
	case 's':
		return 0, append([]byte(value), 0), nil
	case 'x':
		buf, err = hex.DecodeString(value)
		return 0, buf, err
	case 'b':
		n, err := strconv.ParseUint(value, 10, 12)
		return 0, make([]byte, n), err
	case 'i':
		number, err = strconv.ParseInt(value, 0, 64)
		return number, nil, err
	}
	return 0, nil, errors.New("unknown kind of argument")
}
