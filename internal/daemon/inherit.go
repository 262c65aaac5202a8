// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// inheritSocket takes over file descriptor fd, which the process that started us left open. fd
// is closed; the socket that is returned has a number of its own.
func inheritSocket(fd int) (*socket, error) {
	if err := checkListening(fd); err != nil {
		return nil, fmt.Errorf("--fd %d: %w", fd, err)
	}
	f := os.NewFile(uintptr(fd), "inherited socket")
	defer f.Close()
	l, err := listenerOf(f)
	if err != nil {
		return nil, fmt.Errorf("--fd %d: %w", fd, err)
	}
	return &socket{UnixListener: l}, nil
}

// listenerOf returns a listener on the socket f, which stays the caller's.
func listenerOf(f *os.File) (*net.UnixListener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	ul, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("is a %s socket, not a unix one", l.Addr().Network())
	}
	return ul, nil
}

// checkListening says in plain words why fd is not a listening unix stream socket.
func checkListening(fd int) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	switch {
	case errors.Is(err, unix.EBADF):
		return errors.New("is not open: the program that starts the daemon has to leave it open (no close-on-exec)")
	case errors.Is(err, unix.ENOTSOCK):
		return errors.New("is open, but not a socket: hand over a listening unix socket")
	case err != nil:
		return err
	case domain != unix.AF_UNIX:
		return errors.New("is a socket, but not a unix socket: vhost-user passes memory, which only those can")
	}
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return err
	}
	if typ != unix.SOCK_STREAM {
		return errors.New("is a unix socket, but not a stream one: make it with SOCK_STREAM")
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return err
	}
	if listening == 0 {
		return errors.New("is a unix socket that does not listen: hand over the listening socket, not a connection")
	}
	return nil
}
