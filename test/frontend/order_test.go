// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scribe is a back-end that answers every message and writes down what came: the number, an
// asterisk for NEED_REPLY, the ring's index where there is one, the number of fds.
type scribe struct {
	conn  *Conn
	lines []string
	done  chan error
}

func newScribe(t *testing.T) (fd int, s *scribe) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewConn(fds[1], 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s = &scribe{conn: c, done: make(chan error, 1)}
	go func() { s.done <- s.serve() }()
	return fds[0], s
}

func (s *scribe) serve() error {
	defer s.conn.Close()
	for {
		var h [headerSize]byte
		if err := s.conn.readFull(h[:]); err != nil {
			if errors.Is(err, ErrClosed) {
				return nil
			}
			return err
		}
		req, flags := Request(binary.NativeEndian.Uint32(h[:])), binary.NativeEndian.Uint32(h[4:])
		body := make([]byte, binary.NativeEndian.Uint32(h[8:]))
		if err := s.conn.readFull(body); err != nil {
			return err
		}
		s.note(req, flags, body)
		if reply := s.answer(req, flags, body); reply != nil {
			if err := s.conn.SendBytes(Frame(req, FlagVersion|FlagReply, uint32(len(reply)), reply)); err != nil {
				return err
			}
		}
	}
}

// marker is not a message of the protocol: the test's mark in the transcript.
const marker Request = 9999

func (s *scribe) note(req Request, flags uint32, body []byte) {
	if req == marker {
		s.lines = append(s.lines, "| "+string(body))
		return
	}
	line := fmt.Sprint(uint32(req))
	if flags&FlagNeedReply != 0 {
		line += "*"
	}
	switch req {
	case SetVringNum, SetVringBase, SetVringAddr, SetVringKick, SetVringCall, SetVringErr, GetVringBase, SetVringEnable:
		line += fmt.Sprintf(".%d", body[0])
		if req == SetVringEnable {
			line += fmt.Sprintf("=%d", body[4])
		}
	case SetMemTable:
		line += fmt.Sprintf("(%d)", len(body))
	}
	s.lines = append(s.lines, line)
}

func (s *scribe) answer(req Request, flags uint32, body []byte) []byte {
	switch req {
	case GetFeatures:
		return U64(FeatureVersion1 | FeatureIndirect | FeatureEventIdx | FeatureProtocolFeatures | FeatureLogAll)
	case GetProtocolFeatures:
		return U64(PFMQ | PFLogShmFD | PFReplyAck | PFBackendReq | PFConfig | PFResetDevice | PFConfigureMemSlots)
	case GetQueueNum, GetMaxMemSlots:
		return U64(32)
	case GetVringBase:
		return VringState(binary.NativeEndian.Uint32(body), 0)
	case GetConfig:
		return body
	case SetLogBase:
		return U64(0)
	}
	if flags&FlagNeedReply != 0 {
		return U64(0)
	}
	return nil
}

// The orders of QEMU and user-mode Linux as they were recorded from the programs, with two
// rings; those of the Rust VMMs as their sources have them.
var orders = []struct {
	vmm  VMM
	want string // realize | Start | Stop | Cont | Reset
}{
	{QEMU11, `1 15 16 17 36 21* 3 1 13*.0 14*.0 13*.1 14*.1 34 |
		34 13*.0 13*.1 2 37* 8.0 10.0 9.0 12*.0 8.1 10.1 9.1 12*.1 18*.0=1 18*.1=1 13*.0 13*.1 |
		18*.0=0 18*.1=0 11.0 11.1 13*.0 13*.1 |
		2 8.0 10.0 9.0 12*.0 8.1 10.1 9.1 12*.1 18*.0=1 18*.1=1 13*.0 13*.1 |
		18*.0=0 18*.1=0 11.0 11.1 13*.0 13*.1 34 34`},
	{QEMU72, `1 15 16 17 36 21* 3 1 13.0 14.0 13.1 14.1 |
		13.0 13.1 2 37* 8.0 10.0 9.0 12.0 8.1 10.1 9.1 12.1 18.0=1 18.1=1 13.0 13.1 |
		18.0=0 18.1=0 11.0 11.1 13.0 13.1 |
		2 8.0 10.0 9.0 12.0 8.1 10.1 9.1 12.1 18.0=1 18.1=1 13.0 13.1 |
		18.0=0 18.1=0 11.0 11.1 13.0 13.1`},
	{UML72, `3 1 15 16 21* 17 |
		2* ` + strings.Repeat("24 ", 37) + `5*(40) 13*.0 8*.0 10*.0 9*.0 13*.1 8*.1 10*.1 9*.1 12*.0 18*.0=1 12*.1 18*.1=1 |
		18*.1=0 18*.0=0 1 |
		18*.0=1 18*.1=1 |
		18*.1=0 18*.0=0 1`},
	{UML61, `3 1 15 16 21* |
		2* ` + strings.Repeat("24 ", 37) + `5*(72) 13*.0 8*.0 10*.0 9*.0 13*.1 8*.1 10*.1 9*.1 12*.0 18*.0=1 12*.1 18*.1=1 |
		18*.1=0 18*.0=0 1 |
		18*.0=1 18*.1=1 |
		18*.1=0 18*.0=0 1`},
	{CloudHypervisor, `3 1 15 16 17* |
		2* 5*(40) 8*.0 8*.1 9*.0 10*.0 13*.0 12*.0 9*.1 10*.1 13*.1 12*.1 18*.0=1 18*.1=1 |
		18*.0=0 18*.1=0 |
		18*.0=1 18*.1=1 |
		18*.0=0 11*.0 18*.1=0 11*.1`},
	{Crosvm, `3 1 15 16 21 17 |
		2 5(40) 8.0 9.0 10.0 13.0 12.0 18.0=1 8.1 9.1 10.1 13.1 12.1 18.1=1 |
		18.0=0 11.0 18.1=0 11.1 |
		5(40) 8.0 9.0 10.0 13.0 12.0 18.0=1 8.1 9.1 10.1 13.1 12.1 18.1=1 |
		18.0=0 11.0 18.1=0 11.1`},
	{Libkrun, `1 15 16 17 |
		3 5(40) 2 8.0 10.0 9.0 12.0 13.0 18.0=1 8.1 10.1 9.1 12.1 13.1 18.1=1 | | |`},
}

func TestOrders(t *testing.T) {
	for _, o := range orders {
		t.Run(o.vmm.Name(), func(t *testing.T) {
			fd, s := newScribe(t)
			vm, err := New(fd, Options{VMM: o.vmm, Fail: func(err error) { t.Fatal(err) }})
			if err != nil {
				t.Fatal(err)
			}
			part := func(name string) {
				if err := vm.Conn.Tell(marker, []byte(name)); err != nil {
					t.Fatal(err)
				}
			}
			part("Start")
			vm.Start()
			part("Stop")
			vm.Stop()
			part("Cont")
			vm.Cont()
			part("Reset")
			vm.Reset()
			vm.Close()
			if err := <-s.done; err != nil {
				t.Fatal(err)
			}
			if g, w := strings.Join(s.lines, " "), wantOrder(o.want); g != w {
				t.Errorf("order of messages\n got %s\nwant %s", g, w)
			}
		})
	}
}

func wantOrder(s string) string {
	var out []string
	for i, part := range strings.Split(s, "|") {
		if i > 0 {
			out = append(out, "|", []string{"Start", "Stop", "Cont", "Reset"}[i-1])
		}
		out = append(out, strings.Fields(part)...)
	}
	return strings.Join(out, " ")
}

func TestReplugRepeatsHandshake(t *testing.T) {
	fd, s := newScribe(t)
	vm, err := New(fd, Options{Fail: func(err error) { t.Fatal(err) }})
	if err != nil {
		t.Fatal(err)
	}
	vm.Start()
	vm.Replug()
	vm.Start()
	vm.Close()
	if err := <-s.done; err != nil {
		t.Fatal(err)
	}
	all := " " + strings.Join(s.lines, " ") + " "
	for want, times := range map[string]int{" 3 ": 2, " 37* ": 2, " 15 ": 2, " 38* ": 0} {
		if n := strings.Count(all, want); n != times {
			t.Errorf("message%swas sent %d times, want %d", want, n, times)
		}
	}
}

func TestReplyChecks(t *testing.T) {
	for name, reply := range map[string][]byte{
		"other request":   Frame(SetOwner, FlagVersion|FlagReply, 8, U64(0)),
		"need reply kept": Frame(GetFeatures, FlagVersion|FlagReply|FlagNeedReply, 8, U64(0)),
		"no reply flag":   Frame(GetFeatures, FlagVersion, 8, U64(0)),
		"short":           Frame(GetFeatures, FlagVersion|FlagReply, 4, make([]byte, 4)),
		"huge":            Frame(GetFeatures, FlagVersion|FlagReply, 1<<20, nil),
	} {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := NewConn(fds[0], time.Second)
		peer, _ := NewConn(fds[1], time.Second)
		if err := peer.SendBytes(reply); err != nil {
			t.Fatal(err)
		}
		if err := c.Alive(); !errors.Is(err, ErrReply) {
			t.Errorf("%s: got %v, want ErrReply", name, err)
		}
		peer.Close()
		if err := c.WaitClosed(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
}
