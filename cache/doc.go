// SPDX-License-Identifier: Apache-2.0

// Package cache is the page cache between guests and the files of the host, with the synchronous
// write policy: what a guest was told to be written is on the host, and no reader is ever given a
// byte that the host did not take. docs/sync-write-policy.md is the policy, as built here.
//
// # The way of a request
//
// A read is answered from pages as far as they go; the rest is one host read, and what it brought
// is kept where that needs no waiting. Readers take no range lock and wait for nobody but the host.
//
// Whoever changes a file takes the range lock of the pages concerned, in one step, and holds it
// until the host has answered and the pages are set. A small write to a file that has pages goes
// through them; a large one, a direct one and every other change takes the pages out before it asks
// the host, so that meanwhile readers ask the host, too.
//
// # States of a page
//
// A page is absent, or in its mapping's table: idle (uptodate), or busy. Busy is "locked" and
// "writeback" of the policy in one: a writer has put bytes into it that the host has not yet
// taken. Only the holder of the range lock makes a page busy, so that nobody waits for one. A page
// that is not uptodate holds nothing of use and is absent: a partial write of a page whose other
// bytes are unknown goes to the host straight from the guest's memory.
//
// # Locks
//
// In this order, each only if those before it are held or not needed:
//
//   - a range lock of a mapping: held across host calls; waited for in FIFO order (rangelock.go)
//   - Cache.table: which mappings there are
//   - Cache.mu: frames, their queues, and which page a frame was given to
//   - mapping.mu: pages, fills, range locks, stamp
//
// The three mutexes are held for a few instructions, never over a host call or a copy of data.
// Frames that a mapping gives up are freed after its mutex is released, as Cache.mu comes before it.
//
// # Guest memory
//
// Buffers may be memory of a guest: hostile, and perhaps not there. What is kept is never copied
// from memory to which a reply was written. A fault (a panic under debug.SetPanicOnFault, as in
// guestmem.Guard) ends a request with EFAULT.
package cache
