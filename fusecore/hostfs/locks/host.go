// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"io"

	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// again repeats a call that was interrupted by a signal of the Go runtime.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// wire is s for fcntl(2).
func (s span) wire() unix.Flock_t {
	l := unix.Flock_t{Type: s.typ, Whence: io.SeekStart, Start: s.start}
	if s.end != maxOffset {
		l.Len = s.end - s.start + 1
	}
	return l
}

// setLock changes the ranges of fd's description. EAGAIN: another one has a lock that conflicts.
func setLock(fd int, s span) error {
	l := s.wire()
	err := again(func() error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &l) })
	if err == unix.EACCES { // the other errno that POSIX allows
		err = unix.EAGAIN
	}
	return err
}

// getLock finds a lock that keeps fd's description from having s; type F_UNLCK: there is none.
func getLock(fd int, s span) (span, error) {
	l := s.wire()
	if err := again(func() error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &l) }); err != nil {
		return span{}, err
	}
	got := span{l.Start, maxOffset, l.Type}
	if l.Len != 0 {
		got.end = l.Start + l.Len - 1
	}
	return got, nil
}

// flockFD changes the flock lock of fd's description. EAGAIN as for setLock.
func flockFD(fd int, typ int16) error {
	how := unix.LOCK_UN
	switch typ {
	case unix.F_RDLCK:
		how = unix.LOCK_SH | unix.LOCK_NB
	case unix.F_WRLCK:
		how = unix.LOCK_EX | unix.LOCK_NB
	}
	return again(func() error { return unix.Flock(fd, how) })
}

// keyOf looks at the file of fd.
func keyOf(fd int) (key, error) {
	var st unix.Statx_t
	if err := sys.Statx(fd, unix.AT_NO_AUTOMOUNT, unix.STATX_INO, &st); err != nil {
		return key{}, err
	}
	return key{uint64(st.Dev_major)<<32 | uint64(st.Dev_minor), st.Ino}, nil
}

// closeFD closes fd, unless it is -1.
func closeFD(fd int) {
	if fd >= 0 {
		_ = sys.Close(fd)
	}
}
