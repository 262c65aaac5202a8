// SPDX-License-Identifier: Apache-2.0

// Package fusecore carries out FUSE requests that arrive as byte ranges. It decodes a request,
// calls one method of a go-fuse RawFileSystem, and writes the reply. It knows nothing about
// virtqueues or sockets: whoever owns the memory hands in the ranges of one request.
//
// # The way of a request
//
// Session.Handle copies the header and the fixed arguments once into the Request's own
// memory, finds the operation in the table (table.go), checks lengths, names and room for the
// reply, and only then enters the file system. Data of READ and WRITE is handed to the file
// system as ranges of the guest's own buffers, all else is copied. The reply's header and its
// fixed part are written last, in one go.
//
// # Hostile input
//
// The ranges may be memory that a guest changes while we read it, so each byte is read at most
// once. A request that is wrong costs an error reply and nothing else; errno.go says which
// error. Ranges may fault when the memory behind them goes away: such a fault is a panic that
// passes through Handle to its caller (see panic.go). Every other panic of the file system
// becomes EIO for that request.
//
// # Concurrency
//
// Handle may be called by any number of goroutines, each with its own Request. All requests
// that are inside the file system are linked into inflight (inflight.go), which is how INTERRUPT
// finds them and how INIT and DESTROY wait for them before they reset the file system. Lock
// order: Session.control, then the lock of a shard of inflight. No lock is held while the file
// system is called, except control during its Reset and InitFlags.
package fusecore
