// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// status is the one place where an error becomes what the guest gets: the errno of the host as it
// is, EIO for an error without one.
func status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	if e, ok := err.(syscall.Errno); ok {
		return fuse.Status(e)
	}
	var e syscall.Errno
	if errors.As(err, &e) && e != 0 {
		return fuse.Status(e)
	}
	return fuse.EIO
}
