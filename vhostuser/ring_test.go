// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// step is one message about ring 0.
type step struct {
	name string
	do   func(p *peer)
}

func setupSteps(t *testing.T) []step {
	return []step{
		{"num", func(p *peer) { p.must(SetVringNum, state(0, 128)) }},
		{"base", func(p *peer) { p.must(SetVringBase, state(0, 7)) }},
		{"addr", func(p *peer) { p.must(SetVringAddr, ringAddr(0).Append(nil)) }},
		{"kick", func(p *peer) { p.must(SetVringKick, u64(0), eventFD(t)) }},
		{"call", func(p *peer) { p.must(SetVringCall, u64(0), eventFD(t)) }},
		{"err", func(p *peer) { p.must(SetVringErr, u64(0), eventFD(t)) }},
		{"enable", func(p *peer) { p.must(SetVringEnable, state(0, 1)) }},
	}
}

// TestAnyOrder: whatever the order of the messages, the ring runs when the last of those that
// it needs has come, and then as all of them said.
func TestAnyOrder(t *testing.T) {
	needed := []string{"num", "addr", "kick", "enable"}
	for seed := range uint64(100) {
		p := withMemory(t)
		order := setupSteps(t)
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(order), func(i, j int) {
			order[i], order[j] = order[j], order[i]
		})
		// A base that comes when the ring runs already is for the next start.
		base := slices.IndexFunc(order, func(s step) bool { return s.name == "base" })
		order[0], order[base] = order[base], order[0]
		var told []string
		for _, s := range order {
			s.do(p)
			told = append(told, s.name)
			missing := slices.ContainsFunc(needed, func(n string) bool { return !slices.Contains(told, n) })
			if _, runs := p.dev.runs(0); runs == missing {
				t.Fatalf("seed %d: after %v the ring runs: %t", seed, told, runs)
			}
		}
		r, _ := p.dev.runs(0)
		if r.Size != 128 || r.Base != 7 || r.Desc != 0 || r.Avail != 0x1000 || r.Used != 0x2000 ||
			r.Kick < 0 || r.Call < 0 || r.Err < 0 {
			t.Fatalf("seed %d: %v: ring %+v", seed, told, r)
		}
	}
}

// lastCall waits for the connection to have handled everything, then returns the device's
// last call.
func (p *peer) lastCall() string {
	p.t.Helper()
	p.alive()
	calls := p.dev.since(0)
	if len(calls) == 0 {
		return ""
	}
	return calls[len(calls)-1]
}

func wantCall(t *testing.T, p *peer, want string) {
	t.Helper()
	if got := p.lastCall(); !strings.HasPrefix(got, want) {
		t.Fatalf("device's last call is %q, want %q", got, want)
	}
}

func getBase(t *testing.T, p *peer, i uint32) uint32 {
	t.Helper()
	s := DecodeVringState(p.call(GetVringBase, FlagVersion, state(i, 0)))
	if s.Index != i {
		t.Fatalf("GET_VRING_BASE of ring %d answers for ring %d", i, s.Index)
	}
	return s.Num
}

// TestPositionSurvives: disabled, stopped, resumed: always where it was.
func TestPositionSurvives(t *testing.T) {
	p := withMemory(t)
	p.dev.bases = []uint16{100, 200, 65535}
	p.startRing(0, 50)
	p.must(SetVringEnable, state(0, 0))
	wantCall(t, p, "StopQueue 0 base=100")
	p.must(SetVringEnable, state(0, 1))
	if r, _ := p.dev.runs(0); r.Base != 100 {
		t.Errorf("goes on at %d", r.Base)
	}
	if b := getBase(t, p, 0); b != 200 {
		t.Errorf("stopped at %d", b)
	}
	if b := getBase(t, p, 0); b != 200 {
		t.Errorf("asked again: %d", b)
	}
	p.must(SetVringKick, u64(0), eventFD(t)) // still enabled
	if r, _ := p.dev.runs(0); r.Base != 200 {
		t.Errorf("started again at %d", r.Base)
	}
	if b := getBase(t, p, 0); b != 65535 {
		t.Errorf("stopped at %d", b)
	}
}

// TestStoppedRingDropsFDs: GET_VRING_BASE is the end of kick and call, not of err.
func TestStoppedRingDropsFDs(t *testing.T) {
	p := withMemory(t)
	p.must(SetVringErr, u64(0), eventFD(t))
	p.startRing(0, 0)
	getBase(t, p, 0)
	p.must(SetVringKick, u64(0), eventFD(t))
	r, ok := p.dev.runs(0)
	if !ok || r.Call != -1 || r.Err < 0 {
		t.Errorf("ring runs: %t, %+v", ok, r)
	}
}

// TestRestartWithoutStop: set up anew while it runs, it goes on undisturbed until the kick.
func TestRestartWithoutStop(t *testing.T) {
	p := withMemory(t)
	p.dev.bases = []uint16{77}
	p.startRing(0, 50)
	n := len(p.dev.since(0))
	p.must(SetVringNum, state(0, 64))
	p.must(SetVringBase, state(0, 3))
	p.must(SetVringAddr, ringAddrAt(0, testUser+0x8000).Append(nil))
	if calls := p.dev.since(n); len(calls) != 0 {
		t.Fatalf("the ring was touched: %v", calls)
	}
	p.must(SetVringCall, u64(0), eventFD(t))
	wantCall(t, p, "UpdateQueue 0 size=128 desc=0x0 ")
	p.must(SetVringKick, u64(0), eventFD(t))
	wantCall(t, p, "StartQueue 0 size=64 desc=0x8000 avail=0x9000 used=0xa000 base=3 ")
}

// TestStopWithoutRestart: a base set while the ring runs is not where it has come to.
func TestStopWithoutRestart(t *testing.T) {
	p := withMemory(t)
	p.dev.bases = []uint16{77}
	p.startRing(0, 50)
	p.must(SetVringBase, state(0, 3))
	for range 2 {
		if b := getBase(t, p, 0); b != 77 {
			t.Errorf("stopped at %d", b)
		}
	}
}

// TestRestartFails: the new addresses are no good; the ring is stopped then, and can be set up.
func TestRestartFails(t *testing.T) {
	p := withMemory(t)
	p.dev.bases = []uint16{77}
	p.startRing(0, 50)
	p.must(SetVringBase, state(0, 3))
	p.must(SetVringAddr, ringAddrAt(0, 0x1000).Append(nil))
	p.mustNot(SetVringKick, u64(0), eventFD(t))
	if _, runs := p.dev.runs(0); runs {
		t.Fatal("ring runs")
	}
	p.startRing(0, 9)
	wantCall(t, p, "StartQueue 0 size=128 desc=0x0 avail=0x1000 used=0x2000 base=9 ")
}

// TestSwapOnRunningRing: new descriptors reach the device at once, the position stays.
func TestSwapOnRunningRing(t *testing.T) {
	p := withMemory(t)
	p.startRing(0, 50)
	for _, test := range []struct {
		request Request
		kind    string
		want    string
	}{
		{SetVringCall, "pipe", "kick=eventfd call=pipe err=none"},
		{SetVringErr, "socket", "kick=eventfd call=pipe err=socket"},
		{SetVringKick, "pipe", "kick=pipe call=pipe err=socket"},
	} {
		p.must(test.request, u64(0), openKind(t, test.kind))
		if got := p.lastCall(); !strings.HasPrefix(got, "UpdateQueue 0 ") || !strings.HasSuffix(got, test.want) {
			t.Errorf("%s: %q, want %q", test.request, got, test.want)
		}
	}
	p.must(SetVringCall, u64(VringFDNone))
	p.must(SetVringKick, u64(VringFDNone))
	wantCall(t, p, "UpdateQueue 0 size=128 desc=0x0 avail=0x1000 used=0x2000 base=50 features=0x130000000 log=false,0x0 kick=none call=none")
}

// TestRingAddresses: all three areas wholly inside one region, aligned; refused where the ring
// would start, and the ring can be told better ones.
func TestRingAddresses(t *testing.T) {
	const end = testUser + testMem
	for _, test := range []struct {
		name              string
		desc, avail, used uint64
		ok                bool
	}{
		{"inside", testUser, testUser + 0x1000, testUser + 0x2000, true},
		{"up to the last byte: descriptors", end - 16*128, testUser, testUser + 0x2000, true},
		{"up to the last byte: available", testUser, end - (6 + 2*128), testUser + 0x2000, true},
		{"up to the last word: used", testUser, testUser + 0x1000, end - (6 + 8*128) - 2, true},
		{"descriptors end outside", end - 16*127, testUser, testUser + 0x2000, false},
		{"available ends outside", testUser, end - (4 + 2*128), testUser + 0x2000, false},
		{"used ends outside", testUser, testUser + 0x1000, end - (4 + 8*128), false},
		{"at the end", testUser, testUser + 0x1000, end, false},
		{"before the region", testUser - 16, testUser + 0x1000, testUser + 0x2000, false},
		{"a guest physical address", 0, testUser + 0x1000, testUser + 0x2000, false},
		{"wraps", ^uint64(0) - 15, testUser + 0x1000, testUser + 0x2000, false},
		{"descriptors at 8", testUser + 8, testUser + 0x1000, testUser + 0x2000, false},
		{"available at 1", testUser, testUser + 0x1001, testUser + 0x2000, false},
		{"used at 2", testUser, testUser + 0x1000, testUser + 0x2002, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := withMemory(t)
			p.must(SetVringNum, state(0, 128))
			p.must(SetVringAddr, VringAddr{Desc: test.desc, Avail: test.avail, Used: test.used}.Append(nil))
			p.must(SetVringKick, u64(0), eventFD(t))
			if ok := p.ack(SetVringEnable, state(0, 1)); ok != test.ok {
				t.Errorf("accepted: %t", ok)
			}
			if _, runs := p.dev.runs(0); runs != test.ok {
				t.Errorf("ring runs: %t", runs)
			}
			p.startRing(0, 0)
			// The same for a ring that runs: it stays where it is.
			if ok := p.ack(SetVringAddr, VringAddr{Desc: test.desc, Avail: test.avail, Used: test.used}.Append(nil)); ok != test.ok {
				t.Errorf("accepted while it runs: %t", ok)
			}
		})
	}
}

// TestDeviceRefuses: the device's error is the message's error, and the next try is a new one.
func TestDeviceRefuses(t *testing.T) {
	p := withMemory(t)
	p.startRing(0, 0)
	getBase(t, p, 0)
	p.dev.refuse(errors.New("not today"))
	p.mustNot(SetVringKick, u64(0), eventFD(t))
	p.must(SetVringBase, state(0, 4))
	p.dev.refuse(nil)
	p.must(SetVringKick, u64(0), eventFD(t))
	wantCall(t, p, "StartQueue 0 size=128 desc=0x0 avail=0x1000 used=0x2000 base=4 ")
}

// TestMemoryMoves: while a ring runs its memory goes, comes back elsewhere, and moves.
func TestMemoryMoves(t *testing.T) {
	p := withMemory(t)
	p.startRing(0, 0)
	here := MemRegion{Size: testMem, UserAddr: testUser}
	there := MemRegion{GPA: 1 << 32, Size: testMem, UserAddr: testUser}
	other := MemRegion{GPA: 1 << 33, Size: testMem, UserAddr: 1 << 33}
	const same = "UpdateQueue 0 size=128 desc=0x0 avail=0x1000 used=0x2000 "
	expect := func(do func(), want ...string) {
		t.Helper()
		n := len(p.dev.since(0))
		do()
		got := p.dev.since(n)
		if !slices.EqualFunc(got, want, strings.HasPrefix) {
			t.Fatalf("device's calls are %q, want %q", got, want)
		}
	}
	single := func(r MemRegion) []byte { return AppendSingleRegion(nil, r) }
	// The queue may have the old table mapped: it is told of any change.
	expect(func() { p.must(AddMemReg, single(other), memFD(t, testMem)) }, same)
	expect(func() { p.must(RemMemReg, single(other)) }, same)
	expect(func() { p.must(SetMemTable, AppendMemTable(nil, []MemRegion{here}), memFD(t, testMem)) }, same)
	// Its own memory goes and comes back; descriptors can be replaced in between.
	expect(func() { p.must(RemMemReg, single(here)) })
	expect(func() { p.must(AddMemReg, single(other), memFD(t, testMem)) })
	expect(func() { p.must(SetVringCall, u64(0), eventFD(t)) }, same)
	expect(func() { p.must(AddMemReg, single(here), memFD(t, testMem)) }, same)
	// Told anew but not yet started anew, it stays where it is.
	p.must(SetVringBase, state(0, 3))
	p.must(SetVringAddr, ringAddrAt(0, testUser+0x8000).Append(nil))
	expect(func() { p.must(RemMemReg, single(other)) }, same)
	p.must(SetVringKick, u64(0), eventFD(t))
	p.must(SetVringAddr, ringAddr(0).Append(nil))
	p.must(SetMemTable, AppendMemTable(nil, []MemRegion{there}), memFD(t, testMem))
	wantCall(t, p, "UpdateQueue 0 size=128 desc=0x100000000 avail=0x100001000 used=0x100002000 ")
}

// TestSecondOwner: plugged again on one connection.
func TestSecondOwner(t *testing.T) {
	p := withMemory(t)
	p.must(SetVringErr, u64(0), eventFD(t))
	p.startRing(0, 0)
	p.startRing(1, 0)
	p.must(SetOwner, nil)
	wantCall(t, p, "Reset")
	p.mustNot(RemMemReg, AppendSingleRegion(nil, MemRegion{Size: testMem, UserAddr: testUser}))
	p.must(AddMemReg, AppendSingleRegion(nil, MemRegion{Size: testMem, UserAddr: testUser}), memFD(t, testMem))
	p.must(SetFeatures, u64(0x170000000))
	p.startRing(0, 0)
	if r, _ := p.dev.runs(0); r.Err != -1 {
		t.Error("err descriptor of the session before")
	}
}

// TestResetDevice: rings must be set up anew, call and err descriptors and memory stay.
func TestResetDevice(t *testing.T) {
	p := withMemory(t)
	p.must(SetVringErr, u64(0), eventFD(t))
	p.startRing(0, 50)
	p.must(ResetDevice, nil)
	wantCall(t, p, "Reset")
	for _, s := range setupSteps(t) {
		if s.name != "err" && s.name != "call" && s.name != "base" {
			s.do(p)
		}
	}
	r, ok := p.dev.runs(0)
	if !ok || r.Call < 0 || r.Err < 0 || r.Base != 0 {
		t.Errorf("ring runs: %t, %+v", ok, r)
	}
	p.must(ResetOwner, nil)
	if _, ok := p.dev.runs(0); !ok {
		t.Error("RESET_OWNER stopped the ring")
	}
}

// TestWithoutProtocolFeatures: such a front-end knows no ENABLE.
func TestWithoutProtocolFeatures(t *testing.T) {
	checkLeaks(t)
	p := serve(t, newFakeDevice(t, 2, nil), nil)
	defer p.hangUp()
	p.must(SetOwner, nil)
	p.must(SetFeatures, u64(0x100000000))
	region := MemRegion{Size: testMem, UserAddr: testUser}
	p.must(SetMemTable, AppendMemTable(nil, []MemRegion{region}), memFD(t, testMem))
	for _, s := range setupSteps(t) {
		if s.name != "enable" {
			s.do(p)
		}
	}
	if r, runs := p.dev.runs(0); !runs || r.Features != 0x100000000 {
		t.Errorf("ring runs: %t, %+v", runs, r)
	}
}

// TestFeaturesEnableRings: SET_FEATURES may also come last.
func TestFeaturesEnableRings(t *testing.T) {
	p := withMemory(t)
	for _, s := range setupSteps(t) {
		if s.name != "enable" {
			s.do(p)
		}
	}
	wantCall(t, p, "")
	p.must(SetFeatures, u64(0x100000000))
	wantCall(t, p, "StartQueue 0 ")
}

// TestFeaturesCannotEnable: a ring with bad addresses is not enabled, the others are; the
// features stay as they were.
func TestFeaturesCannotEnable(t *testing.T) {
	p := withMemory(t)
	for i := range uint32(2) {
		p.must(SetVringNum, state(i, 128))
		p.must(SetVringKick, u64(uint64(i)), eventFD(t))
	}
	p.must(SetVringAddr, ringAddrAt(0, 0x1000).Append(nil))
	p.must(SetVringAddr, ringAddr(1).Append(nil))
	p.mustNot(SetFeatures, u64(0x100000000|FeatureLogAll))
	wantCall(t, p, "StartQueue 1 ")
	if p.mem.LogEnabled() {
		t.Error("refused features log")
	}
	p.must(SetVringAddr, ringAddr(0).Append(nil))
	wantCall(t, p, "StartQueue 1 ")
	p.must(SetVringEnable, state(0, 1))
	wantCall(t, p, "StartQueue 0 size=128 desc=0x0 avail=0x1000 used=0x2000 base=0 features=0x130000000 ")
}

// TestDirtyLog: pages are marked between LOG_ALL on and off, rings keep running.
func TestDirtyLog(t *testing.T) {
	p := withMemory(t)
	p.startRing(0, 0)
	n := len(p.dev.since(0))
	const size = 0x1000
	fd := memFD(t, size)
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	b := p.call(SetLogBase, needReply, append(u64(size), u64(0)...), fd)
	if len(b) != 8 || DecodeU64(b) != 0 {
		t.Errorf("reply %x", b)
	}
	mark := func(page uint64) byte {
		p.mem.MarkDirty(page*4096, 1)
		var got [1]byte
		if _, err := unix.Pread(dup, got[:], int64(page/8)); err != nil {
			t.Fatal(err)
		}
		return got[0] & (1 << (page % 8))
	}
	if mark(3) != 0 {
		t.Error("marked before LOG_ALL")
	}
	p.must(SetFeatures, u64(0x174000000))
	if mark(9) == 0 {
		t.Error("not marked with LOG_ALL")
	}
	p.must(SetFeatures, u64(0x170000000))
	if mark(10) != 0 {
		t.Error("marked after LOG_ALL")
	}
	if calls := p.dev.since(n); len(calls) != 0 {
		t.Errorf("rings were touched: %v", calls)
	}
}

// TestBackChannelReplaced: the old one is closed, the other end sees it.
func TestBackChannelReplaced(t *testing.T) {
	p := session(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	p.must(SetBackendReqFD, nil, pair[1])
	var b [1]byte
	if n, _, err := unix.Recvfrom(pair[0], b[:], unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("first channel: %d, %v", n, err)
	}
	p.must(SetBackendReqFD, nil, sockFD(t))
	if n, _, err := unix.Recvfrom(pair[0], b[:], 0); n != 0 || err != nil {
		t.Errorf("first channel after the second came: %d, %v", n, err)
	}
}
