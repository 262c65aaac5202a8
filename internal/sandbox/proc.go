// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

package sandbox

// NeedsProc tells whether the program, once it runs, finds its threads in /proc: not where it is built without
// cgo.
const NeedsProc = false

// mountProc does nothing: the sandbox has no /proc.
func mountProc(int) error { return nil }
