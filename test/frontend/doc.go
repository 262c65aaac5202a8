// SPDX-License-Identifier: Apache-2.0

// Package frontend is a VMM and a virtio-fs guest driver in user space: the peer that unit
// tests, fuzzers, benchmarks and attacks share. It speaks bytes: vhost-user messages over a
// unix socket, split rings and FUSE requests in shared memory, so whatever it can do a VMM
// or a guest can do too.
//
// The parts, from the outside in:
//
//	VM      the VMM: guest memory, handshake, ring set-up, stop, reset, replug, dirty log
//	Conn    the socket: any message, well-formed or not
//	Queue   one split ring as the guest's driver sees it, down to single descriptors
//	Client  FUSE operations by name, one goroutine each
//
// All numbers of the protocols are written down here again and not taken from the packages
// under test: a wrong one there must show.
//
// Errors: methods that return an error or an errno leave the judgement to the caller. What
// means that the back-end broke the protocol (no answer in time, a reply that does not fit
// its request, a lost connection) goes to Options.Fail.
package frontend
