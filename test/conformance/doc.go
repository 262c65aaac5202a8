// SPDX-License-Identifier: Apache-2.0

// Package conformance tests the whole daemon from the outside: a VMM and driver in user space
// (test/frontend) on one end of a socket, vhost-user, rings, FUSE and the host directory on the
// other. Each guest's end is checked for leaked file descriptors and goroutines.
package conformance
