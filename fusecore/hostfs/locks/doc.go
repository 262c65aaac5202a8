// SPDX-License-Identifier: Apache-2.0

// Package locks holds the file locks of guests: byte ranges, as fcntl(2) has them, and whole files,
// as flock(2) has them. The host's kernel decides: between the owners within a guest, between
// guests, whether they share this process or not, and between guests and processes of the host.
//
// # How
//
// Linux keeps an fcntl lock with a process or, since 3.15, with an open file description
// (F_OFD_SETLK, fcntl(2)); this process serves many owners, so each owner of locks on a file (the
// lock owner of FUSE: a process of the guest, or an open file for a guest's own OFD locks) gets a
// description of its own, by opening the file once more. An flock lock belongs to an open file in
// the guest as on the host, so it is put on the description that serves that file's handle.
//
// Beside the host's truth the package remembers who of ours holds what. This is for waking those
// that wait, for the process id in answers to Get, for finding deadlocks and for bounds; no lock is
// ever granted by it.
//
// # Waiting
//
// F_OFD_SETLKW would keep a thread that only a signal can bring back, and so it is not used. A
// request that has to wait tries, and then sleeps until owners of ours have given up what is in its
// way; then it tries again. So a lock passes between owners of ours at once and in the order in
// which they came, but, as in Linux, one that comes just then may be faster. What somebody else holds cannot be waited for in this way: as long as no
// lock of ours is in the way it is tried again after 1 ms, then after ever longer times up to 50 ms,
// at a cost of one system call each.
//
// # Who owns what
//
// Space.mu guards all that is remembered, and is never held over a call of the host. owner.call is
// held over each call of the host for that owner and until its result is remembered, so that both
// agree. Lock order: owner.call, Space.mu; one owner at a time.
package locks
