// SPDX-License-Identifier: Apache-2.0

// Package guestmem maps the memory of a guest and hands out bounds-checked views of it.
//
// A [Memory] is the table of regions that a VMM described; it can be replaced while queues run.
// Users take a [Table], an immutable snapshot, with [Memory.Acquire] and give it back with
// [Table.Release]. A region stays mapped until the last table that has it is released, so a view
// never dangles while its table is held.
//
// Views are plain []byte, shared with an enemy: the guest can change any byte at any time. Copy a
// field once into a Go variable, check the copy, and never look at the original again.
//
// The file behind a region can be truncated by the VMM; touching the lost pages raises SIGBUS. All
// code that touches views directly runs under [Guard], which turns the fault into [ErrFault].
// System calls given such a view answer EFAULT by themselves.
//
// The package supports linux on amd64 and arm64; ring words need a few lines of assembly for each.
package guestmem
