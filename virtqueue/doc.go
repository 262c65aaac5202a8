// SPDX-License-Identifier: Apache-2.0

// Package virtqueue serves split virtqueues (virtio 1.2 section 2.7) out of shared guest memory.
//
// A [Queue] is the ring: it pops chains of buffers, checked and bounded, and publishes them as used.
// A [Loop] drains one queue on a thread of its own, woken by the driver's kicks, and gives each
// chain to a [Handler], which completes it at once or later from any goroutine.
//
//	kick fd ──▶ Loop ──Pop──▶ Handler.Handle(chain) ──▶ Chain.Done ──▶ used ring, call fd
//
// The driver is not trusted. What it can get wrong in one chain costs it that chain, which comes
// back used with length 0; a ring that makes no sense any more is broken and stands still until it
// is updated or stopped. Nothing that it writes is read twice.
package virtqueue
