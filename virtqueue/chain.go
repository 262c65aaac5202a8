// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// ErrChain says that a chain of descriptors was malformed. The errors of this package that wrap it
// tell how.
var ErrChain = errors.New("virtqueue: bad chain")

// Fixed values: a driver can make these at will, so they cost nothing.
var (
	errLoop     = fmt.Errorf("%w: it does not end", ErrChain)
	errNext     = fmt.Errorf("%w: next descriptor outside the table", ErrChain)
	errOrder    = fmt.Errorf("%w: readable buffer after a writable one", ErrChain)
	errTotal    = fmt.Errorf("%w: longer than 2^32-1 bytes", ErrChain)
	errUnmapped = fmt.Errorf("%w: %w", ErrChain, guestmem.ErrRange)
	errNested   = fmt.Errorf("%w: indirect table in an indirect table", ErrChain)
	errGoesOn   = fmt.Errorf("%w: indirect table and next descriptor", ErrChain)
	errTable    = fmt.Errorf("%w: size of the indirect table", ErrChain)
)

// Descriptor flags (virtio 1.2 section 2.7.5).
const (
	descNext     = 1 // VIRTQ_DESC_F_NEXT
	descWrite    = 2 // VIRTQ_DESC_F_WRITE
	descIndirect = 4 // VIRTQ_DESC_F_INDIRECT
)

// Chain is one request: the buffers that the driver made available together. It is used until Done,
// and again for a later request after that.
type Chain struct {
	Head     uint16   // index of the first descriptor
	Readable [][]byte // what the driver wrote, in order, in shared memory; valid until Done
	Writable [][]byte // where the answer goes, in order, in shared memory; valid until Done

	// Descs is how many descriptors of the ring it keeps from the driver until Done: an indirect
	// table takes one.
	Descs int

	// Data is the owner's: nil in a new chain, kept when the chain is used again.
	Data any

	q        *Queue
	epoch    *epoch // that the buffers are in
	inflight bool   // guarded by q.mu
	total    uint64 // bytes in all
	room     uint64 // bytes in Writable
	readable [][]byte
	writable [][]byte
	spans    []span // Writable as guest addresses, for the dirty log
}

// Size is about how many bytes the lists of its buffers take, here and once more for whoever copies
// them. A driver has long lists at will.
func (c *Chain) Size() int { return 2*24*(cap(c.readable)+cap(c.writable)) + 16*cap(c.spans) }

// span is a range of guest memory.
type span struct{ gpa, n uint64 }

func (c *Chain) reset(head uint16, e *epoch) {
	c.Head, c.epoch, c.inflight = head, e, true
	c.Descs, c.total, c.room = 0, 0, 0
	c.Readable, c.Writable = nil, nil
	c.readable, c.writable, c.spans = c.readable[:0], c.writable[:0], c.spans[:0]
}

// desc is a copy of struct virtq_desc.
type desc struct {
	addr  uint64
	len   uint32
	flags uint16
	next  uint16
}

// readDesc reads descriptor i of a table, once.
func readDesc(table []byte, i uint16) desc {
	b := [descSize]byte(table[int(i)*descSize:])
	return desc{
		addr:  binary.LittleEndian.Uint64(b[0:]),
		len:   binary.LittleEndian.Uint32(b[8:]),
		flags: binary.LittleEndian.Uint16(b[12:]),
		next:  binary.LittleEndian.Uint16(b[14:]),
	}
}

// walk adds the buffers of the chain that starts at descriptor i of table. It takes at most as many
// steps as the table has entries, as a longer chain has a loop. A chain may end with one descriptor
// of an indirect table (virtio 1.2 section 2.7.5.3).
func (q *Queue) walk(c *Chain, table []byte, i uint16, indirect bool) error {
	n := len(table) / descSize
	for range n {
		d := readDesc(table, i)
		if !indirect {
			c.Descs++
		}
		switch {
		case d.flags&descIndirect == 0:
			if err := c.add(d); err != nil {
				return err
			}
		case indirect:
			return errNested
		case d.flags&descNext != 0:
			return errGoesOn
		default:
			return q.walkIndirect(c, d)
		}
		if d.flags&descNext == 0 {
			c.Readable, c.Writable = c.readable, c.writable
			return nil
		}
		if int(d.next) >= n {
			return errNext
		}
		i = d.next
	}
	return errLoop
}

// walkIndirect goes on with the table that d describes, after copying it: it may cross regions, and
// is read once. It has at most as many entries as the queue (virtio 1.2 section 2.7.5.3.1).
func (q *Queue) walkIndirect(c *Chain, d desc) error {
	if d.len == 0 || d.len%descSize != 0 || d.len/descSize > uint32(q.size) {
		return errTable
	}
	if int(d.len) > len(q.scratch) {
		q.scratch = make([]byte, d.len)
	}
	table := q.scratch[:d.len]
	if err := c.epoch.table.Read(table, d.addr); err != nil {
		return errUnmapped
	}
	return q.walk(c, table, 0, true)
}

// add appends the buffer of d. An empty one adds nothing.
func (c *Chain) add(d desc) error {
	n := uint64(d.len)
	if n == 0 {
		return nil
	}
	if c.total += n; c.total > math.MaxUint32 {
		return errTotal
	}
	var err error
	switch {
	case d.flags&descWrite != 0:
		c.writable, err = c.epoch.table.Append(c.writable, d.addr, n)
		c.spans = append(c.spans, span{d.addr, n})
		c.room += n
	case c.room > 0:
		return errOrder
	default:
		c.readable, err = c.epoch.table.Append(c.readable, d.addr, n)
	}
	if err != nil {
		return errUnmapped
	}
	return nil
}
