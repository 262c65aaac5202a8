// SPDX-License-Identifier: Apache-2.0

package frontend

import "encoding/binary"

// Request is a front-end message number of vhost-user (QEMU docs/interop/vhost-user.rst,
// "Front-end message types").
type Request uint32

const (
	GetFeatures         Request = 1
	SetFeatures         Request = 2
	SetOwner            Request = 3
	ResetOwner          Request = 4
	SetMemTable         Request = 5
	SetLogBase          Request = 6
	SetLogFD            Request = 7
	SetVringNum         Request = 8
	SetVringAddr        Request = 9
	SetVringBase        Request = 10
	GetVringBase        Request = 11
	SetVringKick        Request = 12
	SetVringCall        Request = 13
	SetVringErr         Request = 14
	GetProtocolFeatures Request = 15
	SetProtocolFeatures Request = 16
	GetQueueNum         Request = 17
	SetVringEnable      Request = 18
	SetBackendReqFD     Request = 21
	GetConfig           Request = 24
	SetConfig           Request = 25
	GetInflightFD       Request = 31
	SetInflightFD       Request = 32
	ResetDevice         Request = 34
	GetMaxMemSlots      Request = 36
	AddMemReg           Request = 37
	RemMemReg           Request = 38
	SetStatus           Request = 39
	GetStatus           Request = 40
)

// Bits of a message header's flags (vhost-user.rst, "Header").
const (
	FlagVersion   uint32 = 0x1
	FlagReply     uint32 = 0x4
	FlagNeedReply uint32 = 0x8
)

// Bits of the protocol features (vhost-user.rst, "Protocol features").
const (
	PFMQ                uint64 = 1 << 0
	PFLogShmFD          uint64 = 1 << 1
	PFReplyAck          uint64 = 1 << 3
	PFBackendReq        uint64 = 1 << 5
	PFConfig            uint64 = 1 << 9
	PFBackendSendFD     uint64 = 1 << 10
	PFInflightShmFD     uint64 = 1 << 12
	PFResetDevice       uint64 = 1 << 13
	PFInbandNotify      uint64 = 1 << 14
	PFConfigureMemSlots uint64 = 1 << 15
	PFStatus            uint64 = 1 << 16
	PFDeviceState       uint64 = 1 << 19
	PFShmem             uint64 = 1 << 22
)

// Feature bits of the device (virtio 1.2 section 6) and of vhost-user.
const (
	FeatureLogAll           uint64 = 1 << 26 // VHOST_F_LOG_ALL
	FeatureIndirect         uint64 = 1 << 28 // VIRTIO_F_INDIRECT_DESC
	FeatureEventIdx         uint64 = 1 << 29 // VIRTIO_F_EVENT_IDX
	FeatureProtocolFeatures uint64 = 1 << 30 // VHOST_USER_F_PROTOCOL_FEATURES
	FeatureVersion1         uint64 = 1 << 32 // VIRTIO_F_VERSION_1
)

// VringNoFD is the bit in the payload of SET_VRING_KICK, CALL and ERR that says that no fd
// comes with the message (vhost-user.rst, "A vring descriptor").
const VringNoFD uint64 = 1 << 8

// VringAddr is the payload of SET_VRING_ADDR. Addresses are the VMM's (Region.UserAddr),
// except Log, which is a guest address.
type VringAddr struct {
	Index, Flags           uint32
	Desc, Used, Avail, Log uint64
}

// VringLog is the bit of VringAddr.Flags that asks for a log of the used ring's writes.
const VringLog uint32 = 1

// Bytes is the payload.
func (a VringAddr) Bytes() []byte {
	b := binary.NativeEndian.AppendUint32(nil, a.Index)
	b = binary.NativeEndian.AppendUint32(b, a.Flags)
	for _, v := range []uint64{a.Desc, a.Used, a.Avail, a.Log} {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return b
}

// U64 is the payload of the messages that carry one number.
func U64(v uint64) []byte { return binary.NativeEndian.AppendUint64(nil, v) }

// VringState is the payload of SET_VRING_NUM, BASE, ENABLE and GET_VRING_BASE.
func VringState(index, num uint32) []byte {
	return binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, index), num)
}

// MemRegion is a memory region as the VMM describes it: guest address, size, its own address
// and the offset in the region's file; all bytes.
type MemRegion struct {
	GPA, Size, UserAddr, Offset uint64
}

func (r MemRegion) append(b []byte) []byte {
	for _, v := range []uint64{r.GPA, r.Size, r.UserAddr, r.Offset} {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return b
}

// MemTable is the payload of SET_MEM_TABLE.
func MemTable(rs ...MemRegion) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(len(rs)))
	b = binary.NativeEndian.AppendUint32(b, 0)
	for _, r := range rs {
		b = r.append(b)
	}
	return b
}

// MemReg is the payload of ADD_MEM_REG and REM_MEM_REG.
func MemReg(r MemRegion) []byte { return r.append(U64(0)) }

// ConfigSpace is the payload of GET_CONFIG and SET_CONFIG: size bytes of the device's
// configuration from off. Data shorter than size is filled with zeros.
func ConfigSpace(off, size, flags uint32, data []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, off)
	b = binary.NativeEndian.AppendUint32(b, size)
	b = binary.NativeEndian.AppendUint32(b, flags)
	b = append(b, data...)
	for len(b) < 12+int(size) {
		b = append(b, 0)
	}
	return b
}
