// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Errors of a Conn.
var (
	ErrTimeout = errors.New("no answer in time")
	ErrClosed  = errors.New("the back-end closed the connection")
	ErrNack    = errors.New("the back-end refused")
	ErrReply   = errors.New("reply that does not fit its request")
)

const (
	headerSize = 12   // request, flags, size: 32 bits each
	maxReply   = 4096 // more than any reply has (GET_SHMEM_CONFIG: 2056)
	maxFDs     = 32   // more than any reply carries
)

// Conn is the VMM's end of the vhost-user socket. One goroutine at a time.
type Conn struct {
	fd       int // blocking, with timeouts; -1 when closed
	replyAck bool
}

// Dial connects to a listening back-end. The timeout holds for each send and receive.
func Dial(path string, timeout time.Duration) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return NewConn(fd, timeout)
}

// NewConn takes over a connected stream socket, also on error.
func NewConn(fd int, timeout time.Duration) (*Conn, error) {
	tv := unix.NsecToTimeval(timeout.Nanoseconds())
	for _, opt := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &tv); err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	return &Conn{fd: fd}, nil
}

// Pair returns both ends of a new connection: the VMM's fd for NewConn, and the back-end's.
// The caller owns both.
func Pair() (vmm int, backend *net.UnixConn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, os.NewSyscallError("socketpair", err)
	}
	f := os.NewFile(uintptr(fds[1]), "vhost-user back-end")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		unix.Close(fds[0])
		return -1, nil, err
	}
	return fds[0], c.(*net.UnixConn), nil
}

// Close closes the socket. A second call does nothing.
func (c *Conn) Close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
	}
	c.fd = -1
}

// SendBytes sends b in one message, with fds. The fds stay the caller's.
func (c *Conn) SendBytes(b []byte, fds ...int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for len(b) > 0 {
		n, err := unix.SendmsgN(c.fd, b, oob, nil, unix.MSG_NOSIGNAL)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return fmt.Errorf("send: %w", ErrTimeout)
		case err == unix.EPIPE || err == unix.ECONNRESET:
			return fmt.Errorf("send: %w", ErrClosed)
		case err != nil:
			return os.NewSyscallError("sendmsg", err)
		}
		b, oob = b[n:], nil
	}
	return nil
}

// Frame is a message as bytes: header and payload. The size in the header may lie.
func Frame(req Request, flags, size uint32, payload []byte) []byte {
	b := binary.NativeEndian.AppendUint32(make([]byte, 0, headerSize+len(payload)), uint32(req))
	b = binary.NativeEndian.AppendUint32(b, flags)
	b = binary.NativeEndian.AppendUint32(b, size)
	return append(b, payload...)
}

// Tell sends a message that gets no answer.
func (c *Conn) Tell(req Request, payload []byte, fds ...int) error {
	return c.SendBytes(Frame(req, FlagVersion, uint32(len(payload)), payload), fds...)
}

// TellAck sends a message with NEED_REPLY and waits for the acknowledgement; without the
// protocol feature REPLY_ACK it is Tell. A refusal is ErrNack.
func (c *Conn) TellAck(req Request, payload []byte, fds ...int) error {
	if !c.replyAck {
		return c.Tell(req, payload, fds...)
	}
	if err := c.SendBytes(Frame(req, FlagVersion|FlagNeedReply, uint32(len(payload)), payload), fds...); err != nil {
		return err
	}
	v, err := c.recvU64(req)
	if err == nil && v != 0 {
		err = fmt.Errorf("message %d: %w: %d", req, ErrNack, v)
	}
	return err
}

// Ask sends a message that has a reply of its own, and returns the reply's payload.
func (c *Conn) Ask(req Request, payload []byte, fds ...int) ([]byte, error) {
	if err := c.Tell(req, payload, fds...); err != nil {
		return nil, err
	}
	return c.Recv(req)
}

// AskU64 is Ask for a reply of one number.
func (c *Conn) AskU64(req Request) (uint64, error) {
	if err := c.Tell(req, nil); err != nil {
		return 0, err
	}
	return c.recvU64(req)
}

func (c *Conn) recvU64(req Request) (uint64, error) {
	b, err := c.Recv(req)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, fmt.Errorf("message %d: %w: %d bytes, want 8", req, ErrReply, len(b))
	}
	return binary.NativeEndian.Uint64(b), nil
}

// Recv receives the reply to req and checks it as QEMU does: the flags are version and reply
// and nothing else. Fds that come along are closed.
func (c *Conn) Recv(req Request) ([]byte, error) {
	var h [headerSize]byte
	if err := c.readFull(h[:]); err != nil {
		return nil, fmt.Errorf("reply to message %d: %w", req, err)
	}
	got := Request(binary.NativeEndian.Uint32(h[0:]))
	flags := binary.NativeEndian.Uint32(h[4:])
	size := binary.NativeEndian.Uint32(h[8:])
	bad := fmt.Errorf("message %d: %w: request %d flags %#x size %d", req, ErrReply, got, flags, size)
	if size > maxReply {
		return nil, bad
	}
	b := make([]byte, size)
	if err := c.readFull(b); err != nil {
		return nil, fmt.Errorf("reply to message %d: %w", req, err)
	}
	if got != req || flags != FlagVersion|FlagReply {
		return nil, bad // and the next Recv gets the next message
	}
	return b, nil
}

func (c *Conn) readFull(b []byte) error {
	oob := make([]byte, unix.CmsgSpace(4*maxFDs))
	for len(b) > 0 {
		n, oobn, _, _, err := unix.Recvmsg(c.fd, b, oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return ErrTimeout
		case err == unix.ECONNRESET || err == nil && n == 0:
			return ErrClosed
		case err != nil:
			return os.NewSyscallError("recvmsg", err)
		}
		closeRights(oob[:oobn])
		b = b[n:]
	}
	return nil
}

func closeRights(oob []byte) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for i := range msgs {
		fds, _ := unix.ParseUnixRights(&msgs[i])
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

// WaitClosed waits until the back-end has closed its end; answers that still come are
// thrown away. ErrTimeout: it did not.
func (c *Conn) WaitClosed() error {
	var b [256]byte
	for {
		err := c.readFull(b[:])
		if errors.Is(err, ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Alive asks for the features, as a VMM does when it wants a barrier: nil means that the
// back-end serves this connection and has done with all messages before.
func (c *Conn) Alive() error {
	_, err := c.AskU64(GetFeatures)
	return err
}
