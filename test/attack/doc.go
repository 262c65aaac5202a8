// SPDX-License-Identifier: Apache-2.0

// Package attack attacks the daemon as a hostile guest, a hostile VMM and a worker that was taken over
// would. What must hold throughout: the daemon's process lives, another guest of the same process gets
// its answers within a second, nothing outside the share changes, and when the attacker has gone
// nothing of it is left: no fd, no thread, no memory.
package attack
