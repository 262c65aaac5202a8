// SPDX-License-Identifier: Apache-2.0

package seccomp

import "golang.org/x/sys/unix"

// machine: numbers from __X32_SYSCALL_BIT on are those of x32 (Linux arch/x86/include/uapi/asm/unistd.h).
var machine = arch{audit: unix.AUDIT_ARCH_X86_64, foreign: 0x40000000}

// ofMachine are calls by names that only this machine has.
var ofMachine = calls(unix.SYS_GETRLIMIT, unix.SYS_NEWFSTATAT)
