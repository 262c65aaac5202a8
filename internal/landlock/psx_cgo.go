// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package landlock

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openTasks opens the directory that psx lists after each thread, in programs that are built with cgo, as with
// the race detector. -1: there is none.
func openTasks() int {
	fd, err := unix.Open("/proc/"+strconv.Itoa(os.Getpid())+"/task", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}
