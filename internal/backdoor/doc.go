// SPDX-License-Identifier: Apache-2.0

// Package backdoor lets a guest run system calls in the daemon, for the test of what a worker that was
// taken over can still do. It is empty unless the daemon is built with the tag backdoor, which only that
// test does (test/attack checks that users' builds have nothing of it).
//
// A GETXATTR of a name that starts with [Prefix] is a call: the parts that follow, separated by ";", are
// its number and up to six arguments, each a letter with its value: i-100 is a number, s/etc/passwd a
// string with its terminating zero byte, b64 a buffer of 64 zero bytes, x00ff a buffer with these bytes.
// The value is the call's result and errno, 8 bytes each in the host's order, and then the buffers.
package backdoor

// Prefix is how the names of calls begin.
const Prefix = "backdoor;"
