// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// Flags of a descriptor (virtio 1.2 section 2.7.5).
const (
	DescNext     uint16 = 1 // VIRTQ_DESC_F_NEXT
	DescWrite    uint16 = 2 // VIRTQ_DESC_F_WRITE
	DescIndirect uint16 = 4 // VIRTQ_DESC_F_INDIRECT
)

// DescSize is the size of a descriptor in bytes.
const DescSize = 16

// Desc is a descriptor.
type Desc struct {
	Addr  uint64
	Len   uint32
	Flags uint16
	Next  uint16
}

// Put writes the descriptor as entry i of a table in guest memory.
func (d Desc) Put(table []byte, i int) {
	b := table[DescSize*i:]
	binary.LittleEndian.PutUint64(b, d.Addr)
	binary.LittleEndian.PutUint32(b[8:], d.Len)
	binary.LittleEndian.PutUint16(b[12:], d.Flags)
	binary.LittleEndian.PutUint16(b[14:], d.Next)
}

// ring is a split ring in guest memory (virtio 1.2 sections 2.7.5 to 2.7.8) as the driver
// uses it: it writes desc and avail and reads used.
type ring struct {
	size  uint16
	desc  []byte // size descriptors
	avail []byte // flags, idx, ring[size], used_event
	used  []byte // flags, idx, {id 32, len 32}[size], avail_event
}

func newRing(ram *RAM, v *vring) ring {
	n := uint64(v.size)
	return ring{size: v.size, desc: ram.Slice(v.desc, DescSize*n), avail: ram.Slice(v.avail, 6+2*n), used: ram.Slice(v.used, 6+8*n)}
}

// UsedIdx is the index up to which the device has published used entries.
func (r *ring) UsedIdx() uint16 { return guestmem.LoadAcquire16(r.used[2:]) }

// UsedEntry is the used entry of an index: the chain's head and the bytes written.
func (r *ring) UsedEntry(idx uint16) (head uint32, written uint32) {
	b := r.used[4+8*int(idx%r.size):]
	return binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
}

// SetDesc writes entry i of the descriptor table.
func (r *ring) SetDesc(i uint16, d Desc) { d.Put(r.desc, int(i)) }

// SetAvail writes the head into the slot of an available index, without publishing it.
func (r *ring) SetAvail(idx, head uint16) {
	binary.LittleEndian.PutUint16(r.avail[4+2*int(idx%r.size):], head)
}

// StoreAvail sets the available index to any value.
func (r *ring) StoreAvail(idx uint16) { guestmem.StoreRelease16(r.avail[2:], idx) }

func (r *ring) setAvailFlags(v uint16) { guestmem.StoreRelease16(r.avail, v) }

func (r *ring) setUsedEvent(idx uint16) {
	guestmem.StoreRelease16(r.avail[4+2*int(r.size):], idx)
}

func (r *ring) usedFlags() uint16  { return guestmem.LoadAcquire16(r.used) }
func (r *ring) availEvent() uint16 { return guestmem.LoadAcquire16(r.used[4+8*int(r.size):]) }

// needEvent is vring_need_event: whether going from old to now passes the index that the
// other side waits for (virtio 1.2 section 2.7.10).
func needEvent(event, now, old uint16) bool { return now-event-1 < now-old }
