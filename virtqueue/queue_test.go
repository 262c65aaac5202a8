// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

func TestRefusedRings(t *testing.T) {
	d := newDriver(t, 8, true, 0x10000)
	end := uint64(ramBase + 0x10000)
	for name, change := range map[string]func(c *Config){
		"size 0":             func(c *Config) { c.Size = 0 },
		"size 3":             func(c *Config) { c.Size = 3 },
		"size 40000":         func(c *Config) { c.Size = 40000 },
		"desc by 8":          func(c *Config) { c.Desc += 8 },
		"avail by 1":         func(c *Config) { c.Avail++ },
		"used by 2":          func(c *Config) { c.Used += 2 },
		"desc over the end":  func(c *Config) { c.Desc = end - 7*16 },
		"avail over the end": func(c *Config) { c.Avail = end - 4 - 16 },
		"used over the end":  func(c *Config) { c.Used = end - 4 - 64 },
		"desc nowhere":       func(c *Config) { c.Desc = 0 },
		"used at the top":    func(c *Config) { c.Used = ^uint64(3) },
	} {
		t.Run(name, func(t *testing.T) {
			c := d.ring.Config
			change(&c)
			if q, err := NewQueue(d.mem, c); !errors.Is(err, ErrConfig) {
				t.Errorf("%v, %v, want ErrConfig", q, err)
			}
		})
	}
	// Without EVENT_IDX the rings are two bytes shorter, and may end where the memory does.
	c := d.ring.Config
	c.EventIdx, c.Avail, c.Used = false, end-4-16, end-4-64
	for _, at := range []*uint64{&c.Avail, &c.Used} {
		other := d.ring.Config
		other.EventIdx = false
		if at == &c.Avail {
			other.Avail = c.Avail
		} else {
			other.Used = c.Used
		}
		q, err := NewQueue(d.mem, other)
		if err != nil {
			t.Fatal(err)
		}
		q.Close()
	}
}

// A region may lie at an odd offset of its file: then no guest address in it is aligned here.
func TestRingAtOddOffset(t *testing.T) {
	d := newDriver(t, 8, true, 0x10000)
	r := guestmem.Region{GPA: ramBase, Size: 0xff00, FileOffset: 1}
	if err := d.mem.Replace([]guestmem.Region{r}, []int{d.dup()}); err != nil {
		t.Fatal(err)
	}
	if _, err := NewQueue(d.mem, d.ring.Config); !errors.Is(err, ErrConfig) {
		t.Errorf("%v, want ErrConfig", err)
	}
}

func mustPop(t testing.TB, q *Queue) *Chain {
	t.Helper()
	c, err := q.Pop()
	if c == nil || err != nil {
		t.Fatalf("Pop: %v, %v", c, err)
	}
	q.Returned()
	return c
}

// newQueue returns a queue whose heads all are one writable buffer of 64 bytes.
func newQueue(t testing.TB, n uint16, eventIdx bool) (*driver, *Queue) {
	t.Helper()
	d := newDriver(t, n, eventIdx, 1<<20)
	for i := range n {
		d.set(i, desc{d.buf(int(i)), 64, wr, 0})
	}
	q, err := NewQueue(d.mem, d.ring.Config)
	if err != nil {
		t.Fatal(err)
	}
	return d, q
}

func TestBrokenRings(t *testing.T) {
	for name, spoil := range map[string]func(d *driver){
		"index too far ahead": func(d *driver) { d.setIdx(9) },
		"index behind":        func(d *driver) { d.setIdx(0xffff) },
		"head out of range":   func(d *driver) { d.offer(8) },
		"head far out":        func(d *driver) { d.offer(0xffff) },
	} {
		t.Run(name, func(t *testing.T) {
			d, q := newQueue(t, 8, true)
			spoil(d)
			for range 2 {
				if c, err := q.Pop(); c != nil || !errors.Is(err, ErrBroken) {
					t.Errorf("Pop: %v, %v, want ErrBroken", c, err)
				}
			}
			if base := q.Close(); base != 0 {
				t.Errorf("base %d, want 0", base)
			}
		})
	}
}

// A head counts as in flight until its completion is published.
func TestSameHeadTwice(t *testing.T) {
	d, q := newQueue(t, 8, true)
	d.offer(3, 3)
	c := mustPop(t, q)
	if _, err := q.Pop(); !errors.Is(err, ErrBroken) {
		t.Errorf("in flight: %v, want ErrBroken", err)
	}
	c.Done(1)
	if _, err := q.Pop(); !errors.Is(err, ErrBroken) {
		t.Errorf("not published: %v, want ErrBroken", err)
	}
	q.Flush()
	mustPop(t, q).Done(2)
	if base := q.Close(); base != 2 {
		t.Errorf("base %d, want 2", base)
	}
}

func TestDoneTwicePanics(t *testing.T) {
	for name, wrong := range map[string]func(c *Chain){
		"twice":             func(c *Chain) { c.Done(0); c.Done(0) },
		"more than room":    func(c *Chain) { c.Done(65) },
		"less than nothing": func(c *Chain) { c.Done(-1) },
	} {
		t.Run(name, func(t *testing.T) {
			d, q := newQueue(t, 8, true)
			d.offer(0)
			c := mustPop(t, q)
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			wrong(c)
		})
	}
}

// Data stays with the slot, and slots are used again.
func TestSlots(t *testing.T) {
	d, q := newQueue(t, 8, true)
	d.offer(0, 1, 2)
	a := mustPop(t, q)
	a.Data = "mine"
	b := mustPop(t, q)
	if a == b || b.Data != nil {
		t.Error("two requests in one slot")
	}
	a.Done(0)
	if c := mustPop(t, q); c != a || c.Data != "mine" || c.Head != 2 {
		t.Errorf("slot not used again, or without its data: %v", c.Data)
	}
}

// What is completed on the loop is published in batches, what others complete at once.
func TestBatches(t *testing.T) {
	d, q := newQueue(t, 64, true)
	published := func() int { return int(guestmem.LoadAcquire16(d.at(d.ring.Used + idxOffset))) }
	for i := range uint16(64) {
		d.offer(i)
	}
	for i := 1; i <= maxBatch; i++ {
		mustPop(t, q).Done(i)
	}
	if n := published(); n != 0 {
		t.Errorf("%d published before the batch is full", n)
	}
	c := mustPop(t, q)
	if n := published(); n != maxBatch {
		t.Errorf("%d published, want %d", n, maxBatch)
	}
	c.Done(17)
	q.Flush()
	if n := published(); n != maxBatch+1 {
		t.Errorf("%d published after Flush, want %d", n, maxBatch+1)
	}
	late := mustPop(t, q)
	mustPop(t, q).Done(18)
	late.Done(19) // not the latest any more: as if on a worker
	if n := published(); n != maxBatch+3 {
		t.Errorf("%d published after a worker's Done, want %d", n, maxBatch+3)
	}
	after := mustPop(t, q)
	q.Flush()
	after.Done(20)
	if n := published(); n != maxBatch+4 {
		t.Errorf("%d published after Flush and Done, want %d", n, maxBatch+4)
	}
	for i := 1; i <= maxBatch+4; i++ {
		if _, n, ok := d.take(); !ok || n != uint32(i) {
			t.Errorf("element %d: %d bytes, %v", i, n, ok)
		}
	}
}

// When the driver is notified, with and without EVENT_IDX.
func TestNotifications(t *testing.T) {
	type step struct {
		event uint16 // used_event, or avail.flags
		done  int
		calls int
	}
	for _, tc := range []struct {
		name  string
		event bool
		start uint16 // used.idx to begin with
		steps []step
	}{
		{"flags", false, 0, []step{{0, 1, 1}, {0, 3, 1}, {availNoInterrupt, 2, 0}, {0xfffe, 1, 1}}},
		{"the first is always told", true, 0, []step{{0x7000, 1, 1}, {0x7000, 5, 0}}},
		{"event passed", true, 0, []step{{0, 1, 1}, {1, 1, 1}, {1, 4, 0}, {8, 2, 0}, {8, 1, 1}, {8, 1, 0}}},
		{"event in the middle of a batch", true, 0, []step{{0, 1, 1}, {3, 5, 1}}},
		{"around zero", true, 0xfffd, []step{{0, 1, 1}, {0xffff, 1, 0}, {0xffff, 1, 1}, {0, 1, 1}, {2, 1, 0}, {2, 2, 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDriver(t, 8, tc.event, 1<<20)
			d.idx, d.seen, d.ring.Base = tc.start, tc.start, tc.start
			d.setIdx(tc.start)
			guestmem.StoreRelease16(d.at(d.ring.Used+idxOffset), tc.start)
			q, err := NewQueue(d.mem, d.ring.Config)
			if err != nil {
				t.Fatal(err)
			}
			calls := 0
			q.SetNotify(func() { calls++ })
			for i, s := range tc.steps {
				if tc.event {
					d.setUsedEvent(s.event)
				} else {
					d.setAvailFlags(s.event)
				}
				calls = 0
				for range s.done {
					d.set(d.idx%8, desc{})
					d.offer(d.idx % 8)
					mustPop(t, q).Done(0)
				}
				q.Flush()
				if calls != s.calls {
					t.Errorf("step %d: %d calls, want %d", i, calls, s.calls)
				}
			}
		})
	}
}

// When the driver has to kick.
func TestSuppressAndRearm(t *testing.T) {
	for _, event := range []bool{false, true} {
		d, q := newQueue(t, 8, event)
		if q.Rearm() {
			t.Error("Rearm of an empty ring: more")
		}
		d.offer(0)
		if !d.kickWanted(0) {
			t.Error("asleep, and no kick wanted")
		}
		q.Suppress()
		mustPop(t, q).Done(0)
		d.offer(1)
		if d.kickWanted(1) {
			t.Error("awake, and a kick wanted")
		}
		if !q.Rearm() {
			t.Error("Rearm does not see what came meanwhile")
		}
		mustPop(t, q).Done(0)
		if q.Rearm() {
			t.Error("Rearm of an empty ring: more")
		}
		d.setIdx(100)
		if !q.Rearm() {
			t.Error("Rearm does not see an index that makes no sense")
		}
	}
}

// Memory comes and goes under the queue; a chain keeps what it was popped from.
func TestMemoryChanges(t *testing.T) {
	before := mappings(t, "ram")
	d, q := newQueue(t, 8, true)
	d.offer(0, 1)
	c := mustPop(t, q)
	other := guestmem.Region{GPA: ramBase + 1<<30, Size: 0x1000}
	if err := d.mem.Add(other, sparse(t, 0x1000)); err != nil {
		t.Fatal(err)
	}
	d.set(1, desc{other.GPA, 0x1000, wr, 0})
	far := mustPop(t, q)
	if err := d.mem.Remove(other); err != nil {
		t.Fatal(err)
	}
	d.set(2, desc{other.GPA, 0x1000, wr, 0})
	d.offer(2)
	if _, err := q.Pop(); err != errUnmapped {
		t.Errorf("removed memory: %v, want %v", err, errUnmapped)
	}
	far.Writable[0][0xfff] = 1 // still there
	ram := guestmem.Region{GPA: ramBase, Size: 1 << 20, UserAddr: ramBase}
	if err := d.mem.Remove(ram); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Pop(); !errors.Is(err, ErrConfig) {
		t.Errorf("ring without memory: %v, want ErrConfig", err)
	}
	c.Writable[0][0] = 1
	c.Done(1)
	far.Done(7)
	if err := d.mem.Add(ram, d.dup()); err != nil {
		t.Fatal(err)
	}
	if err := q.Move(d.ring.Config); err != nil {
		t.Fatal(err)
	}
	if base := q.Close(); base != 3 {
		t.Errorf("base %d, want 3", base)
	}
	for _, want := range [][2]uint32{{2, 0}, {0, 1}, {1, 7}} {
		if head, n, ok := d.take(); head != want[0] || n != want[1] || !ok {
			t.Errorf("used: %d, %d bytes, %v, want %d", head, n, ok, want)
		}
	}
	if got := mappings(t, "ram") - before; got != 2 { // the driver's and the table's
		t.Errorf("%d mappings of the memory, want 2", got)
	}
	if got := mappings(t, "sparse"); got != 0 {
		t.Errorf("%d mappings of removed memory", got)
	}
}

// The whole writable part is marked, however short the answer, and the used ring where it is asked for.
func TestDirtyLog(t *testing.T) {
	for _, logUsed := range []bool{false, true} {
		d, q := newQueue(t, 8, true)
		fd := sparse(t, 0x100000) // covers 32 GiB
		log := mapped(t, fd, 0x100000)
		if err := d.mem.SetLog(fd, 0x100000, 0); err != nil {
			t.Fatal(err)
		}
		isDirty := func(gpa uint64) bool { return log[gpa/4096/8]&(1<<(gpa/4096%8)) != 0 }
		d.set(0, desc{d.buf(0), 16, nx, 1})
		d.set(1, desc{d.buf(1), 3 * 4096, nx | wr, 2})
		d.set(2, desc{d.buf(6), 1, wr, 0})
		d.offer(0)
		c := mustPop(t, q)
		d.mem.EnableLog(true) // with the request in flight
		q.SetLog(logUsed, d.buf(9)+4096-6)
		c.Done(16)
		q.Flush()
		for page, want := range []bool{false, true, true, true, false, false, true, false, false, logUsed, logUsed} {
			if got := isDirty(d.buf(page)); got != want {
				t.Errorf("log of the used ring %v: page %d dirty: %v", logUsed, page, got)
			}
		}
		q.Close()
	}
}

func mapped(t testing.TB, fd, size int) []byte {
	t.Helper()
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return b
}

// TestSpareSlots: a driver that had many requests in flight does not keep their memory.
func TestSpareSlots(t *testing.T) {
	const n = 1024
	d := newDriver(t, n, false, 1<<20)
	q, err := NewQueue(d.mem, d.ring.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var inflight []*Chain
	for i := range uint16(n) {
		d.set(i, desc{addr: d.buf(0), len: 8})
		d.offer(i)
	}
	for {
		c, err := q.Pop()
		if err != nil {
			t.Fatal(err)
		}
		if c == nil {
			break
		}
		inflight = append(inflight, c)
	}
	for _, c := range inflight {
		c.Done(0)
	}
	if got, most := len(q.free), maxSpare/slotSize; len(inflight) != n || got == 0 || got > most {
		t.Errorf("%d slots are kept of %d, want 1 to %d", got, len(inflight), most)
	}
}
