// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"time"
)

// Pending is a request in flight, with the guest memory of its buffers. It belongs to its
// queue's goroutine, and is used again after Free.
type Pending struct {
	// Tag is the caller's, to know the request by when Queue.Next returns it.
	Tag int

	q       *Queue
	head    uint16
	heads   []uint16 // descriptors of the ring that it holds
	descs   []Desc
	done    bool
	written uint32
	later   bool   // nobody waits: given back as soon as it is completed
	op      Opcode // of requests that a Client made; for messages
	unique  uint64

	out     []span // writable buffers in order
	small   span   // one page for buffers that are smaller than smallBuffer
	smallAt int
	tab     span
	pages   []span // pages that it keeps; the first nPages are in use
	nPages  int
}

// span is a piece of guest memory.
type span struct {
	gpa uint64
	mem []byte
}

// smallBuffer is the size from which a buffer gets a page of its own.
const smallBuffer = 1024

// take gets a Pending from the pool, or a new one.
func (q *Queue) take() *Pending {
	if n := len(q.pool); n > 0 {
		p := q.pool[n-1]
		q.pool = q.pool[:n-1]
		return p
	}
	p := &Pending{q: q}
	p.small.gpa = q.vm.RAM.Page()
	p.small.mem = q.vm.RAM.Slice(p.small.gpa, PageSize)
	return p
}

// Free gives a completed request back. Its buffers are not valid any more.
func (p *Pending) Free() {
	if !p.done {
		panic("frontend: request given back in flight")
	}
	if p.small.mem == nil {
		return // made by Push
	}
	p.descs, p.out = p.descs[:0], p.out[:0]
	p.smallAt, p.nPages, p.done, p.written, p.later = 0, 0, false, 0, false
	p.q.pool = append(p.q.pool, p)
}

// table is room for the request's indirect table.
func (p *Pending) table() ([]byte, uint64) {
	if p.tab.mem == nil {
		n := uint64(DescSize) * uint64(p.q.size)
		p.tab.gpa = p.q.vm.RAM.Run(n)
		p.tab.mem = p.q.vm.RAM.Slice(p.tab.gpa, n)
	}
	if len(p.descs) > int(p.q.size) {
		panic("frontend: more descriptors than the ring has")
	}
	return p.tab.mem, p.tab.gpa
}

// room finds place for n bytes, at most a page.
func (p *Pending) room(n int) span {
	if n <= smallBuffer && p.smallAt+n <= PageSize {
		s := span{p.small.gpa + uint64(p.smallAt), p.small.mem[p.smallAt : p.smallAt+n]}
		p.smallAt += (n + 7) &^ 7
		return s
	}
	if p.nPages == len(p.pages) {
		gpa := p.q.vm.RAM.Page()
		p.pages = append(p.pages, span{gpa, p.q.vm.RAM.Slice(gpa, PageSize)})
	}
	pg := p.pages[p.nPages]
	p.nPages++
	return span{pg.gpa, pg.mem[:n]}
}

func (p *Pending) add(s span, flags uint16) {
	if n := len(p.descs); n > 0 {
		p.descs[n-1].Flags |= DescNext
		p.descs[n-1].Next = uint16(n)
	}
	p.descs = append(p.descs, Desc{Addr: s.gpa, Len: uint32(len(s.mem)), Flags: flags})
}

func (p *Pending) addReadable(b []byte) {
	for first := true; first || len(b) > 0; first = false {
		s := p.room(min(len(b), PageSize))
		b = b[copy(s.mem, b):]
		p.add(s, 0)
	}
}

func (p *Pending) addWritable(n int) {
	for first := true; first || n > 0; first = false {
		s := p.room(min(n, PageSize))
		n -= len(s.mem)
		p.out = append(p.out, s)
		p.add(s, DescWrite)
	}
}

// Done says whether the request was completed, without waiting.
func (p *Pending) Done() bool {
	p.q.collect()
	return p.done
}

// Wait waits for the completion and returns the number of bytes that the device says it has
// written. Errors: ErrTimeout, ErrClosed; the request is then still in flight.
func (p *Pending) Wait() (int, error) {
	return p.WaitFor(p.q.vm.opt.Timeout)
}

// WaitFor is Wait with a limit of its own.
func (p *Pending) WaitFor(d time.Duration) (int, error) {
	deadline := time.Now().Add(d)
	for p.q.collect(); !p.done; p.q.collect() {
		if err := p.q.sleep(deadline); err != nil {
			return 0, err
		}
	}
	return int(p.written), nil
}

// Read copies from the writable buffers, as far as they go, from offset off on. It returns
// the number of bytes copied. It may be called in flight to see what is there already.
func (p *Pending) Read(dst []byte, off int) int {
	n := 0
	for _, s := range p.out {
		if off >= len(s.mem) {
			off -= len(s.mem)
			continue
		}
		n += copy(dst[n:], s.mem[off:])
		off = 0
		if n == len(dst) {
			break
		}
	}
	return n
}

// Piece is the i-th writable piece of guest memory, nil behind the last: the reply's header, then
// its body, page by page. It can be looked at in place until Free.
func (p *Pending) Piece(i int) []byte {
	if i >= len(p.out) {
		return nil
	}
	return p.out[i].mem
}

// Fill sets all writable bytes to v, to see later what was written.
func (p *Pending) Fill(v byte) {
	for _, s := range p.out {
		for i := range s.mem {
			s.mem[i] = v
		}
	}
}

// WritablePages are the guest pages of the writable buffers.
func (p *Pending) WritablePages() []uint64 {
	var gpas []uint64
	for _, s := range p.out {
		gpas = append(gpas, s.gpa&^(PageSize-1))
	}
	return gpas
}
