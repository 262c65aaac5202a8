// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package seccomp

import (
	"slices"

	"golang.org/x/sys/unix"
)

// ofBuild are the calls of glibc for its threads and memory, and of the race detector.
var ofBuild = slices.Concat(
	calls(unix.SYS_BRK, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_MREMAP, unix.SYS_RSEQ, unix.SYS_SET_ROBUST_LIST),
	[]rule{{number: unix.SYS_MPROTECT, when: []condition{none(2, unix.PROT_EXEC)}}},
)
