// SPDX-License-Identifier: Apache-2.0

// Package vhostuser is the back-end half of the vhost-user protocol over one connection:
// messages, file descriptors, order, acknowledgements, the state of each ring. It knows
// nothing of what the device does; that is a [Device].
//
// # The way of a message
//
//	channel.receive   header, payload and fds, bounded; a framing error ends the connection
//	Conn.check        the one choke point: known? fds? size? feature negotiated?
//	rule.handle       one short method a message
//	Conn.answer       exactly one reply where the front-end waits for one
//
// A message that is refused changes nothing: the front-end gets an error where the
// protocol has a place for one, the daemon's log gets a line, and the connection goes on.
//
// # Concurrency
//
// All state of a [Conn] belongs to the goroutine that runs [Conn.Serve]. Device methods are
// called from it, one at a time. The guest memory is shared with the device's queues and
// looks after itself.
//
// # Source
//
// Message numbers, payloads and rules are those of QEMU's docs/interop/vhost-user.rst,
// called "the specification" in comments here.
package vhostuser
