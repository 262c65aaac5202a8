// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// A program is what a villain does, as bytes, so that a fuzzer can change it: one byte of set-up, then
// steps of one byte that says what and a few for its parts. Bytes that are missing are zero.
type program struct{ b []byte }

func (p *program) u8() (v byte) {
	if len(p.b) > 0 {
		v, p.b = p.b[0], p.b[1:]
	}
	return v
}

func (p *program) u16() uint16 { return uint16(p.u8()) | uint16(p.u8())<<8 }
func (p *program) u32() uint32 { return uint32(p.u16()) | uint32(p.u16())<<16 }

func (p *program) take(n int) []byte {
	n = min(n, len(p.b))
	v := p.b[:n]
	p.b = p.b[n:]
	return v
}

// The steps.
const (
	stepMessage  = iota // a message of the protocol for one ring, with a value
	stepRaw             // any message, with fds of any kind
	stepRequest         // a FUSE request, with bytes of it changed
	stepChain           // descriptors of any kind
	stepWrite           // any bytes anywhere in guest memory
	stepIndex           // any available index
	stepTruncate        // the file of the guest's memory gets another size
	stepKinds
)

// mostSteps bounds a program's time.
const mostSteps = 64

// Bits of the set-up byte.
const (
	setUpRings   = 1 << iota // as an honest VMM does
	setUpSession             // FUSE_INIT
	setUpRace                // somebody changes guest memory all the while
)

// requestNames are the requests that a program can name by number.
var requestNames = slices.Sorted(maps.Keys(frontend.Samples(0, 0, 0)))

// names are the names that a program can give to a request.
var names = []string{"sample", "f", "d", "link", "fifo", "abs", "..", ".", "", "d/x", "/etc", "new", "other", "user.x",
	"security.capability", "system.posix_acl_access", "trusted.x", "a\x00b", string(make([]byte, 300))}

// run carries out a program.
func (v *villain) run(code []byte) {
	p := &program{code}
	how := p.u8()
	if how&setUpRings != 0 {
		v.setUp()
	}
	if how&setUpSession != 0 {
		in := make([]byte, 64) // struct fuse_init_in: 7.41, what Linux 6.12 offers
		for i, n := range []uint32{7, 41, 0x20000, 0x7bff_fffb, 0x1ff} {
			binary.NativeEndian.PutUint32(in[4*i:], n)
		}
		v.request(1, frontend.OpInit, frontend.Message{Op: frontend.OpInit, Args: in}.Bytes(), slotSize/2)
	}
	if how&setUpRace != 0 {
		defer v.race()()
	}
	for n := 0; n < mostSteps && len(p.b) > 0; n++ {
		if !v.step(p) {
			return
		}
	}
	for i := range rings {
		v.collect(i)
	}
}

// step is false when the connection has ended.
func (v *villain) step(p *program) bool {
	switch p.u8() % stepKinds {
	case stepMessage:
		return v.message(p)
	case stepRaw:
		return v.raw(p)
	case stepRequest:
		v.anyRequest(p)
	case stepChain:
		v.chain(p)
	case stepWrite:
		at := int(p.u16()) << 4 % ramSize
		copy(v.ram[at:], p.take(int(p.u8()%64)))
	case stepIndex:
		i := int(p.u8()) % rings
		v.avail[i] = p.u16()
		binary.LittleEndian.PutUint16(v.ring(i)[ringAvail+2:], v.avail[i])
		v.kick(i)
	case stepTruncate:
		v.file.Truncate(ramSize + int64(p.u16())) // never below: the villain has it mapped itself
	}
	return true
}

// message sends a message that makes sense by itself.
func (v *villain) message(p *program) bool {
	kind, i, value := p.u8(), uint32(p.u8())%(rings+1), p.u32()
	ring, fd := min(int(i), rings-1), int(v.file.Fd())
	region := v.region()
	region.GPA = uint64(value%4) * ramSize
	switch kind % 20 {
	case 0:
		v.startRing(uint32(ring))
		return true
	case 1:
		return v.say(frontend.SetVringNum, frontend.VringState(i, value%64))
	case 2:
		return v.say(frontend.SetVringBase, frontend.VringState(i, value))
	case 3:
		a := ringAt(i)
		a.Flags, a.Desc, a.Used = value&1, a.Desc+uint64(value>>1&0xfff), a.Used+uint64(value>>13&0xfff)
		return v.say(frontend.SetVringAddr, a.Bytes())
	case 4:
		return v.say(frontend.SetVringKick, frontend.U64(uint64(i)|uint64(value&1)<<8), v.kicks[ring])
	case 5:
		return v.say(frontend.SetVringCall, frontend.U64(uint64(i)|uint64(value&1)<<8), v.calls[ring])
	case 6:
		return v.say(frontend.SetVringErr, frontend.U64(uint64(i)), v.calls[ring])
	case 7:
		return v.say(frontend.SetVringEnable, frontend.VringState(i, value&1))
	case 8:
		return v.say(frontend.GetVringBase, frontend.VringState(i, 0))
	case 9:
		return v.say(frontend.AddMemReg, frontend.MemReg(region), fd)
	case 10:
		return v.say(frontend.RemMemReg, frontend.MemReg(region))
	case 11:
		return v.say(frontend.SetMemTable, frontend.MemTable(region), fd)
	case 12:
		return v.say(frontend.SetMemTable, frontend.MemTable(v.region(), region), fd, fd)
	case 13:
		return v.say(frontend.SetLogBase, append(frontend.U64(uint64(value&0xfff)), frontend.U64(uint64(value>>12))...), fd)
	case 14:
		return v.say(frontend.SetFeatures, frontend.U64(frontend.FeatureVersion1|frontend.FeatureProtocolFeatures|uint64(value&7)<<28|uint64(value>>3&1)<<26))
	case 15:
		return v.say(frontend.SetOwner, nil)
	case 16:
		return v.say(frontend.ResetDevice, nil)
	case 17:
		return v.say(frontend.GetConfig, frontend.ConfigSpace(value&0xff, value>>8&0x3f, 0, nil))
	case 18:
		v.kick(ring)
		return true
	}
	return v.say(frontend.GetFeatures, nil)
}

// raw sends any message.
func (v *villain) raw(p *program) bool {
	req, flags, lie, kinds := frontend.Request(p.u8()), uint32(p.u8()), int8(p.u8()), p.u8()
	body := p.take(int(p.u8()))
	var fds []int
	for ; kinds != 0 && len(fds) < 4; kinds >>= 2 {
		fds = append(fds, v.anyFD(kinds&3))
	}
	frame := frontend.Frame(req, frontend.FlagVersion^flags&^2, uint32(len(body)+int(lie)), body)
	return v.conn.SendBytes(frame, fds...) == nil
}

func (v *villain) anyFD(kind byte) int {
	return []int{int(v.file.Fd()), v.kicks[0], v.fd, int(os.Stdin.Fd())}[kind]
}

// anyRequest sends a FUSE request of some kind about some node, with some of its bytes changed.
func (v *villain) anyRequest(p *program) {
	kind, node, handle, ring, name := p.u8(), p.u8(), p.u8(), p.u8(), p.u8()
	room := uint32(p.u8()) * 32
	m := frontend.Samples(pick(v.nodes, node), pick(v.handles, handle), room)[requestNames[int(kind)%len(requestNames)]]
	if len(m.Names) > 0 && name > 0 {
		m.Names[len(m.Names)-1] = names[int(name)%len(names)]
	}
	if ring&0x80 != 0 {
		m.Node = pick(v.nodes, node)
	}
	frame := m.Bytes()
	for n := p.u8() % 8; n > 0; n-- {
		frame[int(p.u16())%len(frame)] ^= p.u8()
	}
	v.request(int(ring&0x7f)%rings, m.Op, frame, room)
}

// pick is one of known, or a number that nobody has told.
func pick(known []uint64, n byte) uint64 {
	if n > 0xf0 {
		return uint64(n) << 40
	}
	return known[len(known)-1-int(n)%len(known)]
}

// chain offers descriptors that need not be a chain. Addresses are in units of 16 bytes.
func (v *villain) chain(p *program) {
	ring, count := int(p.u8())%rings, int(p.u8()%6)
	for range count {
		i, flags, next := p.u8()%ringSize, p.u8(), p.u8()
		d := frontend.Desc{Addr: uint64(p.u32()) << 4, Len: p.u32(), Flags: uint16(flags & 7), Next: uint16(next)}
		if flags&0x80 == 0 { // mostly within the memory
			d.Addr, d.Len = d.Addr%ramSize, d.Len%0x2000
		}
		d.Put(v.ring(ring), int(i))
	}
	v.offer(ring, uint16(p.u8())%(ringSize+2))
}

// race changes descriptors and requests while they are looked at, until stop is called.
func (v *villain) race() (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-end:
				return
			default:
			}
			v.ring(1)[i*7%(ringSize*frontend.DescSize)] ^= byte(i)
			v.ram[slot(1, i%slots)+i*5%64] ^= byte(i >> 3)
			if i%64 == 0 {
				time.Sleep(10 * time.Microsecond)
			}
		}
	}()
	return func() { close(end); <-ended }
}
