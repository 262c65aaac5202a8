// SPDX-License-Identifier: Apache-2.0

package fusecore

// cursor walks over the byte ranges of a request or a reply as over one stream. Ranges may be
// cut at any byte and may be empty. It never goes beyond its left bytes.
type cursor struct {
	segs [][]byte // what has not been walked over; the first one from off on
	off  int
	left int // bytes that may still be walked over
}

// newCursor returns a cursor over all of segs.
func newCursor(segs [][]byte) cursor {
	left := 0
	for _, s := range segs {
		left += len(s)
	}
	return cursor{segs: segs, left: left}
}

// next returns the longest contiguous part of the next n bytes and steps over it. The caller
// has checked that n bytes are left; for n above 0 the part is not empty.
func (c *cursor) next(n int) []byte {
	for c.off == len(c.segs[0]) {
		c.segs, c.off = c.segs[1:], 0
	}
	part := c.segs[0][c.off:]
	if len(part) > n {
		part = part[:n:n]
	}
	c.off += len(part)
	c.left -= len(part)
	return part
}

// read copies the next len(dst) bytes to dst. With fewer left it copies nothing and returns
// false.
func (c *cursor) read(dst []byte) bool {
	if len(dst) > c.left {
		return false
	}
	for len(dst) > 0 {
		dst = dst[copy(dst, c.next(len(dst))):]
	}
	return true
}

// write copies as much of src as there is room for and returns the number of bytes.
func (c *cursor) write(src []byte) int {
	n := min(len(src), c.left)
	for done := 0; done < n; {
		done += copy(c.next(n-done), src[done:n])
	}
	return n
}

// skip steps over n bytes, or over all that is left.
func (c *cursor) skip(n int) {
	n = min(n, c.left)
	for n > 0 {
		n -= len(c.next(n))
	}
}

// limit takes all but the next n bytes away.
func (c *cursor) limit(n int) {
	c.left = min(c.left, n)
}

// slices appends the next n bytes, or all that is left, to dst as ranges, without a copy, and
// steps over them.
func (c *cursor) slices(dst [][]byte, n int) [][]byte {
	n = min(n, c.left)
	for n > 0 {
		part := c.next(n)
		dst = append(dst, part)
		n -= len(part)
	}
	return dst
}
