// SPDX-License-Identifier: Apache-2.0

package vhostuser

import "errors"

// Causes. The first group ends the connection, as the stream cannot be trusted after it;
// the second costs only the message.
var (
	ErrVersion   = errors.New("message is not of protocol version 1")
	ErrReplyFlag = errors.New("message is marked as a reply, but nothing was asked")
	ErrTooLong   = errors.New("message is longer than any that the protocol knows")
	ErrTruncated = errors.New("connection ended in the middle of a message")
	ErrLostFDs   = errors.New("file descriptors were lost on the way: the limit of open files (RLIMIT_NOFILE) is reached, or a security module (SELinux) forbids them")
	ErrLogBase   = errors.New("dirty log cannot be used, and this message's reply has no place for an error")

	ErrUnknown       = errors.New("unknown message")
	ErrNotNegotiated = errors.New("protocol feature was not negotiated")
	ErrSize          = errors.New("payload has the wrong size")
	ErrMissingFDs    = errors.New("file descriptors are missing")
	ErrFeatures      = errors.New("features were not offered")
	ErrIndex         = errors.New("no such ring")
	ErrValue         = errors.New("value out of range")
	ErrRingAddress   = errors.New("ring address is misaligned")
	ErrRingMemory    = errors.New("ring is not in the guest memory that was shared with this process (QEMU: a memory backend with share=on)")
	ErrNoMemory      = errors.New("the VMM shares no guest memory with this process (QEMU: -object memory-backend-memfd,share=on,... with -machine memory-backend=...; libvirt: <access mode='shared'/> in <memoryBacking>)")
	ErrConfig        = errors.New("not in the configuration space")
	ErrReadOnly      = errors.New("configuration space is read-only")
	ErrNotSocket     = errors.New("file descriptor is not a stream socket")
)

// OpError says what failed while doing what. Err is one of the sentinels of this package, an
// error of the memory table, of the device, or of the socket.
type OpError struct {
	Op  string // "receive", or the name of the message that could not be answered
	Err error
}

func (e *OpError) Error() string { return "vhost-user " + e.Op + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// opError wraps once; nil stays nil.
func opError(op string, err error) error {
	if err == nil {
		return nil
	}
	return &OpError{Op: op, Err: err}
}
