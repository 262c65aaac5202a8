// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// frame is what a front-end sends at once: a message, or something like one.
type frame struct {
	raw   []byte
	kinds []byte // of descriptors that come along, as indices of frameKinds
}

var frameKinds = []string{
	"eventfd", "mem:0x100000", "pipe", "socket", "mem:0x1000", "mem:0x20000000", "mem:0x100000000",
	"mem:0x8000000",
}

// encode and decodeFrames turn frames into the input of the fuzz target and back: number of
// descriptors, their kinds, then the message with its length in its header.
func (f frame) encode(b []byte) []byte {
	b = append(b, byte(len(f.kinds)))
	b = append(b, f.kinds...)
	return append(b, f.raw...)
}

func decodeFrames(b []byte) (frames []frame) {
	for len(b) > 0 && len(frames) < 1000 {
		n := min(int(b[0]%5), len(b)-1)
		f := frame{kinds: b[1 : 1+n]}
		b = b[1+n:]
		size := len(b)
		if len(b) >= HeaderSize {
			if h := DecodeHeader(b); h.Size <= maxPayload {
				size = min(size, HeaderSize+int(h.Size))
			}
		}
		f.raw, b = b[:size], b[size:]
		if len(f.raw) == 0 {
			break // descriptors without a byte cannot be sent
		}
		frames = append(frames, f)
	}
	return frames
}

// negotiation follows what decides over replies, by the specification: its own list, not the
// code under test.
type negotiation struct{ logReply bool }

// wantsReply says whether the front-end waits for a reply to a message.
func (n *negotiation) wantsReply(h Header, payload []byte) bool {
	switch h.Request {
	case GetFeatures, GetVringBase, GetProtocolFeatures, GetQueueNum, IOTLBMsg, GetConfig,
		CreateCryptoSession, PostcopyAdvise, PostcopyEnd, GetInflightFD, GetMaxMemSlots, GetStatus,
		GetSharedObject, SetDeviceStateFD, CheckDeviceState, GetShmemConfig:
		return true
	case SetLogBase:
		return n.logReply || h.Flags&FlagNeedReply != 0
	case SetProtocolFeatures:
		if len(payload) == 8 && DecodeU64(payload)&^uint64(allPF) == 0 {
			n.logReply = DecodeU64(payload)&uint64(ProtocolLogSHMFD) != 0
		}
	}
	return h.Flags&FlagNeedReply != 0
}

// converse sends frames to a served device and checks what holds for any input: each message
// that wants a reply gets exactly one, in order; the promises to the device are kept; the end
// comes and leaves no queue running and no descriptor open.
func converse(t failer, frames []frame) {
	t.Helper()
	before := openFDs(t)
	p := serve(t, newFakeDevice(t, 3, testConfig()), nil)
	replies := make(chan []Request)
	go func() {
		var got []Request
		for {
			h, _, err := p.tryRecv()
			if err != nil {
				replies <- got
				return
			}
			got = append(got, h.Request)
		}
	}()
	for _, f := range frames {
		var fds []int
		for _, k := range f.kinds {
			fds = append(fds, openKind(t, frameKinds[int(k)%len(frameKinds)]))
		}
		if p.trySend(f.raw, fds...) != nil {
			break // the connection was ended by the other side
		}
	}
	_ = p.sock.CloseWrite()
	err := <-p.done
	got := <-replies
	p.sock.Close()
	p.stop()
	checkReplies(t, frames, got, err)
	if after := openFDs(t); len(after) != len(before) {
		t.Errorf("descriptors leak:\nbefore %v\nafter %v", before, after)
	}
}

// checkReplies compares got with what frames ask for, up to the first framing error.
func checkReplies(t failer, frames []frame, got []Request, err error) {
	t.Helper()
	var stream []byte
	for _, f := range frames {
		stream = append(stream, f.raw...)
	}
	var n negotiation
	for len(stream) >= HeaderSize {
		h := DecodeHeader(stream)
		if h.Flags&FlagVersionMask != FlagVersion || h.Flags&FlagReply != 0 || h.Size > maxPayload ||
			len(stream) < HeaderSize+int(h.Size) {
			break
		}
		payload := stream[HeaderSize : HeaderSize+int(h.Size)]
		stream = stream[HeaderSize+int(h.Size):]
		switch wants := n.wantsReply(h, payload); {
		case !wants:
		case len(got) > 0 && got[0] == h.Request:
			got = got[1:]
		case h.Request == SetLogBase && len(got) == 0 && errors.Is(err, ErrLogBase):
			return // ended there
		default:
			t.Fatalf("%s got no reply (next is %v, Serve: %v)", h.Request, got, err)
		}
	}
	if len(got) > 0 {
		t.Fatalf("replies that nobody asked for: %v", got)
	}
}

// TestRandomConversations sends messages that make sense one by one, in any order.
func TestRandomConversations(t *testing.T) {
	checkLeaks(t)
	rapid.Check(t, func(t *rapid.T) {
		start := []frame{
			message1(SetProtocolFeatures, FlagVersion, u64(uint64(allPF))),
			message1(SetOwner, FlagVersion, nil),
			message1(SetFeatures, FlagVersion, u64(0x170000000)),
			message1(AddMemReg, FlagVersion, AppendSingleRegion(nil, MemRegion{Size: testMem, UserAddr: testUser}), 1),
		}
		if rapid.Bool().Draw(t, "bare") {
			start = nil
		}
		converse(t, append(start, rapid.SliceOfN(rapid.Custom(drawFrame), 1, 60).Draw(t, "messages")...))
	})
}

func message1(r Request, flags uint32, payload []byte, kinds ...byte) frame {
	return frame{append(Header{r, flags, uint32(len(payload))}.Append(nil), payload...), kinds}
}

// drawFrame draws a message with mostly right payload and descriptors.
func drawFrame(t *rapid.T) frame {
	index := uint32(rapid.IntRange(0, 3).Draw(t, "ring"))
	flags := rapid.SampledFrom([]uint32{FlagVersion, needReply}).Draw(t, "flags")
	region := MemRegion{
		GPA:      uint64(rapid.IntRange(0, 2).Draw(t, "gpa")) * testMem,
		Size:     testMem,
		UserAddr: testUser + uint64(rapid.IntRange(0, 2).Draw(t, "uaddr"))*testMem,
	}
	frames := []frame{
		message1(SetVringNum, flags, state(index, rapid.SampledFrom([]uint32{0, 1, 64, 128, 256, 32768}).Draw(t, "num"))),
		message1(SetVringBase, flags, state(index, uint32(rapid.IntRange(0, 70000).Draw(t, "base")))),
		message1(SetVringAddr, flags, ringAddr(index).Append(nil)),
		message1(SetVringAddr, flags, ringAddrAt(index, region.UserAddr).Append(nil)),
		message1(SetVringKick, flags, u64(uint64(index)), 0),
		message1(SetVringKick, flags, u64(uint64(index)|VringFDNone)),
		message1(SetVringCall, flags, u64(uint64(index)), 2),
		message1(SetVringErr, flags, u64(uint64(index)), 0, 0),
		message1(SetVringEnable, flags, state(index, 1)),
		message1(SetVringEnable, flags, state(index, 0)),
		message1(GetVringBase, flags, state(index, 0)),
		message1(AddMemReg, flags, AppendSingleRegion(nil, region), 1),
		message1(RemMemReg, flags, AppendSingleRegion(nil, region)),
		message1(SetMemTable, flags, AppendMemTable(nil, []MemRegion{region}), 1),
		message1(SetFeatures, flags, u64(rapid.SampledFrom([]uint64{0, 0x100000000, 0x170000000, 0x174000000, 1 << 50}).Draw(t, "features"))),
		message1(SetOwner, flags, nil),
		message1(ResetDevice, flags, nil),
		message1(SetLogBase, flags, append(u64(0x1000), u64(0)...), 1),
		message1(SetBackendReqFD, flags, nil, 3),
		message1(Request(rapid.IntRange(0, 50).Draw(t, "request")), flags,
			rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "payload"),
			rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "kinds")...),
	}
	return frames[rapid.IntRange(0, len(frames)-1).Draw(t, "message")]
}

// FuzzMessages sends bytes as messages, with descriptors.
func FuzzMessages(f *testing.F) {
	for _, seed := range seedFrames(f) {
		var b []byte
		for _, fr := range seed {
			b = fr.encode(b)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { converse(t, decodeFrames(b)) })
}

// seedFrames are the front-end's halves of the transcripts.
func seedFrames(t failer) (seeds [][]frame) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%v", err)
		}
		var frames []frame
		for line := range strings.SplitSeq(string(text), "\n") {
			if !strings.HasPrefix(line, "> ") || line == "> EOF" {
				continue
			}
			line, kinds, _ := strings.Cut(line, " fds=")
			r, flags, payload, _ := parseMessage(t, line, false)
			fr := message1(r, flags, payload)
			for k := range strings.SplitSeq(kinds, ",") {
				if i := slices.Index(frameKinds, k); i >= 0 {
					fr.kinds = append(fr.kinds, byte(i))
				}
			}
			frames = append(frames, fr)
		}
		seeds = append(seeds, frames)
	}
	return seeds
}

// TestSeedsDecode: the fuzz target sees the transcripts as they are.
func TestSeedsDecode(t *testing.T) {
	for _, seed := range seedFrames(t) {
		var b []byte
		for _, fr := range seed {
			b = fr.encode(b)
		}
		got := decodeFrames(b)
		if len(got) != len(seed) {
			t.Fatalf("%d frames, want %d", len(got), len(seed))
		}
		for i := range got {
			if !slices.Equal(got[i].raw, seed[i].raw) || !slices.Equal(got[i].kinds, seed[i].kinds) {
				t.Fatalf("frame %d: %v, want %v", i, got[i], seed[i])
			}
		}
	}
}
