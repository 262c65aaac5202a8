// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockMain is "agent lock KIND FILE [COUNT]": it waits for a lock on a file. Then it says "locked" and
// keeps it until it is killed; or, with COUNT, adds one to the number in the file so many times,
// each time under the lock. An error is told with its errno as a number, which can be one that has
// no name. It works on hosts, too.
func lockMain() error {
	if len(os.Args) < 4 {
		return fmt.Errorf("usage: agent lock posix|ofd|flock FILE [COUNT]")
	}
	f, err := os.OpenFile(os.Args[3], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	kind, fd := os.Args[2], int(f.Fd())
	if len(os.Args) == 4 {
		if err := setLock(kind, fd, unix.F_WRLCK); err != nil {
			return err
		}
		fmt.Println("locked")
		time.Sleep(time.Hour)
		return nil
	}
	n, err := strconv.Atoi(os.Args[4])
	if err != nil {
		return err
	}
	for range n {
		if err := setLock(kind, fd, unix.F_WRLCK); err != nil {
			return err
		}
		if err := increment(f); err != nil {
			return err
		}
		if err := setLock(kind, fd, unix.F_UNLCK); err != nil {
			return err
		}
	}
	return nil
}

// setLock takes a lock of a whole file, or gives it up.
func setLock(kind string, fd int, typ int16) error {
	for {
		var err error
		l := unix.Flock_t{Type: typ}
		switch kind {
		case "posix":
			err = unix.FcntlFlock(uintptr(fd), unix.F_SETLKW, &l)
		case "ofd":
			err = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLKW, &l)
		default:
			how := map[int16]int{unix.F_WRLCK: unix.LOCK_EX, unix.F_UNLCK: unix.LOCK_UN}
			err = unix.Flock(fd, how[typ])
		}
		switch errno, _ := err.(unix.Errno); errno {
		case 0:
			return nil
		case unix.EINTR: // a signal of the Go runtime
		default:
			return fmt.Errorf("lock: errno %d", int(errno))
		}
	}
}

func increment(f *os.File) error {
	var buf [20]byte
	n, err := f.ReadAt(buf[:], 0)
	if n == 0 {
		return fmt.Errorf("read: %w", err)
	}
	i, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		return err
	}
	time.Sleep(time.Millisecond) // in which another one comes, if the lock does not hold
	_, err = f.WriteAt(fmt.Appendf(nil, "%019d\n", i+1), 0)
	return err
}
