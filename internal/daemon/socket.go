// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sockdiag"
)

// socket is the listening socket that the VMM connects to. The owner closes it.
type socket struct {
	*net.UnixListener
	path string      // the file that we made; "" for an inherited socket
	file fs.FileInfo // that file, to know it from a later one at the same path
}

// openSocket makes or takes over the listening socket that c asks for.
func openSocket(c config.Share, log *zap.Logger) (*socket, error) {
	if c.SocketPath == "" {
		return inheritSocket(c.FD)
	}
	return listen(c.SocketPath, log)
}

// Close stops listening and removes the socket file, unless another has taken its place.
func (s *socket) Close() error {
	if s.path != "" {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.file) {
			os.Remove(s.path)
		}
	}
	return s.UnixListener.Close()
}

// listen binds a new socket to path, for the daemon's user only. A file of a dead server is
// replaced; a live server, or a file that is no socket, is an error.
func listen(path string, log *zap.Logger) (*socket, error) {
	dir := filepath.Dir(path)
	if st, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the directory of the socket, %s, does not exist: create it", dir)
	} else if err != nil {
		return nil, fmt.Errorf("the directory of the socket: %w", err)
	} else if !st.IsDir() {
		return nil, fmt.Errorf("the socket cannot be made, as %s is not a directory", dir)
	}
	defer lockDir(dir)()
	if err := removeStale(path, log); err != nil {
		return nil, err
	}
	old := unix.Umask(0o077)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("making the socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	file, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("the socket just made: %w", err)
	}
	return &socket{UnixListener: l, path: path, file: file}, nil
}

// removeStale makes sure that nothing is at path: a stale socket file is removed, all else an error.
func removeStale(path string, log *zap.Logger) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("the socket: %w", err)
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket: it stays as it is; choose another --socket-path", path)
	}
	holder, live, err := sockdiag.Find(path)
	switch {
	case err != nil:
		return fmt.Errorf("%s exists, and whether somebody uses it cannot be found out: remove it yourself if nobody does: %w", path, err)
	case live:
		return fmt.Errorf("%s is in use by %v: stop that process, or choose another --socket-path", path, holder)
	}
	log.Info("Replacing a stale socket file", zap.String("path", path))
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("the stale socket: %w", err)
	}
	return nil
}

// lockDir keeps other daemons of this kind, started at the same moment, from looking at the
// socket's path between our look and our bind. Programs with other reasons to lock the directory
// must not keep us from starting, so the wait is short, and failure is only a lost protection.
func lockDir(dir string) (unlock func()) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	for range 100 {
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return func() { f.Close() }
}
