// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// bare is a connection without any handshake, with a daemon at its other end.
type bare struct {
	*frontend.Conn
	t    *testing.T
	done chan error
	gone bool
}

func newBare(t *testing.T) *bare {
	t.Helper()
	checkLeaks(t)
	fd, done := serve(t, newSlowFS())
	c, err := frontend.NewConn(fd, patience)
	if err != nil {
		t.Fatal(err)
	}
	b := &bare{Conn: c, t: t, done: done}
	t.Cleanup(b.hangUp)
	return b
}

// hangUp closes the connection and waits for the daemon to be done with it. A second call does
// nothing.
func (b *bare) hangUp() {
	b.t.Helper()
	if b.gone {
		return
	}
	b.gone = true
	b.Close()
	(&guest{t: b.t, done: b.done}).ended()
}

// answers says whether the daemon still serves the connection; if not, it must have closed it.
func (b *bare) answers() bool {
	b.t.Helper()
	// An acknowledgement of what was sent before may come first.
	err := b.Alive()
	for errors.Is(err, frontend.ErrReply) {
		_, err = b.Recv(frontend.GetFeatures)
	}
	if err != nil && !errors.Is(err, frontend.ErrClosed) {
		b.t.Fatalf("neither an answer nor a closed connection: %v", err)
	}
	return err == nil
}

// devNull is n fds for messages that should not have any.
func devNull(t *testing.T, n int) []int {
	t.Helper()
	var fds []int
	for range n {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		fds = append(fds, int(f.Fd()))
	}
	return fds
}

// handshake acknowledges REPLY_ACK and what else a test may want.
func (b *bare) handshake() {
	b.t.Helper()
	pf := frontend.PFMQ | frontend.PFReplyAck | frontend.PFConfigureMemSlots | frontend.PFBackendReq | frontend.PFResetDevice | frontend.PFLogShmFD | frontend.PFConfig
	for _, m := range [][]byte{
		msg(frontend.SetOwner, nil),
		msg(frontend.SetProtocolFeatures, frontend.U64(pf)),
		msg(frontend.SetFeatures, frontend.U64(frontend.FeatureVersion1|frontend.FeatureProtocolFeatures|frontend.FeatureIndirect|frontend.FeatureEventIdx)),
	} {
		if err := b.SendBytes(m); err != nil {
			b.t.Fatal(err)
		}
	}
}

// msg is a well-formed message.
func msg(req frontend.Request, payload []byte) []byte {
	return frontend.Frame(req, frontend.FlagVersion, uint32(len(payload)), payload)
}

// allRequests are the messages of the protocol with a payload of the right size.
var allRequests = map[frontend.Request][]byte{
	frontend.GetFeatures: nil, frontend.SetFeatures: frontend.U64(frontend.FeatureVersion1), frontend.SetOwner: nil, frontend.ResetOwner: nil,
	frontend.SetMemTable: frontend.MemTable(frontend.MemRegion{GPA: 0, Size: 1 << 20, UserAddr: 1 << 40}),
	frontend.SetLogBase:  make([]byte, 16), frontend.SetLogFD: nil,
	frontend.SetVringNum: frontend.VringState(0, 128), frontend.SetVringAddr: frontend.VringAddr{Desc: 1 << 40, Avail: 1<<40 + 4096, Used: 1<<40 + 8192}.Bytes(),
	frontend.SetVringBase: frontend.VringState(0, 0), frontend.GetVringBase: frontend.VringState(0, 0),
	frontend.SetVringKick: frontend.U64(0), frontend.SetVringCall: frontend.U64(0), frontend.SetVringErr: frontend.U64(0),
	frontend.GetProtocolFeatures: nil, frontend.SetProtocolFeatures: frontend.U64(0), frontend.GetQueueNum: nil,
	frontend.SetVringEnable: frontend.VringState(0, 1), frontend.SetBackendReqFD: nil,
	frontend.GetConfig: frontend.ConfigSpace(0, 40, 0, nil), frontend.SetConfig: frontend.ConfigSpace(0, 40, 0, nil),
	frontend.GetInflightFD: make([]byte, 24), frontend.SetInflightFD: make([]byte, 24), frontend.ResetDevice: nil, frontend.GetMaxMemSlots: nil,
	frontend.AddMemReg: frontend.MemReg(frontend.MemRegion{Size: 1 << 20}), frontend.RemMemReg: frontend.MemReg(frontend.MemRegion{Size: 1 << 20}),
	frontend.SetStatus: frontend.U64(8), frontend.GetStatus: nil,
	19: frontend.U64(0), 20: frontend.U64(1500), 22: make([]byte, 32), 23: frontend.VringState(0, 0), 26: make([]byte, 64), 27: frontend.U64(0),
	28: nil, 29: nil, 30: nil, 33: nil, 35: frontend.VringState(0, 0), 41: make([]byte, 16), 42: make([]byte, 8), 43: nil, 44: nil,
	0: nil, 45: nil, 1000: nil, 1 << 31: nil,
}

// Every message alone, as the first one and after a handshake, with and without NEED_REPLY and
// with a number of fds that it cannot need: an answer or a closed connection, and no fd kept.
func TestMessagesOutOfOrder(t *testing.T) {
	for req, payload := range allRequests {
		for _, late := range []bool{false, true} {
			for _, fds := range []int{0, 1, 2, 9, 30} {
				t.Run(fmt.Sprintf("%d/after handshake %v/%d fds", req, late, fds), func(t *testing.T) {
					b := newBare(t)
					if late {
						b.handshake()
					}
					for _, flags := range []uint32{frontend.FlagVersion, frontend.FlagVersion | frontend.FlagNeedReply} {
						if err := b.SendBytes(frontend.Frame(req, flags, uint32(len(payload)), payload), devNull(t, fds)...); err != nil {
							break // closed after the first one
						}
					}
					b.answers()
				})
			}
		}
	}
}

// Every message with a payload that is too short, too long, or announced and never sent.
func TestMessageSizes(t *testing.T) {
	for req, payload := range allRequests {
		t.Run(fmt.Sprint(uint32(req)), func(t *testing.T) {
			for _, n := range []int{0, 1, 4, 7, 8, 9, 12, 16, 39, 40, 41, 264, 265, 4096, 70_000} {
				b := newBare(t)
				b.handshake()
				body := append(append([]byte(nil), payload...), make([]byte, n)...)[:n]
				if err := b.SendBytes(msg(req, body)); err == nil {
					b.answers()
				}
				b.hangUp()
			}
			for _, size := range []uint32{1, 8, 64, 4096, 1 << 20, 1 << 31, 1<<32 - 1} {
				b := newBare(t)
				b.handshake()
				// What is announced and not sent ends with the connection.
				if err := b.SendBytes(frontend.Frame(req, frontend.FlagVersion, size, payload[:min(len(payload), int(size-1))])); err != nil && !errors.Is(err, frontend.ErrClosed) {
					t.Fatal(err)
				}
				b.hangUp()
			}
		})
	}
}

// Headers that are cut or wrong.
func TestMessageHeaders(t *testing.T) {
	whole := msg(frontend.SetVringNum, frontend.VringState(0, 128))
	for n := range whole {
		b := newBare(t)
		if err := b.SendBytes(whole[:n]); err != nil {
			t.Fatal(err)
		}
		b.hangUp()
	}
	for _, flags := range []uint32{0, 2, 3, frontend.FlagVersion | frontend.FlagReply, 0xffffffff, 0xfffffffe, 1 << 16} {
		t.Run(fmt.Sprintf("flags %#x", flags), func(t *testing.T) {
			b := newBare(t)
			if err := b.SendBytes(frontend.Frame(frontend.SetOwner, flags, 0, nil)); err != nil {
				t.Fatal(err)
			}
			b.answers()
		})
	}
}

// A message may come in any pieces; its fds come with the first byte.
func TestMessagesInPieces(t *testing.T) {
	b := newBare(t)
	for range 3 {
		for _, c := range msg(frontend.GetFeatures, nil) {
			if err := b.SendBytes([]byte{c}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Recv(frontend.GetFeatures); err != nil {
			t.Fatal(err)
		}
	}
	// Several messages in one piece.
	if err := b.SendBytes(bytes.Repeat(msg(frontend.GetFeatures, nil), 10)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := b.Recv(frontend.GetFeatures); err != nil {
			t.Fatal(err)
		}
	}
}

// The same fds again and again must replace each other.
func TestRepeatedFDs(t *testing.T) {
	b := newBare(t)
	b.handshake()
	fds := devNull(t, 1)
	efd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(efd)
	before := len(openFDs(t))
	for range 200 {
		for _, m := range []frontend.Request{frontend.SetVringKick, frontend.SetVringCall, frontend.SetVringErr} {
			if err := b.Tell(m, frontend.U64(1), efd); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Tell(frontend.SetLogFD, nil, fds[0]); err != nil {
			break
		}
	}
	b.answers()
	if n := len(openFDs(t)) - before; n > 10 {
		t.Errorf("%d fds more after 200 repetitions", n)
	}
}

// Random bytes in the shape of messages, the seed printed.
func TestRandomMessages(t *testing.T) {
	for range 100 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			b := newBare(t)
			if r.IntN(2) == 0 {
				b.handshake()
			}
			for range 30 {
				body := make([]byte, []int{0, 8, 16, 40, r.IntN(300)}[r.IntN(5)])
				for i := range body {
					if r.IntN(3) == 0 {
						body[i] = byte(r.Uint32() >> r.IntN(8))
					}
				}
				m := frontend.Frame(frontend.Request(r.IntN(46)), frontend.FlagVersion|frontend.FlagNeedReply*uint32(r.IntN(2)), uint32(len(body)), body)
				if err := b.SendBytes(m, devNull(t, r.IntN(3))...); err != nil {
					return // closed
				}
			}
			// What was sent may lack its end; only that the daemon lets go is asked for.
		})
	}
}
