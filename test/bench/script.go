// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"syscall"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// script is what a guest does in a workload: operations of one request or several. One goroutine
// runs it, for all slots.
type script interface {
	// first makes the first request of a slot's next operation. Its buffers are copied before
	// another method is called.
	first(s *slot) frontend.Message
	// next judges the reply to a slot's request and makes the operation's next one; more is
	// false when there is none.
	next(s *slot, r reply) (m frontend.Message, more bool, err error)
}

// slot is one place for an operation in flight; there are as many as the depth. What is in it
// besides its number is the script's.
type slot struct {
	i        int
	step     int
	block    int64 // block or number of a name that the operation is about
	gen      uint32
	node, fh uint64
	name     string
	count    int
}

// reply is what came back. p is valid until next returns.
type reply struct {
	p     *frontend.Pending
	size  int // bytes of the body
	errno syscall.Errno
}

// want fails unless the reply is a success of that many bytes.
func (r reply) want(op string, size int) error {
	switch {
	case r.errno != 0:
		return fmt.Errorf("%s: %w", op, r.errno)
	case r.size != size:
		return fmt.Errorf("%s: %d bytes, want %d", op, r.size, size)
	}
	return nil
}

// body copies the reply's structure to v.
func body[T any](r reply, op string, v *T) error {
	b := frontend.Wire(v)
	if err := r.want(op, len(b)); err != nil {
		return err
	}
	r.p.Read(b, replyHeader)
	return nil
}

// replyHeader is the size of struct fuse_out_header.
const replyHeader = 16

// checkPages holds a READ's pages, where they lie, against the stamps.
func (r reply) checkPages(size int, file uint8, off int64, gen func(block int64) uint32, all bool) error {
	if err := r.want("READ", size); err != nil {
		return err
	}
	for i := 1; size > 0; i++ {
		b := r.p.Piece(i)
		if b == nil {
			return fmt.Errorf("READ: the pages end %d bytes early", size)
		}
		b = b[:min(len(b), size)]
		if err := check(b, file, off, gen(off/blockSize), all); err != nil {
			return err
		}
		off += int64(len(b))
		size -= len(b)
	}
	return nil
}

// scatter is the i-th of n blocks, n a power of two, in an order that looks random and comes to
// each block once in n steps: so operations in flight never meet.
func scatter(i, n int64) int64 { return (i*0x9e3779b1 + 12345) & (n - 1) }
