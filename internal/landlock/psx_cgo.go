// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package landlock

import (
	"os"
	"strconv"
)

// tasks is a directory that psx lists after each thread, in programs that are built with cgo, as with the
// race detector. Empty: none.
func tasks() string { return "/proc/" + strconv.Itoa(os.Getpid()) + "/task" }
