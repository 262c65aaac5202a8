// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// What Linux 6.12 sends in FUSE_INIT over virtio-fs, without a DAX window.
const (
	initMinor     = 41
	initFlags     = 0x7bff_fffb
	initFlags2    = 0x1ff
	initReadahead = 0x20000
)

// Init starts a session as Linux 6.12 does. The flags of the reply decide the shape of later
// requests.
func (c *Client) Init() (fuse.InitOut, syscall.Errno) {
	return c.InitWith(fuse.InitIn{Major: 7, Minor: initMinor, MaxReadAhead: initReadahead, Flags: initFlags, Flags2: initFlags2})
}

// InitWith is Init with any request.
func (c *Client) InitWith(in fuse.InitIn) (fuse.InitOut, syscall.Errno) {
	out, errno := do[fuse.InitOut](c, Message{Op: OpInit, Args: args(&in)})
	if errno == 0 {
		c.d.flags = out.Flags64()
	}
	return out, errno
}

// MustInit is Init that has to succeed.
func (c *Client) MustInit() fuse.InitOut {
	out, errno := c.Init()
	if errno != 0 {
		c.d.vm.fail(fmt.Errorf("FUSE_INIT: %w", errno))
	}
	return out
}

// Destroy ends the session.
func (c *Client) Destroy() syscall.Errno { return c.Do(Message{Op: OpDestroy}, nil) }

// Forget gives lookups of a node back, on the high priority queue. There is no reply; it
// returns when the device is done with it.
func (c *Client) Forget(node, lookups uint64) { c.tellUrgent(ForgetMessage(node, lookups)) }

// ForgetMessage is the request of Forget, for Later.
func ForgetMessage(node, lookups uint64) Message {
	return Message{Op: OpForget, Node: node, Args: binary.NativeEndian.AppendUint64(nil, lookups), NoReply: true}
}

// Forgotten is one entry of a BATCH_FORGET (struct fuse_forget_one).
type Forgotten struct{ Node, Lookups uint64 }

// BatchForget is Forget for many nodes.
func (c *Client) BatchForget(nodes ...Forgotten) {
	c.BatchForgetN(uint32(len(nodes)), nodes...)
}

// BatchForgetN is BatchForget with a count of its own.
func (c *Client) BatchForgetN(count uint32, nodes ...Forgotten) {
	c.tellUrgent(batchForget(count, nodes))
}

// BatchForgetMessage is the request of BatchForget, for Later.
func BatchForgetMessage(nodes ...Forgotten) Message { return batchForget(uint32(len(nodes)), nodes) }

func batchForget(count uint32, nodes []Forgotten) Message {
	b := binary.NativeEndian.AppendUint32(nil, count)
	b = binary.NativeEndian.AppendUint32(b, 0)
	for _, n := range nodes {
		b = binary.NativeEndian.AppendUint64(b, n.Node)
		b = binary.NativeEndian.AppendUint64(b, n.Lookups)
	}
	return Message{Op: OpBatchForget, Args: b, NoReply: true}
}

// Interrupt asks to end an operation in flight (Pending.Unique). There is no reply.
func (c *Client) Interrupt(unique uint64) {
	c.tellUrgent(Message{Op: OpInterrupt, Args: binary.NativeEndian.AppendUint64(nil, unique), NoReply: true})
}

// Unique is the request's number, for Interrupt.
func (p *Pending) Unique() uint64 { return p.unique }

// tellUrgent sends a request without reply on the high priority queue, in one direct
// descriptor as Linux does.
func (c *Client) tellUrgent(m Message) {
	c.d.urgent(c.Caller, func(u *Client) {
		p := u.q.Submit([][]byte{u.Frame(m)}, nil)
		if n, err := p.Wait(); err != nil || n != 0 {
			c.d.vm.fail(fmt.Errorf("%v on the high priority queue: %d bytes written, %w", m.Op, n, err))
		}
		p.Free()
	})
}
