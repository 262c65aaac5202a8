// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"golang.org/x/sys/unix"
)

// Messages about the session as a whole: features, owner, configuration space, reset.

func (c *Conn) getFeatures(*message) ([]byte, error) {
	return AppendU64(nil, c.offered), nil
}

// setFeatures comes again at each start of the driver, and on running rings to switch the
// dirty log. Rings see a change of the other bits at their next start.
func (c *Conn) setFeatures(m *message) ([]byte, error) {
	f := DecodeU64(m.payload)
	if f&^c.offered != 0 {
		return nil, ErrFeatures
	}
	old := c.features
	c.features = f
	c.mem.EnableLog(f&FeatureLogAll != 0)
	if f&FeatureProtocolFeatures == 0 {
		// Such a front-end has no SET_VRING_ENABLE: its rings are enabled from the beginning.
		if err := c.enableAll(); err != nil {
			c.features = old
			c.mem.EnableLog(old&FeatureLogAll != 0)
			return nil, err
		}
	}
	return nil, nil
}

// protocolOffered are the protocol features of this back-end. CONFIG depends on the device.
func (c *Conn) protocolOffered() ProtocolFeature {
	f := ProtocolMQ | ProtocolLogSHMFD | ProtocolReplyAck | ProtocolBackendReq |
		ProtocolConfigureMemSlots | ProtocolResetDevice
	if c.dev.Config() != nil {
		f |= ProtocolConfig
	}
	return f
}

func (c *Conn) getProtocolFeatures(*message) ([]byte, error) {
	return AppendU64(nil, uint64(c.protocolOffered())), nil
}

func (c *Conn) setProtocolFeatures(m *message) ([]byte, error) {
	f := ProtocolFeature(DecodeU64(m.payload))
	if f&^c.protocolOffered() != 0 {
		return nil, ErrFeatures
	}
	c.protocol = f
	return nil, nil
}

func (c *Conn) getQueueNum(*message) ([]byte, error) {
	return AppendU64(nil, uint64(len(c.rings))), nil
}

// setOwner starts a session. QEMU sends it a second time on one connection when the device
// was unplugged and plugged again. By then it has negotiated protocol features anew and sent
// a new back-end channel; everything else comes after: rings, features, and all of memory,
// without having removed the regions of before.
func (c *Conn) setOwner(*message) ([]byte, error) {
	if c.owned {
		for i := range c.rings {
			c.forgetRing(i)
		}
		c.features = 0
		c.mem.EnableLog(false)
		c.mem.Reset()
		c.resetDev()
	}
	c.owned = true
	return nil, nil
}

// resetOwner does nothing, as the specification recommends for this deprecated message: some
// back-ends took it for "disable the rings", others for "forget the connection".
func (c *Conn) resetOwner(*message) ([]byte, error) { return nil, nil }

// resetDevice brings rings and device to their initial state. Memory, features, the back-end
// channel, call and err descriptors stay: QEMU does not send them again.
func (c *Conn) resetDevice(*message) ([]byte, error) {
	for i := range c.rings {
		c.resetRing(i)
	}
	c.resetDev()
	return nil, nil
}

func (c *Conn) resetDev() {
	c.trace.deviceReset()
	c.dev.Reset()
}

// getConfig answers any part of the configuration space; user-mode Linux asks for its first
// 1, 2, 3 ... bytes. What lies outside is an error, said by an empty reply.
func (c *Conn) getConfig(m *message) ([]byte, error) {
	r := DecodeConfigRange(m.payload)
	conf := c.dev.Config()
	if uint64(r.Size) != uint64(len(m.payload)-configHead) {
		return nil, ErrSize
	}
	if uint64(r.Offset)+uint64(r.Size) > uint64(len(conf)) {
		return nil, ErrConfig
	}
	return append(r.Append(nil), conf[r.Offset:][:r.Size]...), nil
}

func (c *Conn) setConfig(*message) ([]byte, error) { return nil, ErrReadOnly }

// setBackendReqFD keeps the channel for messages of our own; a new one replaces the old one.
func (c *Conn) setBackendReqFD(m *message) ([]byte, error) {
	if len(m.fds) == 0 {
		return nil, ErrMissingFDs
	}
	typ, err := unix.GetsockoptInt(m.fds[0], unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || typ != unix.SOCK_STREAM {
		return nil, ErrNotSocket
	}
	closeFD(c.back)
	c.back = m.takeFD(0)
	return nil, nil
}
