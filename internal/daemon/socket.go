// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sandbox"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sockdiag"
)

// socket is the listening socket that the VMM connects to. The owner closes it.
type socket struct {
	*net.UnixListener
	pid  *pidFile    // beside the file that we made; nil for an inherited socket
	path string      // that file; "" for an inherited socket
	file fs.FileInfo // that file, to know it from a later one at the same path
}

// openSockets opens the sockets of all shares, or none. What is wrong with a shared directory is said first.
func openSockets(shares []config.Share, log *zap.Logger) (sockets []*socket, err error) {
	for _, c := range shares {
		var s *socket
		if err = checkDir(c.SharedDir); err == nil {
			s, err = openSocket(c, log)
		}
		if err != nil {
			closeSockets(sockets)
			return nil, err
		}
		sockets = append(sockets, s)
	}
	return sockets, nil
}

// closeSockets removes the socket files that are there.
func closeSockets(sockets []*socket) {
	for _, s := range sockets {
		s.Close()
	}
}

// openSocket makes or takes over the listening socket that c asks for.
func openSocket(c config.Share, log *zap.Logger) (*socket, error) {
	if c.SocketPath == "" {
		return inheritSocket(c.FD)
	}
	gid, err := lookupGroup(c.SocketGroup)
	if err != nil {
		return nil, err
	}
	return listen(c.SocketPath, gid, log)
}

// Close stops listening and removes the socket file and its pid file, unless others have taken their
// places. A second call does nothing.
func (s *socket) Close() error {
	if s.path != "" {
		removeIfSame(s.path, s.file)
		s.path = ""
		s.pid.Close()
	}
	if err := s.UnixListener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// noGroup stands for no group in the place of its number.
const noGroup = -1

// lookupGroup finds the number of a group that is given by name or number; noGroup for "".
func lookupGroup(name string) (int, error) {
	if name == "" {
		return noGroup, nil
	}
	number := name
	if g, err := user.LookupGroup(name); err == nil {
		number = g.Gid
	}
	gid, err := strconv.ParseUint(number, 10, 32)
	if err != nil || gid == math.MaxUint32 { // which stands for no group (chown(2))
		return 0, fmt.Errorf("--socket-group %s: there is no such group on this host", name)
	}
	return int(gid), nil
}

// listen binds a new socket to path, for the daemon's user only, or also for the members of group
// gid. A file of a dead server is replaced; a live server, or a file that is no socket, is an error.
func listen(path string, gid int, log *zap.Logger) (s *socket, err error) {
	if err := checkPlace(path); err != nil {
		return nil, err
	}
	pid, err := newPIDFile(path + ".pid")
	if err != nil {
		return nil, refusal(path, err)
	}
	defer func() {
		if err != nil {
			pid.Close()
		}
	}()
	if err := removeStale(path, log); err != nil {
		return nil, err
	}
	l, err := bind(path, gid)
	if err != nil {
		return nil, err
	}
	file, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("the socket just made: %w", err)
	}
	return &socket{UnixListener: l, pid: pid, path: path, file: file}, nil
}

// checkPlace says what keeps a socket from being at path, but for a socket that is there.
func checkPlace(path string) error {
	dir := filepath.Dir(path)
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the directory of the socket, %s, does not exist: create it", dir)
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("the socket cannot be made, as a part of %s is not a directory", dir)
	case err != nil:
		return fmt.Errorf("the directory of the socket: %w", err)
	case !st.IsDir():
		return fmt.Errorf("the socket cannot be made, as %s is not a directory", dir)
	}
	st, err = os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("the socket: %w", err)
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket: it stays as it is; choose another --socket-path", path)
	}
	return nil
}

// refusal says why the pid file of the socket at path cannot be had.
func refusal(path string, err error) error {
	switch {
	case errors.Is(err, errLocked):
		if holder, live, err := sockdiag.Find(path); err == nil && live {
			return inUse(path, holder)
		}
		return fmt.Errorf("%s is in use by %s, which has %s.pid locked: stop it, or choose another --socket-path",
			path, lockOwner(path+".pid"), path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to make a socket in %s, for user %d: change the directory's owner or mode, or choose another --socket-path",
			filepath.Dir(path), os.Geteuid())
	}
	return fmt.Errorf("the pid file of the socket: %w", err)
}

func inUse(path string, holder sockdiag.Socket) error {
	return fmt.Errorf("%s is in use by %v: stop that process, or choose another --socket-path", path, holder)
}

// removeStale makes sure that no socket is at path: a stale one is removed, a live one an error.
func removeStale(path string, log *zap.Logger) error {
	if err := checkPlace(path); err != nil {
		return err // something else was put there meanwhile
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	holder, live, err := findLive(path)
	switch {
	case err != nil:
		return fmt.Errorf("%s exists, and whether somebody uses it cannot be found out: remove it yourself if nobody does: %w", path, err)
	case live:
		return inUse(path, holder)
	}
	log.Info("Replacing a stale socket file", zap.String("path", path))
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("the stale socket: %w", err)
	}
	return nil
}

// findLive finds who has the socket at path, whose pid file is ours. A worker whose parent was killed is
// given the moment that it takes to end, in which it is seen or nobody is.
func findLive(path string) (holder sockdiag.Socket, live bool, err error) {
	const patience, step = time.Second, 10 * time.Millisecond
	for waited := time.Duration(0); ; waited += step {
		holder, live, err = sockdiag.Find(path)
		other := func(h sockdiag.Holder) bool { return h.Comm != sandbox.Comm }
		if err != nil || !live || slices.ContainsFunc(holder.Holders, other) || waited >= patience {
			return holder, live, err
		}
		time.Sleep(step)
	}
}

// bind makes the socket. Nobody can connect before its owner and mode are right, as it does not
// listen yet.
func bind(path string, gid int) (*net.UnixListener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making the socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	mask := 0o077
	if gid != noGroup {
		mask = 0o007
	}
	old := unix.Umask(mask)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("making the socket %s: %w", path, err)
	}
	if gid != noGroup {
		err = os.Lchown(path, -1, gid)
	}
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	var l net.Listener
	if err == nil {
		l, err = net.FileListener(f)
	}
	if err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("making the socket %s: %w", path, hint(err, gid))
	}
	return l.(*net.UnixListener), nil
}

// hint says more about a failure to give the socket to a group.
func hint(err error, gid int) error {
	if gid != noGroup && errors.Is(err, unix.EPERM) {
		return fmt.Errorf("user %d may not give it to group %d: become a member, or start the daemon as root", os.Geteuid(), gid)
	}
	return err
}
