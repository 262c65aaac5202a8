// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pidFile is PATH.pid beside the socket PATH: it has the number of the process and a line feed, and
// is locked (flock) as long as the process lives, as the Rust virtiofsd's is. So there is only one
// daemon for a socket, and programs that start it find its process. The owner closes it.
type pidFile struct {
	*os.File
	info fs.FileInfo
}

// errLocked is the cause when another daemon has the lock.
var errLocked = errors.New("locked by another process")

// newPIDFile makes and locks the file at path, or takes over that of a dead daemon.
func newPIDFile(path string) (*pidFile, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		p, err := lockPIDFile(f)
		if err == nil && p == nil {
			f.Close()
			continue // its last owner has removed it meanwhile
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return p, nil
	}
}

// lockPIDFile returns nil without an error if f is not at its path any more.
func lockPIDFile(f *os.File) (*pidFile, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return nil, errLocked
	}
	if err != nil {
		return nil, os.NewSyscallError("flock", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if now, err := os.Lstat(f.Name()); err != nil || !os.SameFile(now, info) {
		return nil, nil
	}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	if _, err := f.WriteString(strconv.Itoa(os.Getpid()) + "\n"); err != nil {
		return nil, err
	}
	return &pidFile{f, info}, nil
}

// Close removes the file, unless another has taken its place, and lets go of the lock.
func (p *pidFile) Close() error {
	removeIfSame(p.Name(), p.info)
	return p.File.Close()
}

// lockOwner names the process that the pid file at path tells of.
func lockOwner(path string) string {
	b, err := os.ReadFile(path)
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return "process " + quoted(pid)
	}
	return "another daemon"
}

// removeIfSame removes the file at path if it is the one that info is about.
func removeIfSame(path string, info fs.FileInfo) {
	if now, err := os.Lstat(path); err == nil && os.SameFile(now, info) {
		os.Remove(path)
	}
}
