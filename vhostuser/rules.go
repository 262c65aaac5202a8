// SPDX-License-Identifier: Apache-2.0

package vhostuser

// replyKind says what the front-end waits for after a message.
type replyKind uint8

const (
	// replyAck: a number, 0 for success, if the message asks for it (NEED_REPLY).
	replyAck replyKind = iota
	// replyValue: always a payload of the message's own; an empty one says error. QEMU and
	// user-mode Linux take an empty payload as an error, and nobody waits for ever.
	replyValue
	// replyStatus: always a number, 0 for success.
	replyStatus
	// replyLog: a value if LOG_SHMFD was negotiated, else an ack. There is no way to say
	// error in that value (QEMU looks at the message number alone).
	replyLog
)

// statusRefused answers a refused message of kind replyStatus: an error code in bits 0 to 7,
// and, for SET_DEVICE_STATE_FD, bit 8: no file descriptor comes with the reply.
const statusRefused uint64 = 0x101

// rule is what the choke point (Conn.check) enforces about one message, and what it leads to.
type rule struct {
	min, max int             // payload size in bytes, inclusive
	fds      int             // descriptors it may have; surplus ones are closed
	needs    ProtocolFeature // that must have been negotiated; 0: none
	reply    replyKind
	// handle carries out the message. Its first result is the payload of a replyValue or
	// replyLog. On error nothing has changed.
	handle func(c *Conn, m *message) ([]byte, error)
}

// rules has one row a message. Rows with protocolNever are known only to be answered rightly.
// SET_VRING_ENABLE does not insist on the acknowledgement of PROTOCOL_FEATURES, as obeying
// does no harm and refusing would stop the guest.
var rules = [...]rule{
	GetFeatures:         {0, 0, 0, 0, replyValue, (*Conn).getFeatures},
	SetFeatures:         {8, 8, 0, 0, replyAck, (*Conn).setFeatures},
	SetOwner:            {0, 0, 0, 0, replyAck, (*Conn).setOwner},
	ResetOwner:          {0, 0, 0, 0, replyAck, (*Conn).resetOwner},
	SetMemTable:         {memTableHead, maxPayload, memTableMax, 0, replyAck, (*Conn).setMemTable},
	SetLogBase:          {logSize, logSize, 1, ProtocolLogSHMFD, replyLog, (*Conn).setLogBase},
	SetLogFD:            {0, 0, 1, 0, replyAck, (*Conn).setLogFD},
	SetVringNum:         {vringStateSize, vringStateSize, 0, 0, replyAck, (*Conn).setVringNum},
	SetVringAddr:        {vringAddrSize, vringAddrSize, 0, 0, replyAck, (*Conn).setVringAddr},
	SetVringBase:        {vringStateSize, vringStateSize, 0, 0, replyAck, (*Conn).setVringBase},
	GetVringBase:        {vringStateSize, vringStateSize, 0, 0, replyValue, (*Conn).getVringBase},
	SetVringKick:        {8, 8, 1, 0, replyAck, (*Conn).setVringKick},
	SetVringCall:        {8, 8, 1, 0, replyAck, (*Conn).setVringCall},
	SetVringErr:         {8, 8, 1, 0, replyAck, (*Conn).setVringErr},
	GetProtocolFeatures: {0, 0, 0, 0, replyValue, (*Conn).getProtocolFeatures},
	SetProtocolFeatures: {8, 8, 0, 0, replyAck, (*Conn).setProtocolFeatures},
	GetQueueNum:         {0, 0, 0, ProtocolMQ, replyValue, (*Conn).getQueueNum},
	SetVringEnable:      {vringStateSize, vringStateSize, 0, 0, replyAck, (*Conn).setVringEnable},
	SendRARP:            {0, maxPayload, 0, protocolNever, replyAck, nil},
	NetSetMTU:           {0, maxPayload, 0, protocolNever, replyAck, nil},
	SetBackendReqFD:     {0, 0, 1, ProtocolBackendReq, replyAck, (*Conn).setBackendReqFD},
	IOTLBMsg:            {0, maxPayload, 0, protocolNever, replyStatus, nil},
	SetVringEndian:      {0, maxPayload, 0, protocolNever, replyAck, nil},
	GetConfig:           {configHead, configHead + configMax, 0, ProtocolConfig, replyValue, (*Conn).getConfig},
	SetConfig:           {configHead, configHead + configMax, 0, ProtocolConfig, replyAck, (*Conn).setConfig},
	CreateCryptoSession: {0, maxPayload, 0, protocolNever, replyValue, nil},
	CloseCryptoSession:  {0, maxPayload, 0, protocolNever, replyAck, nil},
	PostcopyAdvise:      {0, maxPayload, 0, protocolNever, replyValue, nil},
	PostcopyListen:      {0, maxPayload, 0, protocolNever, replyAck, nil},
	PostcopyEnd:         {0, maxPayload, 0, protocolNever, replyStatus, nil},
	GetInflightFD:       {0, maxPayload, 0, protocolNever, replyValue, nil},
	SetInflightFD:       {0, maxPayload, 0, protocolNever, replyAck, nil},
	GPUSetSocket:        {0, maxPayload, 0, protocolNever, replyAck, nil},
	ResetDevice:         {0, 0, 0, ProtocolResetDevice, replyAck, (*Conn).resetDevice},
	VringKick:           {0, maxPayload, 0, protocolNever, replyAck, nil},
	GetMaxMemSlots:      {0, 0, 0, ProtocolConfigureMemSlots, replyValue, (*Conn).getMaxMemSlots},
	AddMemReg:           {singleRegionLen, singleRegionLen, 1, ProtocolConfigureMemSlots, replyAck, (*Conn).addMemReg},
	RemMemReg:           {singleRegionLen, singleRegionLen, 0, ProtocolConfigureMemSlots, replyAck, (*Conn).remMemReg},
	SetStatus:           {0, maxPayload, 0, protocolNever, replyAck, nil},
	GetStatus:           {0, maxPayload, 0, protocolNever, replyValue, nil},
	GetSharedObject:     {0, maxPayload, 0, protocolNever, replyValue, nil},
	SetDeviceStateFD:    {0, maxPayload, 0, protocolNever, replyStatus, nil},
	CheckDeviceState:    {0, maxPayload, 0, protocolNever, replyStatus, nil},
	GetShmemConfig:      {0, maxPayload, 0, protocolNever, replyValue, nil},
}

// unknownRule answers messages that no specification known to us has.
var unknownRule = rule{max: maxPayload, reply: replyAck}

// check is the one place that decides whether a message is carried out: it is known, its
// feature was negotiated, its payload has a possible size; descriptors beyond what it may
// have are closed. The rule is never nil, as also a refused message is answered by it.
func (c *Conn) check(m *message) (*rule, error) {
	if uint64(m.Request) >= uint64(len(rules)) || m.Request == 0 {
		return &unknownRule, ErrUnknown
	}
	r := &rules[m.Request]
	if r.needs&^c.protocol != 0 {
		return r, ErrNotNegotiated
	}
	if len(m.payload) < r.min || len(m.payload) > r.max {
		return r, ErrSize
	}
	for i := r.fds; i < len(m.fds); i++ {
		closeFD(m.takeFD(i))
	}
	m.fds = m.fds[:min(len(m.fds), r.fds)]
	return r, nil
}
