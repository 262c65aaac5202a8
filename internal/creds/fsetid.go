// SPDX-License-Identifier: Apache-2.0

package creds

import (
	"runtime"

	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// WithoutFSETID runs fn without CAP_FSETID, so that the host's kernel clears the setuid and setgid
// bits of a file that fn writes to or truncates, as it does for ordinary users
// (setattr_should_drop_suidgid of Linux fs/attr.c). fn's error is returned as it is. fn may block,
// unlike that of Do, as the thread lacks a right but has nobody else's.
func (s *Switcher) WithoutFSETID(fn func() error) error {
	const fsetid = 1 << unix.CAP_FSETID
	if s.own.Effective&fsetid == 0 {
		return fn()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	less := s.own
	less.Effective &^= fsetid
	if err := sys.Capset(less); err != nil {
		return err
	}
	defer s.mustRestore(func(uint32) error { return sys.Capset(s.own) }, s.uid)
	return fn()
}
