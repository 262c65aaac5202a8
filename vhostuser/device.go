// SPDX-License-Identifier: Apache-2.0

package vhostuser

// Device is what a back-end offers to a front-end. Methods are called from the connection's
// goroutine, one at a time.
type Device interface {
	// Features returns the device's virtio feature bits. The connection adds
	// FeatureProtocolFeatures and FeatureLogAll.
	Features() uint64

	// NumQueues returns the number of virtqueues, 1 to 256. It does not change.
	NumQueues() int

	// Config returns the device configuration space, at most 256 bytes, read-only; nil if the
	// front-end has to know it by itself (then protocol feature CONFIG is not offered).
	Config() []byte

	// StartQueue starts queue i, which does not run. On error it does not run.
	StartQueue(i int, r Ring) error

	// UpdateQueue changes the running queue i: file descriptors, addresses and log fields may
	// be new, the rest of r is as it was at StartQueue; the queue's position stays. It also
	// comes after each change of guest memory, maybe with the same r, so that an idle queue
	// lets go of memory that was taken away. When it returns nil the old file descriptors are
	// no longer used. On error nothing has changed.
	UpdateQueue(i int, r Ring) error

	// StopQueue stops the running queue i: takes no more requests, waits for those in flight,
	// and returns the index of the next available entry. On return neither guest memory nor
	// file descriptors are used for this queue.
	StopQueue(i int) (base uint16)

	// Reset forgets what the guest's driver did: the device was reset, or a new session starts
	// on this connection. No queue runs.
	Reset()
}

// Ring is what a device needs to know to run a queue. File descriptors are -1 if there is
// none (no Kick: the ring has to be polled; no Call: nobody wants to be notified). They are
// the connection's: valid until the UpdateQueue that replaces them, or StopQueue, returns.
// They need not be eventfds: pipes and sockets are seen too, and the front-end holds the
// other end's flags, so that O_NONBLOCK must not be changed on them.
type Ring struct {
	Size              uint16 // entries, a power of two, 1 to 32768
	Desc, Avail, Used uint64 // guest physical addresses, aligned to 16, 2 and 4
	Base              uint16 // next entry of the available ring to look at
	Features          uint64 // negotiated device features, without the connection's two bits
	LogUsed           bool   // log writes to the used ring, at LogAddr
	LogAddr           uint64 // guest physical address of the used ring for the dirty log
	Kick, Call, Err   int
}
