// SPDX-License-Identifier: Apache-2.0

package seccomp

import "golang.org/x/sys/unix"

var machine = arch{audit: unix.AUDIT_ARCH_AARCH64}

// ofMachine are calls by names that only this machine has.
var ofMachine = calls(unix.SYS_NEWFSTATAT)
