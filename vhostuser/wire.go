// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"encoding/binary"
	"strconv"
)

// Request is the number of a message from the front-end (specification, "Front-end message
// types").
type Request uint32

// The messages of the front-end. Names in comments are the specification's.
const (
	GetFeatures         Request = 1  // VHOST_USER_GET_FEATURES
	SetFeatures         Request = 2  // VHOST_USER_SET_FEATURES
	SetOwner            Request = 3  // VHOST_USER_SET_OWNER
	ResetOwner          Request = 4  // VHOST_USER_RESET_OWNER
	SetMemTable         Request = 5  // VHOST_USER_SET_MEM_TABLE
	SetLogBase          Request = 6  // VHOST_USER_SET_LOG_BASE
	SetLogFD            Request = 7  // VHOST_USER_SET_LOG_FD
	SetVringNum         Request = 8  // VHOST_USER_SET_VRING_NUM
	SetVringAddr        Request = 9  // VHOST_USER_SET_VRING_ADDR
	SetVringBase        Request = 10 // VHOST_USER_SET_VRING_BASE
	GetVringBase        Request = 11 // VHOST_USER_GET_VRING_BASE
	SetVringKick        Request = 12 // VHOST_USER_SET_VRING_KICK
	SetVringCall        Request = 13 // VHOST_USER_SET_VRING_CALL
	SetVringErr         Request = 14 // VHOST_USER_SET_VRING_ERR
	GetProtocolFeatures Request = 15 // VHOST_USER_GET_PROTOCOL_FEATURES
	SetProtocolFeatures Request = 16 // VHOST_USER_SET_PROTOCOL_FEATURES
	GetQueueNum         Request = 17 // VHOST_USER_GET_QUEUE_NUM
	SetVringEnable      Request = 18 // VHOST_USER_SET_VRING_ENABLE
	SendRARP            Request = 19 // VHOST_USER_SEND_RARP
	NetSetMTU           Request = 20 // VHOST_USER_NET_SET_MTU
	SetBackendReqFD     Request = 21 // VHOST_USER_SET_BACKEND_REQ_FD
	IOTLBMsg            Request = 22 // VHOST_USER_IOTLB_MSG
	SetVringEndian      Request = 23 // VHOST_USER_SET_VRING_ENDIAN
	GetConfig           Request = 24 // VHOST_USER_GET_CONFIG
	SetConfig           Request = 25 // VHOST_USER_SET_CONFIG
	CreateCryptoSession Request = 26 // VHOST_USER_CREATE_CRYPTO_SESSION
	CloseCryptoSession  Request = 27 // VHOST_USER_CLOSE_CRYPTO_SESSION
	PostcopyAdvise      Request = 28 // VHOST_USER_POSTCOPY_ADVISE
	PostcopyListen      Request = 29 // VHOST_USER_POSTCOPY_LISTEN
	PostcopyEnd         Request = 30 // VHOST_USER_POSTCOPY_END
	GetInflightFD       Request = 31 // VHOST_USER_GET_INFLIGHT_FD
	SetInflightFD       Request = 32 // VHOST_USER_SET_INFLIGHT_FD
	GPUSetSocket        Request = 33 // VHOST_USER_GPU_SET_SOCKET
	ResetDevice         Request = 34 // VHOST_USER_RESET_DEVICE
	VringKick           Request = 35 // VHOST_USER_VRING_KICK
	GetMaxMemSlots      Request = 36 // VHOST_USER_GET_MAX_MEM_SLOTS
	AddMemReg           Request = 37 // VHOST_USER_ADD_MEM_REG
	RemMemReg           Request = 38 // VHOST_USER_REM_MEM_REG
	SetStatus           Request = 39 // VHOST_USER_SET_STATUS
	GetStatus           Request = 40 // VHOST_USER_GET_STATUS
	GetSharedObject     Request = 41 // VHOST_USER_GET_SHARED_OBJECT
	SetDeviceStateFD    Request = 42 // VHOST_USER_SET_DEVICE_STATE_FD
	CheckDeviceState    Request = 43 // VHOST_USER_CHECK_DEVICE_STATE
	GetShmemConfig      Request = 44 // VHOST_USER_GET_SHMEM_CONFIG
)

var requestNames = [...]string{
	GetFeatures: "GET_FEATURES", SetFeatures: "SET_FEATURES", SetOwner: "SET_OWNER",
	ResetOwner: "RESET_OWNER", SetMemTable: "SET_MEM_TABLE", SetLogBase: "SET_LOG_BASE",
	SetLogFD: "SET_LOG_FD", SetVringNum: "SET_VRING_NUM", SetVringAddr: "SET_VRING_ADDR",
	SetVringBase: "SET_VRING_BASE", GetVringBase: "GET_VRING_BASE",
	SetVringKick: "SET_VRING_KICK", SetVringCall: "SET_VRING_CALL",
	SetVringErr: "SET_VRING_ERR", GetProtocolFeatures: "GET_PROTOCOL_FEATURES",
	SetProtocolFeatures: "SET_PROTOCOL_FEATURES", GetQueueNum: "GET_QUEUE_NUM",
	SetVringEnable: "SET_VRING_ENABLE", SendRARP: "SEND_RARP", NetSetMTU: "NET_SET_MTU",
	SetBackendReqFD: "SET_BACKEND_REQ_FD", IOTLBMsg: "IOTLB_MSG",
	SetVringEndian: "SET_VRING_ENDIAN", GetConfig: "GET_CONFIG", SetConfig: "SET_CONFIG",
	CreateCryptoSession: "CREATE_CRYPTO_SESSION", CloseCryptoSession: "CLOSE_CRYPTO_SESSION",
	PostcopyAdvise: "POSTCOPY_ADVISE", PostcopyListen: "POSTCOPY_LISTEN",
	PostcopyEnd: "POSTCOPY_END", GetInflightFD: "GET_INFLIGHT_FD",
	SetInflightFD: "SET_INFLIGHT_FD", GPUSetSocket: "GPU_SET_SOCKET",
	ResetDevice: "RESET_DEVICE", VringKick: "VRING_KICK", GetMaxMemSlots: "GET_MAX_MEM_SLOTS",
	AddMemReg: "ADD_MEM_REG", RemMemReg: "REM_MEM_REG", SetStatus: "SET_STATUS",
	GetStatus: "GET_STATUS", GetSharedObject: "GET_SHARED_OBJECT",
	SetDeviceStateFD: "SET_DEVICE_STATE_FD", CheckDeviceState: "CHECK_DEVICE_STATE",
	GetShmemConfig: "GET_SHMEM_CONFIG",
}

// String returns the specification's name without its prefix, UNKNOWN_n for other numbers.
func (r Request) String() string {
	if uint64(r) < uint64(len(requestNames)) && requestNames[r] != "" {
		return requestNames[r]
	}
	return "UNKNOWN_" + strconv.FormatUint(uint64(r), 10)
}

// Virtio feature bits that belong to the vhost-user connection, not to the device.
const (
	FeatureLogAll           uint64 = 1 << 26 // VHOST_F_LOG_ALL: log every write to guest memory
	FeatureProtocolFeatures uint64 = 1 << 30 // VHOST_USER_F_PROTOCOL_FEATURES
)

// ProtocolFeature is a set of vhost-user protocol features, one bit each.
type ProtocolFeature uint64

// The protocol features that this package implements. A front-end takes every bit that it
// knows, so nothing may be offered that is not implemented.
const (
	ProtocolMQ                ProtocolFeature = 1 << 0  // VHOST_USER_PROTOCOL_F_MQ
	ProtocolLogSHMFD          ProtocolFeature = 1 << 1  // VHOST_USER_PROTOCOL_F_LOG_SHMFD
	ProtocolReplyAck          ProtocolFeature = 1 << 3  // VHOST_USER_PROTOCOL_F_REPLY_ACK
	ProtocolBackendReq        ProtocolFeature = 1 << 5  // VHOST_USER_PROTOCOL_F_BACKEND_REQ
	ProtocolConfig            ProtocolFeature = 1 << 9  // VHOST_USER_PROTOCOL_F_CONFIG
	ProtocolResetDevice       ProtocolFeature = 1 << 13 // VHOST_USER_PROTOCOL_F_RESET_DEVICE
	ProtocolConfigureMemSlots ProtocolFeature = 1 << 15 // VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS
)

// protocolNever marks messages whose protocol feature is not implemented: no front-end can
// have negotiated it, as bit 63 is never offered.
const protocolNever ProtocolFeature = 1 << 63

// HeaderSize is the size of a message header in bytes.
const HeaderSize = 12

// Header flags.
const (
	FlagVersion     uint32 = 0x1 // the protocol's version, in bits 0 and 1
	FlagVersionMask uint32 = 0x3
	FlagReply       uint32 = 0x4
	FlagNeedReply   uint32 = 0x8

	// ReplyFlags are the flags of every reply. QEMU and user-mode Linux take no others.
	ReplyFlags = FlagVersion | FlagReply
)

// Header begins every message. All integers are in the machine's own byte order.
type Header struct {
	Request Request
	Flags   uint32
	Size    uint32 // of the payload that follows, in bytes
}

// Append appends the header's wire form to b.
func (h Header) Append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(h.Request))
	b = binary.NativeEndian.AppendUint32(b, h.Flags)
	return binary.NativeEndian.AppendUint32(b, h.Size)
}

// DecodeHeader decodes a header; b has at least [HeaderSize] bytes.
func DecodeHeader(b []byte) Header {
	c := cursor{b}
	return Header{Request: Request(c.u32()), Flags: c.u32(), Size: c.u32()}
}
