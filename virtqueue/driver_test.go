// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// ramBase is the guest address of the driver's memory, and what it is for the VMM.
const ramBase = 0x4000_0000

// driver is the other side of one ring: memory, ring, eventfds. It goes by the specification, and
// leaves the door open for tests that do not. It has its own mapping of the memory.
type driver struct {
	tb    testing.TB
	n     uint16
	event bool
	file  int
	ram   []byte
	mem   *guestmem.Memory
	ring  Ring
	idx   uint16 // avail.idx
	seen  uint16 // used entries taken
	bufs  uint64 // offset of the memory behind the ring
}

func newDriver(tb testing.TB, n uint16, eventIdx bool, size int) *driver {
	tb.Helper()
	file, err := unix.MemfdCreate("ram", unix.MFD_CLOEXEC)
	if err != nil {
		tb.Fatal(err)
	}
	if err := unix.Ftruncate(file, int64(size)); err != nil {
		tb.Fatal(err)
	}
	ram, err := unix.Mmap(file, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		tb.Fatal(err)
	}
	d := &driver{tb: tb, n: n, event: eventIdx, file: file, ram: ram, mem: guestmem.New()}
	avail := uint64(n) * descSize
	used := (avail + headSize + 2*uint64(n) + 2 + 3) &^ 3
	d.bufs = (used + headSize + usedSize*uint64(n) + 2 + 0xfff) &^ 0xfff
	d.ring = Ring{
		Config: Config{
			Size: n, Desc: ramBase, Avail: ramBase + avail, Used: ramBase + used, EventIdx: eventIdx,
		},
		Kick: eventfd(tb), Call: eventfd(tb), Err: eventfd(tb),
	}
	if err := d.mem.Add(guestmem.Region{GPA: ramBase, Size: uint64(size), UserAddr: ramBase}, d.dup()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		d.mem.Reset()
		_ = unix.Munmap(ram)
		_ = unix.Close(file)
	})
	return d
}

func eventfd(tb testing.TB) int {
	tb.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// dup returns an fd of the memory to give away.
func (d *driver) dup() int {
	d.tb.Helper()
	fd, err := unix.FcntlInt(uintptr(d.file), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		d.tb.Fatal(err)
	}
	return fd
}

// at returns the driver's view of the memory from a guest address on.
func (d *driver) at(gpa uint64) []byte { return d.ram[gpa-ramBase:] }

// buf returns the guest address of a page behind the ring.
func (d *driver) buf(page int) uint64 { return ramBase + d.bufs + uint64(page)*4096 }

func putDesc(b []byte, e desc) {
	binary.LittleEndian.PutUint64(b[0:], e.addr)
	binary.LittleEndian.PutUint32(b[8:], e.len)
	binary.LittleEndian.PutUint16(b[12:], e.flags)
	binary.LittleEndian.PutUint16(b[14:], e.next)
}

// table writes descriptors to consecutive places at gpa.
func (d *driver) table(gpa uint64, es ...desc) {
	for i, e := range es {
		putDesc(d.at(gpa+uint64(i)*descSize), e)
	}
}

// set writes one descriptor of the ring.
func (d *driver) set(i uint16, e desc) { d.table(d.ring.Desc+uint64(i)*descSize, e) }

// offer makes heads available, without a kick.
func (d *driver) offer(heads ...uint16) {
	for _, h := range heads {
		binary.LittleEndian.PutUint16(d.at(d.ring.Avail + headSize + 2*uint64(d.idx%d.n))[:2], h)
		d.idx++
	}
	d.setIdx(d.idx)
}

func (d *driver) setIdx(idx uint16) { guestmem.StoreRelease16(d.at(d.ring.Avail+idxOffset), idx) }

// kickWanted reports whether the device wants to hear of entries from old on.
func (d *driver) kickWanted(old uint16) bool {
	guestmem.Fence()
	if !d.event {
		return guestmem.LoadAcquire16(d.at(d.ring.Used))&usedNoNotify == 0
	}
	event := guestmem.LoadAcquire16(d.at(d.ring.Used + headSize + usedSize*uint64(d.n)))
	return d.idx-event-1 < d.idx-old
}

func (d *driver) kick() { signal(d.tb, d.ring.Kick) }

func signal(tb testing.TB, fd int) {
	if _, err := unix.Write(fd, one[:]); err != nil {
		tb.Fatal(err)
	}
}

// take returns the next used element.
func (d *driver) take() (head, n uint32, ok bool) {
	if guestmem.LoadAcquire16(d.at(d.ring.Used+idxOffset)) == d.seen {
		return 0, 0, false
	}
	b := d.at(d.ring.Used + headSize + usedSize*uint64(d.seen%d.n))
	d.seen++
	return binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), true
}

// wantCall asks for a notification of the next used element, and reports whether there is one already.
func (d *driver) wantCall() (more bool) {
	if d.event {
		d.setUsedEvent(d.seen)
	} else {
		d.setAvailFlags(0)
	}
	guestmem.Fence()
	return guestmem.LoadAcquire16(d.at(d.ring.Used+idxOffset)) != d.seen
}

func (d *driver) setUsedEvent(v uint16) {
	guestmem.StoreRelease16(d.at(d.ring.Avail+headSize+2*uint64(d.n)), v)
}

func (d *driver) setAvailFlags(v uint16) { guestmem.StoreRelease16(d.at(d.ring.Avail), v) }

// patience is how long a test waits for what must happen. It decides nothing but when to fail.
const patience = 30_000 // ms

// await waits until fd is readable and empties it. It returns what an eventfd had counted.
func await(tb testing.TB, fd int) uint64 {
	tb.Helper()
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p, patience)
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			tb.Fatalf("nothing came: %v", err)
		}
		return count(tb, fd)
	}
}

// count returns what an eventfd has counted since the last time.
func count(tb testing.TB, fd int) uint64 {
	tb.Helper()
	var b [8]byte
	_, err := unix.Read(fd, b[:])
	if err != nil && err != unix.EAGAIN {
		tb.Fatal(err)
	}
	return binary.LittleEndian.Uint64(b[:])
}

// sparse returns a file of size bytes without any data, to give away.
func sparse(tb testing.TB, size int64) int {
	tb.Helper()
	fd, err := unix.MemfdCreate("sparse", unix.MFD_CLOEXEC)
	if err != nil {
		tb.Fatal(err)
	}
	if err := unix.Ftruncate(fd, size); err != nil {
		tb.Fatal(err)
	}
	return fd
}

// mappings counts the mappings of a memfd in this process.
func mappings(tb testing.TB, name string) int {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Count(string(b), "/memfd:"+name+" ")
}
