// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// peerLogLines bounds the log lines of one kind that a front-end can cause in a second.
const peerLogLines = 5

// Options of a connection. The zero value is fine.
type Options struct {
	// Logger gets a line for each refused message, of equal ones a few each second, and, at debug
	// level, for each message. nil: no log.
	Logger *zap.Logger

	// Trace, if not nil, gets the whole conversation as text, one line a message and one a
	// call of the device, in the form of testdata/*.txt: a recorded trace is a replay test.
	// Errors of the writer are not looked at. It is called from Serve's goroutine.
	Trace io.Writer

	// OnEnd, if not nil, is called once when the connection has ended, before its queues are
	// stopped: nobody waits for their requests any more. It is called from Serve's goroutine.
	OnEnd func()
}

// Conn is the back-end's end of one vhost-user connection. All of its state belongs to the
// goroutine that runs Serve.
type Conn struct {
	ch    *channel
	mem   *guestmem.Memory
	dev   Device
	log   *zap.Logger // for debugging, and what comes once
	peers *zap.Logger // takes what the front-end can provoke: of equal lines, peerLogLines a second
	trace *tracer
	onEnd func()

	offered  uint64          // feature bits, with the connection's own two
	features uint64          // acknowledged by SET_FEATURES
	protocol ProtocolFeature // acknowledged by SET_PROTOCOL_FEATURES
	owned    bool            // SET_OWNER was seen
	rings    []ring
	peerSeen bool // warnPrivate has looked
	back     int  // back-end request channel (SET_BACKEND_REQ_FD), -1: none
}

// NewConn prepares to serve the front-end at the other end of sock. From here on the socket
// and the contents of mem are the connection's: Serve leaves the one closed and the other
// empty. The device stays the caller's.
func NewConn(sock *net.UnixConn, mem *guestmem.Memory, d Device, opt Options) *Conn {
	c := &Conn{
		ch:      newChannel(sock),
		mem:     mem,
		dev:     d,
		log:     opt.Logger,
		trace:   newTracer(opt.Trace),
		onEnd:   opt.OnEnd,
		offered: d.Features() | FeatureProtocolFeatures | FeatureLogAll,
		rings:   make([]ring, d.NumQueues()),
		back:    -1,
	}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	c.peers = c.log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, peerLogLines, 0)
	}))
	for i := range c.rings {
		c.rings[i] = newRing()
	}
	c.trace.device(d)
	return c
}

// Serve talks to the front-end until it goes or ctx ends (both nil), or until it breaks the
// framing of the protocol (an [*OpError]). When it returns all queues are stopped, their
// requests completed, all file descriptors closed, guest memory unmapped as soon as its
// last user lets go. It does not call Device.Reset. It is called once.
func (c *Conn) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, c.ch.interrupt)
	defer stop()
	err := c.loop()
	if c.onEnd != nil {
		c.onEnd()
	}
	c.close()
	if gone(err) || ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// gone tells the front-end's leaving from its misbehaviour. A front-end that is killed with
// our replies unread leaves a reset, one that is killed before our reply a broken pipe.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// loop handles messages until the connection ends; the error is never nil.
func (c *Conn) loop() error {
	var m message
	for {
		err := c.ch.receive(&m)
		if err == nil {
			err = c.handle(&m)
		} else {
			c.trace.end(err)
			err = opError("receive", err)
		}
		m.closeFDs()
		if err != nil {
			return err
		}
	}
}

// handle carries out or refuses one message and answers it. An error ends the connection.
func (c *Conn) handle(m *message) error {
	c.trace.request(m)
	var body []byte
	r, err := c.check(m)
	if err == nil {
		body, err = r.handle(c, m)
	}
	if err != nil {
		c.trace.refusal(err)
		c.peers.Warn("vhost-user message refused",
			zap.Stringer("message", m.Request), zap.Error(err))
	} else {
		c.log.Debug("vhost-user message", zap.Stringer("message", m.Request))
	}
	return opError(m.Request.String(), c.answer(m, r, body, err))
}

// answer sends the reply that the front-end waits for, if it does. NEED_REPLY counts also if
// REPLY_ACK was not negotiated: whoever sets it waits.
func (c *Conn) answer(m *message, r *rule, body []byte, refused error) error {
	kind := r.reply
	if kind == replyLog {
		kind = replyAck
		if c.protocol&ProtocolLogSHMFD != 0 {
			kind = replyValue
			if refused != nil {
				return fmt.Errorf("%w: %w", ErrLogBase, refused)
			}
		}
	}
	switch {
	case kind == replyValue && refused != nil:
		body = nil
	case kind == replyValue:
	case kind == replyStatus && refused != nil:
		body = AppendU64(nil, statusRefused)
	case kind == replyAck && !m.needReply():
		return nil
	case refused != nil:
		body = AppendU64(nil, 1)
	default:
		body = AppendU64(nil, 0)
	}
	c.trace.reply(m.Request, body)
	return c.ch.reply(m, body)
}

// close stops all queues, gives back what the front-end gave, and hangs up last, so that a
// front-end that sees the end of the connection may reuse its memory.
func (c *Conn) close() {
	for i := range c.rings {
		c.forgetRing(i)
	}
	c.mem.EnableLog(false)
	c.mem.Reset()
	closeFD(c.back)
	c.back = -1
	_ = c.ch.sock.Close()
}
