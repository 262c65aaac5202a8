// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

package seccomp

// ofBuild is empty: a static binary makes no other calls than those of Go.
var ofBuild []rule
