// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

const (
	memSize  = 8 << 20
	userAddr = 0x7f00_0000_0000
)

// memory gives the back-end a memory table; the sizes of the files may differ from the regions'.
func (b *bare) memory(fileSize uint64, rs ...frontend.MemRegion) error {
	b.t.Helper()
	var fds []int
	for range rs {
		f, err := frontend.Memfd("guest-ram", fileSize, false)
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { f.Close() })
		fds = append(fds, int(f.Fd()))
	}
	return b.ack(frontend.SetMemTable, frontend.MemTable(rs...), fds...)
}

var errRefused = errors.New("refused")

// ack sends a message with NEED_REPLY: nil, errRefused, or errRefused with a closed connection.
func (b *bare) ack(req frontend.Request, payload []byte, fds ...int) error {
	b.t.Helper()
	if err := b.SendBytes(frontend.Frame(req, frontend.FlagVersion|frontend.FlagNeedReply, uint32(len(payload)), payload), fds...); err != nil {
		return errRefused
	}
	reply, err := b.Recv(req)
	if errors.Is(err, frontend.ErrClosed) {
		return errRefused
	}
	if err != nil {
		b.t.Fatal(err)
	}
	for _, v := range reply {
		if v != 0 {
			return errRefused
		}
	}
	return nil
}

// Memory tables that cannot be.
func TestBadMemory(t *testing.T) {
	region := func(gpa, size, user, off uint64) frontend.MemRegion {
		return frontend.MemRegion{GPA: gpa, Size: size, UserAddr: user, Offset: off}
	}
	for name, rs := range map[string][]frontend.MemRegion{
		"overlap of guest addresses": {region(0, memSize, 1<<40, 0), region(memSize/2, memSize, 1<<41, 0)},
		"one inside the other":       {region(0, memSize, 1<<40, 0), region(4096, 4096, 1<<41, 0)},
		"twice the same":             {region(0, memSize, 1<<40, 0), region(0, memSize, 1<<40, 0)},
		"guest addresses overflow":   {region(1<<64-4096, memSize, 1<<40, 0)},
		"VMM addresses overflow":     {region(0, memSize, 1<<64-4096, 0)},
		"offset overflows":           {region(0, memSize, 1<<40, 1<<64-4096)},
		"no size":                    {region(0, 0, 1<<40, 0)},
		"all of the address space":   {region(0, 1<<64-1, 1<<40, 0)},
		"an exabyte":                 {region(0, 1<<60, 1<<40, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBare(t)
			b.handshake()
			if err := b.memory(memSize, rs...); err == nil {
				t.Error("the memory table was taken")
			}
			b.answers()
			b2 := newBare(t)
			b2.handshake()
			f, err := frontend.Memfd("guest-ram", memSize, false)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for i, r := range rs {
				err = b2.ack(frontend.AddMemReg, frontend.MemReg(r), int(f.Fd()))
				if last := i == len(rs)-1; last && err == nil && name != "twice the same" {
					t.Error("the region was added")
				}
				if err != nil {
					break
				}
			}
			b2.answers()
		})
	}
}

// Two pieces of guest memory may be the same memory of the VMM; a ring in it is at the lower
// guest address.
func TestAliasedMemory(t *testing.T) {
	b := newBare(t)
	b.handshake()
	low := frontend.MemRegion{Size: memSize, UserAddr: userAddr}
	high := frontend.MemRegion{GPA: 1 << 32, Size: memSize, UserAddr: userAddr}
	if err := b.memory(memSize, low, high); err != nil {
		t.Fatal(err)
	}
	if err := b.start(goodRing()); err != nil {
		t.Error(err)
	}
	if !b.answers() {
		t.Error("the connection was closed")
	}
}

// Memory tables whose count and fds do not fit.
func TestMemoryCounts(t *testing.T) {
	table := func(n uint32, regions int) []byte {
		b := frontend.MemTable(make([]frontend.MemRegion, regions)...)
		for i := range regions {
			copy(b[8+32*i:], frontend.MemTable(frontend.MemRegion{GPA: uint64(i) << 32, Size: memSize, UserAddr: uint64(i+1) << 40})[8:])
		}
		b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
		return b
	}
	for name, c := range map[string]struct {
		payload []byte
		fds     int
		ok      bool
	}{
		"one":                         {table(1, 1), 1, true},
		"eight":                       {table(8, 8), 8, true},
		"one in a table for two":      {table(1, 2), 1, true},
		"fewer regions than counted":  {table(2, 1), 2, false},
		"4 G regions":                 {table(1<<32-1, 1), 1, false},
		"fewer fds than regions":      {table(2, 2), 1, false},
		"no fds":                      {table(1, 1), 0, false},
		"a region cut in its middle":  {table(1, 1)[:20], 1, false},
		"nothing but the padding cut": {table(1, 1)[:6], 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBare(t)
			b.handshake()
			f, err := frontend.Memfd("guest-ram", memSize, false)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var fds []int
			for range c.fds {
				fds = append(fds, int(f.Fd()))
			}
			if err := b.ack(frontend.SetMemTable, c.payload, fds...); (err == nil) != c.ok {
				t.Errorf("taken: %v, want %v", err == nil, c.ok)
			}
			b.answers()
		})
	}
}

// ringSetup is what a ring is told before it is switched on.
type ringSetup struct {
	num  uint32
	addr frontend.VringAddr
	base uint32
}

// good is a ring that works: at the very start of memory.
func goodRing() ringSetup {
	return ringSetup{num: 128, addr: frontend.VringAddr{Desc: userAddr, Avail: userAddr + 0x800, Used: userAddr + 0x940, Log: 0x940}}
}

// start tries to start ring 1 and says whether every message was taken.
func (b *bare) start(r ringSetup) error {
	b.t.Helper()
	kick, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		b.t.Fatal(err)
	}
	defer unix.Close(kick)
	r.addr.Index = 1
	for _, m := range []struct {
		req     frontend.Request
		payload []byte
		fds     []int
	}{
		{frontend.SetVringNum, frontend.VringState(1, r.num), nil},
		{frontend.SetVringBase, frontend.VringState(1, r.base), nil},
		{frontend.SetVringAddr, r.addr.Bytes(), nil},
		{frontend.SetVringCall, frontend.U64(1), []int{kick}},
		{frontend.SetVringKick, frontend.U64(1), []int{kick}},
		{frontend.SetVringEnable, frontend.VringState(1, 1), nil},
	} {
		if err := b.ack(m.req, m.payload, m.fds...); err != nil {
			return fmt.Errorf("message %d: %w", m.req, err)
		}
	}
	return nil
}

// Rings that lie at the edge of a region are taken, those beyond it are not, whatever the rest.
func TestRingAddresses(t *testing.T) {
	const end = userAddr + memSize
	for name, c := range map[string]struct {
		change func(*ringSetup)
		ok     bool
	}{
		"good":                            {func(r *ringSetup) {}, true},
		"descriptors up to the end":       {func(r *ringSetup) { r.addr.Desc = end - 128*16 }, true},
		"available ring up to the end":    {func(r *ringSetup) { r.addr.Avail = end - (6 + 2*128) }, true},
		"used ring up to the end":         {func(r *ringSetup) { r.addr.Used = (end - (6 + 8*128)) &^ 3 }, true},
		"descriptors 16 bytes beyond":     {func(r *ringSetup) { r.addr.Desc = end - 127*16 }, false},
		"available ring two bytes beyond": {func(r *ringSetup) { r.addr.Avail = end - (4 + 2*128) }, false},
		"used ring four bytes beyond":     {func(r *ringSetup) { r.addr.Used = (end-(6+8*128))&^3 + 4 }, false},
		"descriptors right after":         {func(r *ringSetup) { r.addr.Desc = end }, false},
		"descriptors nowhere":             {func(r *ringSetup) { r.addr.Desc = 1 << 30 }, false},
		"used ring nowhere":               {func(r *ringSetup) { r.addr.Used = 0 }, false},
		"descriptors overflow":            {func(r *ringSetup) { r.addr.Desc = 1<<64 - 16 }, false},
		"available ring overflows":        {func(r *ringSetup) { r.addr.Avail = 1<<64 - 2 }, false},
		"descriptors odd":                 {func(r *ringSetup) { r.addr.Desc++ }, false},
		"descriptors on 8":                {func(r *ringSetup) { r.addr.Desc += 8 }, false},
		"available ring odd":              {func(r *ringSetup) { r.addr.Avail++ }, false},
		"used ring on 2":                  {func(r *ringSetup) { r.addr.Used += 2 }, false},
		"no entries":                      {func(r *ringSetup) { r.num = 0 }, false},
		"three entries":                   {func(r *ringSetup) { r.num = 3 }, false},
		"65536 entries":                   {func(r *ringSetup) { r.num = 65536 }, false},
		"2^31 entries":                    {func(r *ringSetup) { r.num = 1 << 31 }, false},
		"base beyond 16 bits":             {func(r *ringSetup) { r.base = 1 << 16 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBare(t)
			b.handshake()
			if err := b.memory(memSize, frontend.MemRegion{Size: memSize, UserAddr: userAddr}); err != nil {
				t.Fatal(err)
			}
			r := goodRing()
			c.change(&r)
			if err := b.start(r); (err == nil) != c.ok {
				t.Errorf("start: %v, want taken %v", err, c.ok)
			}
			if !b.answers() && c.ok {
				t.Error("the connection was closed")
			}
		})
	}
}

// Ring numbers that the device does not have.
func TestRingNumbers(t *testing.T) {
	for _, index := range []uint32{65, 100, 255, 256, 1 << 16, 1 << 31, 1<<32 - 1} {
		for req, payload := range map[frontend.Request][]byte{
			frontend.SetVringNum:    frontend.VringState(index, 128),
			frontend.SetVringBase:   frontend.VringState(index, 0),
			frontend.SetVringEnable: frontend.VringState(index, 1),
			frontend.SetVringAddr:   frontend.VringAddr{Index: index}.Bytes(),
			frontend.SetVringKick:   frontend.U64(uint64(index&0xff) | frontend.VringNoFD),
			frontend.SetVringCall:   frontend.U64(uint64(index&0xff) | frontend.VringNoFD),
		} {
			if index&0xff < 65 && len(payload) == 8 && (req == frontend.SetVringKick || req == frontend.SetVringCall) {
				continue // only 8 bits of it count
			}
			b := newBare(t)
			b.handshake()
			if err := b.ack(req, payload); err == nil {
				t.Errorf("message %d for ring %d was taken", req, index)
			}
			b.answers()
			b.hangUp()
		}
		// GET_VRING_BASE has a reply of its own: one must come, or the connection end.
		b := newBare(t)
		b.handshake()
		if err := b.Tell(frontend.GetVringBase, frontend.VringState(index, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Recv(frontend.GetVringBase); errors.Is(err, frontend.ErrTimeout) {
			t.Errorf("GET_VRING_BASE of ring %d: %v", index, err)
		}
		b.hangUp()
	}
}

// The file behind the guest's memory is cut while the guest is served: this VM's connection
// ends with an error; another VM of the same process goes on.
func TestTruncatedMemory(t *testing.T) {
	for name, fileSize := range map[string]int64{"all": 0, "all but the first page": frontend.PageSize} {
		t.Run(name, func(t *testing.T) {
			bystander := newGuest(t, frontend.Options{})
			victim := attach(t, newSlowFS(), frontend.Options{Unsealed: true})
			file := os.NewFile(uintptr(dup(t, victim.vm.RAM.Regions()[0].FD())), "guest-ram")
			defer file.Close()
			if err := file.Truncate(fileSize); err != nil {
				t.Fatal(err)
			}
			// The ring cannot be written any more; the kick makes the daemon look.
			victim.Queue(1).ForceKick()
			if err := victim.ended(); err == nil {
				t.Error("the connection ended without an error")
			}
			victim.done <- nil // for powerOff
			bystander.alive()
			bystander.create("still here")
		})
	}
}

// The same with a request in the file system, whose reply goes to memory that is not there.
func TestTruncatedMemoryInFlight(t *testing.T) {
	checkLeaks(t)
	slow := newSlowFS()
	victim := attach(t, slow, frontend.Options{Unsealed: true})
	victim.Send(frontend.ReadMessage(root, 0, 0, 20*frontend.PageSize))
	slow.waitEntered(t, 1)
	file := os.NewFile(uintptr(dup(t, victim.vm.RAM.Regions()[0].FD())), "guest-ram")
	defer file.Close()
	if err := file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	slow.release()
	if err := victim.ended(); err == nil {
		t.Error("the connection ended without an error")
	}
	victim.done <- nil // for powerOff
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A region that is longer than its file.
func TestMemoryBeyondFile(t *testing.T) {
	b := newBare(t)
	b.handshake()
	// Either the region is refused, or looking at the ring ends the connection.
	if err := b.memory(frontend.PageSize, frontend.MemRegion{Size: memSize, UserAddr: userAddr}); err != nil {
		return
	}
	r := goodRing()
	r.addr.Avail = userAddr + memSize/2
	b.start(r)
	if err := b.WaitClosed(); err != nil {
		t.Errorf("a ring in memory that is not there: %v", err)
	}
}
