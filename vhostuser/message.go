// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxPayload bounds what a header may announce, in bytes. The longest message of the
	// protocol, GET_SHMEM_CONFIG's reply, has 2056.
	maxPayload = 4096

	// maxFDs is how many file descriptors of one message are kept: as many as SET_MEM_TABLE
	// can have regions. More are closed as they arrive.
	maxFDs = memTableMax

	// scmMaxFD is the most that one sendmsg can carry (SCM_MAX_FD, Linux include/net/scm.h).
	// With room for all of them, MSG_CTRUNC means that we may not open more files, or not these
	// (security_file_receive, Linux net/core/scm.c).
	scmMaxFD = 253
)

// message is one message of the front-end.
type message struct {
	Header
	payload []byte // valid until the next receive
	fds     []int  // owned by the message; -1: taken
}

// takeFD hands over descriptor i, and with it the duty to close it.
func (m *message) takeFD(i int) int {
	fd := m.fds[i]
	m.fds[i] = -1
	return fd
}

// closeFDs closes all descriptors that nobody took.
func (m *message) closeFDs() {
	for _, fd := range m.fds {
		closeFD(fd)
	}
	m.fds = m.fds[:0]
}

func (m *message) needReply() bool { return m.Flags&FlagNeedReply != 0 }

// closeFD closes fd unless it is negative. There is nothing to be done about an error.
func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

// channel frames messages on the socket. It belongs to the connection's goroutine, except
// for interrupt.
type channel struct {
	sock *net.UnixConn
	buf  [HeaderSize + maxPayload]byte
	oob  []byte
	out  []byte
}

func newChannel(sock *net.UnixConn) *channel {
	return &channel{sock: sock, oob: make([]byte, unix.CmsgSpace(scmMaxFD*4))}
}

// receive reads the next message into m, whose descriptors are then the caller's, also on
// error. The error is io.EOF only between two messages.
func (ch *channel) receive(m *message) error {
	m.payload, m.fds = nil, m.fds[:0]
	head, body := ch.buf[:HeaderSize], ch.buf[HeaderSize:]
	if err := ch.readFull(m, head); err != nil {
		return err
	}
	m.Header = DecodeHeader(head)
	switch {
	case m.Flags&FlagVersionMask != FlagVersion:
		return ErrVersion
	case m.Flags&FlagReply != 0:
		return ErrReplyFlag
	case m.Size > maxPayload:
		return ErrTooLong
	}
	m.payload = body[:m.Size]
	err := ch.readFull(m, m.payload)
	if errors.Is(err, io.EOF) {
		return ErrTruncated
	}
	return err
}

// readFull fills b and adds the descriptors that come along to m. They belong to the first
// byte of a message, but a front-end that sends header and payload apart is understood too.
func (ch *channel) readFull(m *message, b []byte) error {
	for done := 0; done < len(b); {
		n, oobn, flags, _, err := ch.sock.ReadMsgUnix(b[done:], ch.oob)
		if oobn > 0 {
			ch.collectFDs(m, ch.oob[:oobn])
		}
		if flags&unix.MSG_CTRUNC != 0 {
			return ErrLostFDs
		}
		if err != nil {
			if done > 0 && errors.Is(err, io.EOF) {
				return ErrTruncated
			}
			return err
		}
		done += n
	}
	return nil
}

// collectFDs adds the descriptors in oob to m and closes those beyond maxFDs.
func (ch *channel) collectFDs(m *message, oob []byte) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return // the kernel's own format: cannot be wrong
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // credentials and the like carry no descriptors
		}
		keep := min(len(fds), maxFDs-len(m.fds))
		m.fds = append(m.fds, fds[:keep]...)
		for _, fd := range fds[keep:] {
			closeFD(fd)
		}
	}
}

// reply answers m with payload.
func (ch *channel) reply(m *message, payload []byte) error {
	h := Header{Request: m.Request, Flags: ReplyFlags, Size: uint32(len(payload))}
	ch.out = append(h.Append(ch.out[:0]), payload...)
	_, err := ch.sock.Write(ch.out)
	return err
}

// interrupt makes the running and all later reads and writes fail at once with
// os.ErrDeadlineExceeded. Any goroutine may call it.
func (ch *channel) interrupt() { _ = ch.sock.SetDeadline(time.Unix(1, 0)) }
