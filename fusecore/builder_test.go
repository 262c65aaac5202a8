// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// wire returns the parts one after the other as they go over the wire: byte slices as they are,
// strings with a terminating NUL, structures in native byte order.
func wire(t testing.TB, parts ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			b.Write(p)
		case string:
			b.WriteString(p)
			b.WriteByte(0)
		default:
			if err := binary.Write(&b, binary.NativeEndian, p); err != nil {
				t.Fatalf("encoding %T: %v", p, err)
			}
		}
	}
	return b.Bytes()
}

// message returns a request of node 1 with the given body and a correct length.
func message(t testing.TB, op Opcode, unique uint64, parts ...any) []byte {
	t.Helper()
	return messageFrom(t, fuse.InHeader{Opcode: uint32(op), Unique: unique, NodeId: 1}, parts...)
}

// messageFrom is message with the header given; its length is filled in.
func messageFrom(t testing.TB, h fuse.InHeader, parts ...any) []byte {
	t.Helper()
	body := wire(t, parts...)
	h.Length = uint32(inHeaderSize + len(body))
	return append(wire(t, h), body...)
}

// cut returns b in pieces that share its memory, cut at random places, some of them empty.
func cut(rng *rand.Rand, b []byte) [][]byte {
	var segs [][]byte
	for len(b) > 0 {
		n := rng.IntN(len(b) + 1)
		if rng.IntN(2) == 0 {
			n = min(n, 8)
		}
		segs = append(segs, b[:n:n])
		b = b[n:]
	}
	return segs
}

// reply is a decoded reply.
type reply struct {
	written int
	header  fuse.OutHeader
	body    []byte
}

func (r reply) errno() syscall.Errno { return syscall.Errno(-r.header.Status) }

// into decodes the body's start as the structure p points to.
func (r reply) into(t testing.TB, p any) {
	t.Helper()
	if _, err := binary.Decode(r.body, binary.NativeEndian, p); err != nil {
		t.Fatalf("reply of %d bytes: %v", len(r.body), err)
	}
}

// tester sends messages to a session, each cut differently.
type tester struct {
	t   testing.TB
	s   *Session
	rng *rand.Rand
	r   Request
}

func newTester(t testing.TB, fs fuse.RawFileSystem, o Options) *tester {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("cut with seed %d", seed)
	return &tester{t: t, s: NewSession(fs, o), rng: rand.New(rand.NewPCG(seed, 1))}
}

// newStarted returns a tester whose session has had an INIT as Linux 6.12 sends it.
func newStarted(t testing.TB, fs fuse.RawFileSystem) *tester {
	t.Helper()
	tt := newTester(t, fs, Options{})
	if got := tt.init(); got.errno() != 0 {
		t.Fatalf("INIT: %v", got.errno())
	}
	return tt
}

// linuxInit is INIT's arguments as Linux 6.12 sends them.
var linuxInit = struct {
	Major, Minor, MaxReadahead, Flags, Flags2 uint32
	Unused                                    [11]uint32
}{7, 41, 0x20000, 0x7bfffffb, 0x1ff, [11]uint32{}}

func (tt *tester) init() reply {
	tt.t.Helper()
	return tt.send(message(tt.t, OpInit, 1, linuxInit), 80)
}

// send has msg carried out on a worker with room bytes for the reply, and checks what holds for
// every reply.
func (tt *tester) send(msg []byte, room int) reply {
	tt.t.Helper()
	got, again := tt.try(msg, room, false)
	if again {
		tt.t.Fatal("a worker was told to try again")
	}
	return got
}

func (tt *tester) try(msg []byte, room int, inline bool) (reply, bool) {
	tt.t.Helper()
	const guard = 0xa5
	out := bytes.Repeat([]byte{guard}, room+8)
	tt.r.In, tt.r.Out = cut(tt.rng, msg), cut(tt.rng, out[:room:room])
	written, again := tt.s.Handle(&tt.r, inline)
	if !bytes.Equal(out[room:], bytes.Repeat([]byte{guard}, 8)) {
		tt.t.Fatal("bytes behind the reply's room were written")
	}
	if again && written != 0 {
		tt.t.Fatalf("again with %d bytes written", written)
	}
	return checkReply(tt.t, msg, out[:room], written), again
}

// checkReply checks what holds for every reply and decodes it.
func checkReply(t testing.TB, msg, out []byte, written int) reply {
	t.Helper()
	got := reply{written: written}
	if written == 0 {
		return got
	}
	if written < outHeaderSize || written > len(out) {
		t.Fatalf("%d bytes written to %d", written, len(out))
	}
	if _, err := binary.Decode(out, binary.NativeEndian, &got.header); err != nil {
		t.Fatal(err)
	}
	got.body = out[outHeaderSize:written]
	if int(got.header.Length) != written {
		t.Fatalf("reply says %d bytes, %d were written", got.header.Length, written)
	}
	if want := binary.NativeEndian.Uint64(msg[8:]); got.header.Unique != want {
		t.Fatalf("reply to request %d, want %d", got.header.Unique, want)
	}
	if got.header.Status > 0 || got.header.Status <= -maxErrno {
		t.Fatalf("status %d is none", got.header.Status)
	}
	if got.header.Status != 0 && written != outHeaderSize {
		t.Fatalf("error reply of %d bytes", written)
	}
	return got
}
