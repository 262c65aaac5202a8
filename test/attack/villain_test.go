// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"encoding/binary"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// The villain's guest memory: a page of ring for each queue, then, for each queue, slots of a request
// and a reply.
const (
	ramSize   = 1 << 20
	ramUser   = 0x7f00_0000_0000 // the VMM's address of guest address 0
	rings     = 3                // hiprio and two request queues
	ringSize  = 16
	ringAvail = 0x400 // in the ring's page
	ringUsed  = 0x800
	slotSize  = 0x2000 // half request, half reply
	slots     = ringSize / 2
	slotsAt   = 0x10000
)

// villain is a VMM and driver that keep to no rule. It is for one goroutine.
type villain struct {
	t     testing.TB
	conn  *frontend.Conn
	fd    int // of conn
	file  *os.File
	ram   []byte
	kicks [rings]int
	calls [rings]int

	avail, used [rings]uint16
	sent        [rings][slots]frontend.Opcode // what is in flight, by slot; 0: nothing
	deaf        [rings]bool                   // the ring has not answered: not waited for again

	nodes, handles []uint64 // that the daemon has told of
	heard          chan struct{}
	waits          time.Duration // for each reply
}

// newVillain takes over the VMM's end of a connection.
func newVillain(t testing.TB, fd int) *villain {
	t.Helper()
	conn, err := frontend.NewConn(fd, patience)
	if err != nil {
		t.Fatal(err)
	}
	file, err := frontend.Memfd("guest-ram", ramSize, false)
	if err != nil {
		t.Fatal(err)
	}
	ram, err := unix.Mmap(int(file.Fd()), 0, ramSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	v := &villain{t: t, conn: conn, fd: fd, file: file, ram: ram, nodes: []uint64{frontend.RootID}, handles: []uint64{0}, waits: 2 * time.Millisecond, heard: make(chan struct{})}
	for i := range rings {
		v.kicks[i], v.calls[i] = newEventfd(t), newEventfd(t)
	}
	go v.listen()
	return v
}

func newEventfd(t testing.TB) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// listen throws replies away, as a VMM that reads none would only stop itself.
func (v *villain) listen() {
	defer close(v.heard)
	var b [4096]byte
	oob := make([]byte, 256)
	for {
		n, _, _, _, err := unix.Recvmsg(v.fd, b[:], oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR && (err != nil || n <= 0) {
			return
		}
	}
}

// leave ends the connection and gives back all that is the villain's own.
func (v *villain) leave() {
	unix.Shutdown(v.fd, unix.SHUT_RDWR)
	<-v.heard
	v.conn.Close()
	for i := range rings {
		unix.Close(v.kicks[i])
		unix.Close(v.calls[i])
	}
	unix.Munmap(v.ram)
	v.file.Close()
}

// say sends a message, or what goes for one. It is false when the connection has ended.
func (v *villain) say(req frontend.Request, payload []byte, fds ...int) bool {
	return v.conn.SendBytes(frontend.Frame(req, frontend.FlagVersion, uint32(len(payload)), payload), fds...) == nil
}

// setUp is what an honest VMM says, up to running rings.
func (v *villain) setUp() {
	v.say(frontend.SetProtocolFeatures, frontend.U64(frontend.PFMQ|frontend.PFLogShmFD|frontend.PFReplyAck|frontend.PFBackendReq|frontend.PFConfigureMemSlots|frontend.PFResetDevice))
	v.say(frontend.SetOwner, nil)
	v.say(frontend.SetFeatures, frontend.U64(frontend.FeatureVersion1|frontend.FeatureProtocolFeatures|frontend.FeatureIndirect))
	v.say(frontend.AddMemReg, frontend.MemReg(v.region()), int(v.file.Fd()))
	for i := range uint32(rings) {
		v.startRing(i)
	}
}

func (v *villain) region() frontend.MemRegion {
	return frontend.MemRegion{Size: ramSize, UserAddr: ramUser}
}

func (v *villain) startRing(i uint32) {
	v.say(frontend.SetVringNum, frontend.VringState(i, ringSize))
	v.say(frontend.SetVringBase, frontend.VringState(i, uint32(v.avail[i])))
	v.say(frontend.SetVringAddr, ringAt(i).Bytes())
	v.say(frontend.SetVringCall, frontend.U64(uint64(i)), v.calls[i])
	v.say(frontend.SetVringKick, frontend.U64(uint64(i)), v.kicks[i])
	v.say(frontend.SetVringEnable, frontend.VringState(i, 1))
	v.deaf[i] = false
}

func ringAt(i uint32) frontend.VringAddr {
	at := ramUser + uint64(i)*frontend.PageSize
	return frontend.VringAddr{Index: i, Desc: at, Avail: at + ringAvail, Used: at + ringUsed, Log: uint64(i)*frontend.PageSize + ringUsed}
}

// ring is a ring's page.
func (v *villain) ring(i int) []byte { return v.ram[i*frontend.PageSize:][:frontend.PageSize] }

// slot is the guest address of a slot.
func slot(ring, n int) int { return slotsAt + (ring*slots+n)*slotSize }

// request puts a request into a free slot, or over one that is in flight if there is none, and waits
// a moment for its reply.
func (v *villain) request(ring int, op frontend.Opcode, frame []byte, room uint32) {
	v.collect(ring)
	n := 0
	for i, o := range v.sent[ring] {
		if o == 0 {
			n = i
			break
		}
	}
	at := slot(ring, n)
	size := copy(v.ram[at:at+slotSize/2], frame)
	r := v.ring(ring)
	head := 2 * n
	frontend.Desc{Addr: uint64(at), Len: uint32(size), Flags: frontend.DescNext, Next: uint16(head + 1)}.Put(r, head)
	frontend.Desc{Addr: uint64(at + slotSize/2), Len: room, Flags: frontend.DescWrite}.Put(r, head+1)
	v.sent[ring][n] = op
	v.offer(ring, uint16(head))
	for end := time.Now().Add(v.waits); !v.deaf[ring] && v.sent[ring][n] != 0; v.collect(ring) {
		if time.Now().After(end) {
			v.deaf[ring] = true
		}
		time.Sleep(20 * time.Microsecond)
	}
}

// offer makes a chain available and kicks.
func (v *villain) offer(ring int, head uint16) {
	r := v.ring(ring)
	binary.LittleEndian.PutUint16(r[ringAvail+4+2*int(v.avail[ring]%ringSize):], head)
	v.avail[ring]++
	guestmem.StoreRelease16(r[ringAvail+2:], v.avail[ring])
	v.kick(ring)
}

func (v *villain) kick(ring int) {
	unix.Write(v.kicks[ring], []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// collect takes what the ring has given back, and learns nodes and handles from it.
func (v *villain) collect(ring int) {
	r := v.ring(ring)
	end := guestmem.LoadAcquire16(r[ringUsed+2:])
	for n := 0; v.used[ring] != end && n < ringSize; n++ {
		e := r[ringUsed+4+8*int(v.used[ring]%ringSize):]
		head := binary.LittleEndian.Uint32(e)
		v.used[ring]++
		if s := int(head / 2); head < ringSize && v.sent[ring][s] != 0 {
			v.learn(v.sent[ring][s], v.ram[slot(ring, s)+slotSize/2:][:slotSize/2])
			v.sent[ring][s] = 0
		}
	}
	v.used[ring] = end
}

// learn remembers a node or a handle that a reply has (struct fuse_entry_out, fuse_open_out).
func (v *villain) learn(op frontend.Opcode, reply []byte) {
	if binary.NativeEndian.Uint32(reply[4:]) != 0 {
		return
	}
	first := binary.NativeEndian.Uint64(reply[16:])
	switch op {
	case frontend.OpLookup, frontend.OpMknod, frontend.OpMkdir, frontend.OpSymlink, frontend.OpLink:
		v.nodes = append(v.nodes, first)
	case frontend.OpCreate, frontend.OpTmpfile:
		v.nodes = append(v.nodes, first)
		v.handles = append(v.handles, binary.NativeEndian.Uint64(reply[16+128:]))
	case frontend.OpOpen, frontend.OpOpendir:
		v.handles = append(v.handles, first)
	}
}
