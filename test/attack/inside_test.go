// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/backdoor"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// mole is a daemon with the backdoor, and a guest that makes its worker run system calls.
type mole struct {
	t       *testing.T
	d       *daemon
	g       *frontend.Driver
	outside string // path of a file beside the share
	dead    bool   // the worker ended by a call
}

// errGone is what the frontend's guest panics with when the daemon does not answer.
var errGone = errors.New("the daemon has gone")

func goInside(t *testing.T, bin string, args ...string) *mole {
	t.Helper()
	d := startDaemon(t, bin, 1, args...)
	vm, err := frontend.Connect(d.socks[0], frontend.Options{
		Memory: []frontend.MemSpec{{Size: 4 << 20}}, Timeout: 5 * time.Second,
		Fail: func(err error) { panic(fmt.Errorf("%w: %w", errGone, err)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vm.Close)
	in := &mole{t: t, d: d, g: vm.Start(), outside: filepath.Join(filepath.Dir(d.shares[0]), "outside")}
	in.g.MustInit()
	return in
}

// call runs a system call in the worker. Arguments are int, string or []byte; the buffers that were
// handed over come back. A worker that ends by it is dead, and all further calls fail.
func (in *mole) call(nr int, args ...any) (result int, buffers []byte, errno syscall.Errno) {
	in.t.Helper()
	name := fmt.Sprintf("%si%d", backdoor.Prefix, nr)
	for _, a := range args {
		switch v := a.(type) {
		case int:
			name += fmt.Sprintf(";i%d", v)
		case string:
			name += ";s" + v
		case []byte:
			name += ";x" + hex.EncodeToString(v)
		case buffer:
			name += fmt.Sprintf(";b%d", int(v))
		default:
			in.t.Fatalf("argument %v of system call %d", a, nr)
		}
	}
	if in.dead {
		return -1, nil, unix.ECHILD
	}
	defer func() {
		r := recover()
		if err, _ := r.(error); errors.Is(err, errGone) {
			in.dead = true
			result, errno = -1, unix.ECHILD
		} else if r != nil {
			panic(r)
		}
	}()
	b, status := in.g.GetXAttr(frontend.RootID, name, 4096)
	if status != 0 {
		in.t.Fatalf("the backdoor answers %v to %q", status, name)
	}
	return int(int64(binary.NativeEndian.Uint64(b))), b[16:], syscall.Errno(binary.NativeEndian.Uint64(b[8:]))
}

// buffer stands for that many zero bytes, for results.
type buffer int

// ok is call for calls that count as done when they succeed.
func (in *mole) ok(nr int, args ...any) bool {
	in.t.Helper()
	_, _, errno := in.call(nr, args...)
	return errno == 0
}

// reads says whether an fd of the worker's gives the secret.
func (in *mole) reads(fd int) bool {
	in.t.Helper()
	n, b, errno := in.call(unix.SYS_PREAD64, fd, buffer(64), 64, 0)
	return errno == 0 && n >= 0 && strings.HasPrefix(string(b), secret)
}

// opens says whether a path leads to the secret, from the worker's directory or any fd that it has.
func (in *mole) opens(path string) bool {
	in.t.Helper()
	for dir := -1; dir < 40; dir++ {
		at := dir
		if dir < 0 {
			at = unix.AT_FDCWD
		}
		fd, _, errno := in.call(unix.SYS_OPENAT, at, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if in.dead {
			return false
		}
		if errno == 0 && in.reads(fd) {
			return true
		}
		if errno == 0 {
			in.call(unix.SYS_CLOSE, fd)
		}
		if strings.HasPrefix(path, "/") {
			return false // the directory does not count
		}
	}
	return false
}

// opensHandle says whether a file handle leads to the secret, over any fd that the worker has.
func (in *mole) opensHandle(flags int) bool {
	in.t.Helper()
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, in.outside, 0)
	if err != nil {
		in.t.Fatal(err)
	}
	raw := binary.NativeEndian.AppendUint32(nil, uint32(h.Size()))
	raw = binary.NativeEndian.AppendUint32(raw, uint32(h.Type()))
	raw = append(raw, h.Bytes()...)
	for mount := range 40 {
		fd, _, errno := in.call(unix.SYS_OPEN_BY_HANDLE_AT, mount, raw, flags)
		if in.dead {
			return false
		}
		if errno == 0 && (flags&unix.O_PATH != 0 || in.reads(fd)) {
			return true
		}
	}
	return false
}
