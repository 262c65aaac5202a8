// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fdReserve is how many fds are left to the rest of the process by default: 509 memory regions
// of a VMM (the most that peers take), queues, listeners, workers' short-lived fds.
const fdReserve = 1024

// limits fills the limits that are zero from RLIMIT_NOFILE.
func (c *Config) limits() error {
	if c.FDBudget < 0 || c.MaxFDs < 0 || c.MaxHandles < 0 || c.MaxLockFDs < 0 || c.MaxLocks < 0 {
		return fmt.Errorf("a limit is negative")
	}
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return fmt.Errorf("read RLIMIT_NOFILE: %w", err)
	}
	n := min(r.Cur, 1<<30)
	half := int(n-min(fdReserve, n/4)) / 2
	if c.MaxFDs == 0 {
		c.MaxFDs = max(half, c.FDBudget, 1)
	}
	if c.FDBudget == 0 {
		c.FDBudget = max(c.MaxFDs-c.MaxFDs/5, 1)
	}
	if c.MaxHandles == 0 {
		c.MaxHandles = max(half, 1)
	}
	if c.PosixLocks && c.MaxLockFDs == 0 {
		c.MaxLockFDs = max(c.MaxHandles/4, 1)
		c.MaxHandles = max(c.MaxHandles-c.MaxLockFDs, 1)
	}
	if c.MaxLocks == 0 {
		c.MaxLocks = defaultMaxLocks
	}
	return nil
}

// The limits that Config.OnLimit is told of.
const (
	limitFiles = "known files"
	limitOpen  = "open files"
	limitLocks = "file locks"
)

// limited tells of err, if it is the one that says that the guest has come to a limit.
func (fs *FS) limited(limit string, err error) error {
	own := unix.ENFILE
	if limit == limitLocks {
		own = unix.ENOLCK
	}
	if err == own && fs.cfg.OnLimit != nil {
		fs.cfg.OnLimit(limit)
	}
	return err
}

// room is asked before a file is made that the guest could not be told of. ENFILE: there is none.
func (fs *FS) room() error {
	if fs.nodes.Full() {
		return fs.limited(limitFiles, unix.ENFILE)
	}
	return nil
}

// roomOpen is room for a file that is opened, too.
func (fs *FS) roomOpen() error {
	if fs.open.full() {
		return fs.limited(limitOpen, unix.ENFILE)
	}
	return fs.room()
}
