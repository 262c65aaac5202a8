// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"encoding/binary"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// cursor takes integers from the front of a payload. The payload's size was checked before
// (Conn.check), so running out of bytes is our own mistake and panics.
type cursor struct{ b []byte }

func (c *cursor) u32() uint32 {
	v := binary.NativeEndian.Uint32(c.b)
	c.b = c.b[4:]
	return v
}

func (c *cursor) u64() uint64 {
	v := binary.NativeEndian.Uint64(c.b)
	c.b = c.b[8:]
	return v
}

// AppendU64 appends the payload of the messages that carry one 64-bit number.
func AppendU64(b []byte, v uint64) []byte { return binary.NativeEndian.AppendUint64(b, v) }

// DecodeU64 is the reverse of [AppendU64]; b has at least 8 bytes.
func DecodeU64(b []byte) uint64 { return binary.NativeEndian.Uint64(b) }

// VringState is the specification's "vring state description".
type VringState struct {
	Index uint32 // of the ring
	Num   uint32 // size, base index or enable flag, by message
}

const vringStateSize = 8

// Append appends the wire form to b.
func (s VringState) Append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, s.Index)
	return binary.NativeEndian.AppendUint32(b, s.Num)
}

// DecodeVringState decodes a ring state; b has at least 8 bytes.
func DecodeVringState(b []byte) VringState {
	c := cursor{b}
	return VringState{Index: c.u32(), Num: c.u32()}
}

// VringAddr is the specification's "vring address description". Desc, Used and Avail are
// user addresses of the front-end (see [MemRegion]), Log is a guest physical address.
type VringAddr struct {
	Index uint32
	Flags uint32 // VringLogUsed
	Desc  uint64
	Used  uint64
	Avail uint64
	Log   uint64 // of the used ring; means something only with VringLogUsed
}

// VringLogUsed in VringAddr.Flags: log writes to the used ring (VHOST_VRING_F_LOG).
const VringLogUsed uint32 = 1 << 0

const vringAddrSize = 40

// Append appends the wire form to b.
func (a VringAddr) Append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, a.Index)
	b = binary.NativeEndian.AppendUint32(b, a.Flags)
	for _, v := range [...]uint64{a.Desc, a.Used, a.Avail, a.Log} {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return b
}

// DecodeVringAddr decodes ring addresses; b has at least 40 bytes.
func DecodeVringAddr(b []byte) VringAddr {
	c := cursor{b}
	return VringAddr{
		Index: c.u32(), Flags: c.u32(),
		Desc: c.u64(), Used: c.u64(), Avail: c.u64(), Log: c.u64(),
	}
}

// VringFDNone in the number of SET_VRING_KICK, _CALL and _ERR: no descriptor comes along.
const VringFDNone uint64 = 1 << 8

// vringFDIndex masks the ring index in the same number.
const vringFDIndex uint64 = 0xff

// MemRegion is one region of guest memory, as the front-end says it: where the guest sees
// it, its size, where the front-end has it mapped, where it starts in the file.
type MemRegion = guestmem.Region

const (
	memRegionSize   = 32
	memTableHead    = 8 // u32 number of regions, u32 padding
	memTableMax     = 32
	singleRegionLen = 8 + memRegionSize // u64 padding, region
)

// AppendMemRegion appends the wire form of one region, without padding before it.
func AppendMemRegion(b []byte, r MemRegion) []byte {
	for _, v := range [...]uint64{r.GPA, r.Size, r.UserAddr, r.FileOffset} {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return b
}

// AppendMemTable appends the payload of SET_MEM_TABLE.
func AppendMemTable(b []byte, rs []MemRegion) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(len(rs)))
	b = binary.NativeEndian.AppendUint32(b, 0)
	for _, r := range rs {
		b = AppendMemRegion(b, r)
	}
	return b
}

// AppendSingleRegion appends the payload of ADD_MEM_REG and REM_MEM_REG.
func AppendSingleRegion(b []byte, r MemRegion) []byte {
	return AppendMemRegion(binary.NativeEndian.AppendUint64(b, 0), r)
}

func decodeMemRegion(b []byte) MemRegion {
	c := cursor{b}
	return MemRegion{GPA: c.u64(), Size: c.u64(), UserAddr: c.u64(), FileOffset: c.u64()}
}

const (
	logSize    = 16  // u64 size, u64 offset
	configHead = 12  // u32 offset, u32 size, u32 flags
	configMax  = 256 // VHOST_USER_MAX_CONFIG_SIZE in QEMU
)

// ConfigRange is the head of GET_CONFIG and SET_CONFIG; Size bytes follow it.
type ConfigRange struct {
	Offset, Size, Flags uint32
}

// Append appends the wire form to b.
func (r ConfigRange) Append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, r.Offset)
	b = binary.NativeEndian.AppendUint32(b, r.Size)
	return binary.NativeEndian.AppendUint32(b, r.Flags)
}

// DecodeConfigRange decodes the head; b has at least 12 bytes.
func DecodeConfigRange(b []byte) ConfigRange {
	c := cursor{b}
	return ConfigRange{Offset: c.u32(), Size: c.u32(), Flags: c.u32()}
}
