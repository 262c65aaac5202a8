// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

const (
	needReply = FlagVersion | FlagNeedReply
	allPF     = ProtocolMQ | ProtocolLogSHMFD | ProtocolReplyAck | ProtocolBackendReq |
		ProtocolConfigureMemSlots | ProtocolResetDevice | ProtocolConfig
	testUser = 0x7f0000000000 // user address of GPA 0
	testMem  = 0x100000       // bytes
)

func u64(v uint64) []byte         { return AppendU64(nil, v) }
func state(i, n uint32) []byte    { return VringState{i, n}.Append(nil) }
func testConfig() []byte          { return append(bytes.Repeat([]byte{'t'}, 36), 1, 0, 0, 0) }
func ringAddr(i uint32) VringAddr { return ringAddrAt(i, testUser+uint64(i)*0x4000) }

// ringAddrAt lays out a ring of up to 256 entries.
func ringAddrAt(i uint32, at uint64) VringAddr {
	return VringAddr{Index: i, Desc: at, Avail: at + 0x1000, Used: at + 0x2000}
}

// session serves a device of two queues to a front-end that has negotiated everything.
func session(t *testing.T) *peer {
	t.Helper()
	checkLeaks(t)
	p := serve(t, newFakeDevice(t, 2, testConfig()), nil)
	p.send(SetProtocolFeatures, FlagVersion, u64(uint64(allPF)))
	p.must(SetOwner, nil)
	p.must(SetFeatures, u64(0x170000000))
	t.Cleanup(func() { p.hangUp() })
	return p
}

// withMemory adds one region of guest memory.
func withMemory(t *testing.T) *peer {
	t.Helper()
	p := session(t)
	p.must(AddMemReg, AppendSingleRegion(nil, MemRegion{Size: testMem, UserAddr: testUser}), memFD(t, testMem))
	return p
}

// startRing says all that makes ring i run.
func (p *peer) startRing(i uint32, base uint32) {
	p.t.Helper()
	p.must(SetVringNum, state(i, 128))
	p.must(SetVringBase, state(i, base))
	p.must(SetVringAddr, ringAddr(i).Append(nil))
	p.must(SetVringCall, u64(uint64(i)), eventFD(p.t))
	p.must(SetVringKick, u64(uint64(i)), eventFD(p.t))
	p.must(SetVringEnable, state(i, 1))
	if _, ok := p.dev.runs(int(i)); !ok {
		p.t.Fatalf("ring %d does not run", i)
	}
}

// TestRefused: a message that breaks its rules gets an error, changes nothing, leaks nothing,
// and the connection goes on.
func TestRefused(t *testing.T) {
	table := func(n uint32, room int) []byte {
		b := AppendMemTable(nil, make([]MemRegion, room))
		b[0] = byte(n)
		return b
	}
	region := AppendSingleRegion(nil, MemRegion{Size: testMem, UserAddr: testUser})
	far := AppendSingleRegion(nil, MemRegion{GPA: 1 << 40, Size: 0x2000, UserAddr: 1 << 40})
	mem := func(size int64) []string { return []string{fmt.Sprintf("mem:%#x", size)} }
	for _, test := range []struct {
		name    string
		request Request
		payload []byte
		fds     []string
	}{
		{"unknown message 0", 0, nil, nil},
		{"unknown message", 45, nil, nil},
		{"unknown message with fds", 4000000000, make([]byte, 100), []string{"eventfd", "pipe"}},
		{"short payload", SetVringNum, make([]byte, 7), nil},
		{"no payload", SetVringAddr, nil, nil},
		{"long payload", SetVringNum, make([]byte, 9), nil},
		{"longest payload", SetFeatures, make([]byte, maxPayload), nil},
		{"payload where there is none", SetOwner, make([]byte, 8), nil},
		{"feature not offered", SetFeatures, u64(1 << 40), nil},
		{"protocol feature not offered", SetProtocolFeatures, u64(1 << 14), nil},
		{"protocol feature 63", SetProtocolFeatures, u64(1 << 63), nil},
		{"ring index", SetVringNum, state(2, 128), nil},
		{"ring index, top bit", SetVringBase, state(1<<31, 0), nil},
		{"ring index of kick", SetVringKick, u64(99), []string{"eventfd"}},
		{"ring index of address", SetVringAddr, ringAddr(77).Append(nil), nil},
		{"ring index of enable", SetVringEnable, state(2, 1), nil},
		{"reserved bits of kick", SetVringKick, u64(0x1000), []string{"eventfd"}},
		{"kick without fd", SetVringKick, u64(0), nil},
		{"call without fd", SetVringCall, u64(1), nil},
		{"err without fd", SetVringErr, u64(1), nil},
		{"ring size 0", SetVringNum, state(0, 0), nil},
		{"ring size 100", SetVringNum, state(0, 100), nil},
		{"ring size 65536", SetVringNum, state(0, 65536), nil},
		{"ring size of 33 bits", SetVringNum, state(0, 1<<31), nil},
		{"base of 17 bits", SetVringBase, state(0, 0x10000), nil},
		{"enable 2", SetVringEnable, state(0, 2), nil},
		{"memory without file", AddMemReg, far, nil},
		{"memory beyond its file", AddMemReg, far, mem(0x1000)},
		{"memory that is no file", AddMemReg, far, []string{"eventfd"}},
		{"memory that overlaps", AddMemReg, AppendSingleRegion(nil, MemRegion{GPA: 0x1000, Size: 0x1000, UserAddr: 1 << 40}), mem(0x1000)},
		{"memory of size 0", AddMemReg, AppendSingleRegion(nil, MemRegion{GPA: 1 << 40, UserAddr: 1 << 40}), mem(0x1000)},
		{"memory that wraps", AddMemReg, AppendSingleRegion(nil, MemRegion{GPA: ^uint64(0) - 0xfff, Size: 0x2000, UserAddr: 1 << 40}), mem(0x2000)},
		{"short region", AddMemReg, region[:32], mem(testMem)},
		{"unknown region", RemMemReg, far, nil},
		{"unknown region with fd", RemMemReg, far, mem(0x2000)},
		{"table cut short", SetMemTable, table(2, 1), append(mem(0x1000), mem(0x1000)...)},
		{"table without files", SetMemTable, table(1, 1), nil},
		{"table of 33", SetMemTable, table(33, 33), nil},
		{"table of 0-sized region", SetMemTable, table(1, 1), mem(0x1000)},
		{"log fd missing", SetLogFD, nil, nil},
		{"back channel missing", SetBackendReqFD, nil, nil},
		{"back channel is no socket", SetBackendReqFD, nil, []string{"pipe"}},
		{"configuration is read-only", SetConfig, append(ConfigRange{0, 1, 0}.Append(nil), 'x'), nil},
		{"status not offered", SetStatus, u64(8), nil},
		{"in-band kick not offered", VringKick, state(0, 0), nil},
		{"in-flight not offered", SetInflightFD, make([]byte, 24), mem(0x1000)},
		{"other device's message", GPUSetSocket, nil, []string{"socket"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := withMemory(t)
			p.startRing(0, 5)
			before := len(p.dev.since(0))
			p.mustNot(test.request, test.payload, openAll(t, test.fds)...)
			// Without NEED_REPLY: no answer, and nothing goes wrong either.
			p.send(test.request, FlagVersion, test.payload, openAll(t, test.fds)...)
			p.alive()
			if calls := p.dev.since(before); len(calls) != 0 {
				t.Errorf("device was called: %v", calls)
			}
			p.must(SetVringEnable, state(0, 0))
			p.startRing(1, 0)
		})
	}
}

func openAll(t failer, kinds []string) (fds []int) {
	for _, k := range kinds {
		fds = append(fds, openKind(t, k))
	}
	return fds
}

// TestRefusedWithOwnReply: where the front-end always waits, a refusal is an empty payload, or
// a status that says error; also with NEED_REPLY it is one reply.
func TestRefusedWithOwnReply(t *testing.T) {
	config := func(off, size uint32, n int) []byte {
		return append(ConfigRange{off, size, 0}.Append(nil), make([]byte, n)...)
	}
	for _, test := range []struct {
		name    string
		request Request
		payload []byte
		want    []byte
	}{
		{"ring index", GetVringBase, state(2, 0), nil},
		{"short payload", GetVringBase, nil, nil},
		{"long payload", GetFeatures, make([]byte, 8), nil},
		{"configuration beyond its end", GetConfig, config(40, 1, 1), nil},
		{"configuration, offset that wraps", GetConfig, config(0xffffffff, 2, 2), nil},
		{"configuration, sizes differ", GetConfig, config(0, 4, 3), nil},
		{"status", GetStatus, nil, nil},
		{"in-flight", GetInflightFD, make([]byte, 24), nil},
		{"shared memory", GetShmemConfig, nil, nil},
		{"IOTLB", IOTLBMsg, make([]byte, 32), u64(statusRefused)},
		{"end of postcopy", PostcopyEnd, nil, u64(statusRefused)},
		{"device state", SetDeviceStateFD, make([]byte, 8), u64(statusRefused)},
		{"check of device state", CheckDeviceState, nil, u64(statusRefused)},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := session(t)
			for _, flags := range []uint32{FlagVersion, needReply} {
				if got := p.call(test.request, flags, test.payload); !bytes.Equal(got, test.want) {
					t.Errorf("flags %#x: reply %x, want %x", flags, got, test.want)
				}
				p.alive()
			}
		})
	}
}

// TestNotNegotiated: what was offered but not acknowledged is refused.
func TestNotNegotiated(t *testing.T) {
	checkLeaks(t)
	p := serve(t, newFakeDevice(t, 2, testConfig()), nil)
	defer p.hangUp()
	for _, r := range []Request{GetQueueNum, GetMaxMemSlots, GetConfig} {
		if got := p.call(r, FlagVersion, nil); len(got) != 0 {
			t.Errorf("%s answers %x", r, got)
		}
	}
	p.mustNot(AddMemReg, make([]byte, singleRegionLen), memFD(t, 0x1000))
	p.mustNot(ResetDevice, nil)
	p.mustNot(SetBackendReqFD, nil, sockFD(t))
	p.mustNot(SetLogBase, make([]byte, logSize), memFD(t, 0x1000))
	if got := p.call(GetProtocolFeatures, FlagVersion, nil); DecodeU64(got) != uint64(allPF) {
		t.Errorf("protocol features %x", got)
	}
}

// TestFramingErrors: after these nothing in the stream can be trusted.
func TestFramingErrors(t *testing.T) {
	header := func(r Request, flags, size uint32) []byte { return Header{r, flags, size}.Append(nil) }
	for _, test := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"version 0", header(GetFeatures, 0, 0), ErrVersion},
		{"version 2", header(GetFeatures, 2, 0), ErrVersion},
		{"version 3", header(GetFeatures, 3, 0), ErrVersion},
		{"a reply", header(GetFeatures, ReplyFlags, 0), ErrReplyFlag},
		{"too long by one", header(SetMemTable, 1, maxPayload+1), ErrTooLong},
		{"as long as can be", header(SetMemTable, 1, 0xffffffff), ErrTooLong},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := withMemory(t)
			p.startRing(0, 0)
			p.sendRaw(test.raw, eventFD(t))
			err := p.ended()
			var op *OpError
			if !errors.Is(err, test.want) || !errors.As(err, &op) || op.Op != "receive" {
				t.Errorf("Serve: %v, want %v", err, test.want)
			}
			p.done <- err // for the session's own clean-up
		})
	}
}

// TestLogBaseFailure: there is no reply that could say it, and going on would let a guest
// migrate with memory missing.
func TestLogBaseFailure(t *testing.T) {
	p := session(t)
	p.send(SetLogBase, FlagVersion, append(u64(0x4000), u64(0)...), memFD(t, 0x1000))
	err := p.ended()
	if !errors.Is(err, ErrLogBase) || !errors.Is(err, guestmem.ErrRegion) {
		t.Errorf("Serve: %v", err)
	}
	p.done <- err
}

// TestTruncated: the connection ends within a message.
func TestTruncated(t *testing.T) {
	whole := append(Header{SetVringNum, FlagVersion, 8}.Append(nil), state(0, 128)...)
	for n := range len(whole) {
		checkLeaks(t)
		p := serve(t, newFakeDevice(t, 2, nil), nil)
		var fds []int
		if n > 0 {
			p.sendRaw(whole[:n], append(fds, eventFD(t))...)
		}
		err := p.hangUp()
		if n == 0 && err != nil || n > 0 && !errors.Is(err, ErrTruncated) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// TestByteByByte: a message may come in any pieces, its descriptors with the first one or, from
// a front-end that sends the payload apart, with a later one.
func TestByteByByte(t *testing.T) {
	for at := range HeaderSize + 2 {
		p := session(t)
		m := append(Header{SetVringCall, needReply, 8}.Append(nil), u64(0)...)
		for i := range m {
			var fds []int
			if i == at {
				fds = append(fds, eventFD(t))
			}
			p.sendRaw(m[i:i+1], fds...)
		}
		if h, b := p.recv(); h.Request != SetVringCall || DecodeU64(b) != 0 {
			t.Errorf("descriptor with byte %d: %v %x", at, h, b)
		}
	}
}

// TestMessagesTogether: several messages may come in one piece.
func TestMessagesTogether(t *testing.T) {
	p := session(t)
	one := Header{GetFeatures, FlagVersion, 0}.Append(nil)
	p.sendRaw(bytes.Repeat(one, 10))
	for range 10 {
		if h, _ := p.recv(); h.Request != GetFeatures {
			t.Errorf("reply to %s", h.Request)
		}
	}
}

// TestSurplusFDs: descriptors beyond what a message may have are closed, the message is
// carried out.
func TestSurplusFDs(t *testing.T) {
	many := func(n int) (fds []int) {
		for range n {
			fds = append(fds, eventFD(t))
		}
		return fds
	}
	p := withMemory(t)
	p.must(SetFeatures, u64(0x170000000), many(1)...)
	p.must(SetVringCall, u64(0), many(3)...)
	p.must(SetVringKick, u64(0|VringFDNone), many(1)...)
	p.must(SetVringNum, state(0, 128), many(scmMaxFD)...)
	region := MemRegion{Size: testMem, UserAddr: testUser}
	fds := append([]int{memFD(t, testMem)}, many(maxFDs)...)
	p.must(SetMemTable, AppendMemTable(nil, []MemRegion{region}), fds...)
	p.must(RemMemReg, AppendSingleRegion(nil, region), many(1)...)
	p.mustNot(Request(99), nil, many(scmMaxFD)...)
}

// TestManyFDs: descriptors that come with every byte of a long message do not pile up.
func TestManyFDs(t *testing.T) {
	checkLeaks(t)
	ours, theirs := socketPair(t)
	defer ours.Close()
	defer theirs.Close()
	want := Header{SetMemTable, needReply, 100}
	raw := append(want.Append(nil), make([]byte, want.Size)...)
	fd := eventFD(t)
	defer unix.Close(fd)
	fds := slices.Repeat([]int{fd}, 100)
	for i := range raw {
		if _, _, err := theirs.WriteMsgUnix(raw[i:i+1], unix.UnixRights(fds...), nil); err != nil {
			t.Fatal(err)
		}
	}
	var m message
	defer m.closeFDs()
	if err := newChannel(ours).receive(&m); err != nil || m.Header != want || len(m.fds) != maxFDs {
		t.Errorf("%+v with %d descriptors, %v", m.Header, len(m.fds), err)
	}
}

// TestLostFDs: when we may not open more files the kernel drops descriptors. A message without
// them must not be taken for one that never had any.
func TestLostFDs(t *testing.T) {
	p := session(t)
	fd := eventFD(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	// A descriptor's number must be below the limit. All below fd are in use, or become so.
	fill := fillBelow(t, fd)
	low := old
	low.Cur = uint64(fd) + 1
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	m := append(Header{SetVringCall, FlagVersion, 8}.Append(nil), u64(0)...)
	_, _, err := p.sock.WriteMsgUnix(m, unix.UnixRights(fd), nil)
	var ended error
	if err == nil {
		ended = <-p.done
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	for _, f := range append(fill, fd) {
		_ = unix.Close(f)
	}
	if err != nil || !errors.Is(ended, ErrLostFDs) {
		t.Errorf("send: %v; Serve: %v, want %v", err, ended, ErrLostFDs)
	}
	p.done <- ended
}

// fillBelow opens descriptors until none below limit is free.
func fillBelow(t *testing.T, limit int) (fds []int) {
	for {
		fd := eventFD(t)
		if fd > limit {
			_ = unix.Close(fd)
			return fds
		}
		fds = append(fds, fd)
	}
}

// TestShutdown: the end of the context stops the rings and ends the connection, also when the
// front-end is silent.
func TestShutdown(t *testing.T) {
	p := withMemory(t)
	p.startRing(0, 0)
	p.startRing(1, 0)
	p.stop()
	if err := p.ended(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	p.done <- nil
	table := p.mem.Acquire()
	defer table.Release()
	if _, err := table.Translate(testUser, 1); err == nil {
		t.Error("guest memory is still there")
	}
}

// TestDeafPeer: a front-end that does not read its replies cannot hold up the end.
func TestDeafPeer(t *testing.T) {
	checkLeaks(t)
	p := serve(t, newFakeDevice(t, 2, nil), nil)
	_ = p.sock.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	one := bytes.Repeat(Header{GetFeatures, FlagVersion, 0}.Append(nil), 1000)
	for p.trySend(one) == nil { // until both directions are full
	}
	p.stop()
	if err := <-p.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	p.done <- nil
	p.hangUp()
}
