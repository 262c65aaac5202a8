// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// maxPages is the length of the longest request that goes through the pages. Longer ones are
// streams, which would only push out what others come back for.
const maxPages = 16

// scratch is what one request needs to move data.
type scratch struct {
	vec  [][]byte // for the host
	pins [maxPages + 1]uint32
	pin  int
	fill fill
	sent [maxPages + 1]sent
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func getScratch() *scratch { return scratches.Get().(*scratch) }

// put gives the scratch back without references to anybody's memory.
func (s *scratch) put() {
	clear(s.vec[:cap(s.vec)])
	s.vec = s.vec[:0]
	scratches.Put(s)
}

func size(bufs [][]byte) (n int) {
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

// cursor walks through buffers.
type cursor struct {
	bufs [][]byte
	skip int // bytes of bufs[0] that are behind
}

// next returns up to n bytes that lie in one piece, and moves on. It is empty at the end only.
func (c *cursor) next(n int) []byte {
	for len(c.bufs) > 0 {
		b := c.bufs[0][c.skip:]
		if len(b) > n {
			c.skip += n
			return b[:n]
		}
		c.bufs, c.skip = c.bufs[1:], 0
		if len(b) > 0 {
			return b
		}
	}
	return nil
}

// appendTo appends the next n bytes to vec, without copying them.
func (c *cursor) appendTo(vec [][]byte, n int) [][]byte {
	for n > 0 {
		b := c.next(n)
		if len(b) == 0 {
			break
		}
		vec, n = append(vec, b), n-len(b)
	}
	return vec
}

// advance drops n bytes from the front of vec, which it changes.
func advance(vec [][]byte, n int) [][]byte {
	for len(vec) > 0 && n >= len(vec[0]) {
		n -= len(vec[0])
		vec = vec[1:]
	}
	if n > 0 {
		vec[0] = vec[0][n:]
	}
	return vec
}

// scatter copies b to the cursor's buffers.
func (c *cursor) scatter(b []byte) (err error) {
	defer fault(&err)
	for len(b) > 0 {
		d := c.next(len(b))
		if len(d) == 0 {
			break
		}
		b = b[copy(d, b):]
	}
	return nil
}

// gather fills b from the cursor's buffers.
func (c *cursor) gather(b []byte) (err error) {
	defer fault(&err)
	for len(b) > 0 {
		s := c.next(len(b))
		if len(s) == 0 {
			break
		}
		b = b[copy(b, s):]
	}
	return nil
}

// fault turns a memory fault into EFAULT: the peer took its memory away. It is deferred.
func fault(err *error) {
	r := recover()
	if r == nil {
		return
	}
	// The runtime gives faults, and nothing else, an address.
	if _, ok := r.(interface {
		runtime.Error
		Addr() uintptr
	}); !ok {
		panic(r)
	}
	*err = unix.EFAULT
}
