// SPDX-License-Identifier: Apache-2.0

package fusecore

import "sync"

// maxBuffer is the largest buffer that a request gets, in bytes. Longer READs of file systems
// that need a buffer are carried out in pieces of this size.
const maxBuffer = 1 << 20

// buffer is scratch memory of one request.
type buffer struct {
	bytes []byte
	pool  *sync.Pool
}

// bufferPools hold buffers of three sizes: names and small directories, xattr values, data.
var bufferPools = [...]struct {
	size int
	pool sync.Pool
}{{size: 8 << 10}, {size: 128 << 10}, {size: maxBuffer}}

// getBuffer returns a buffer of at least n bytes, at most maxBuffer, with any content. The
// caller puts it back when nothing refers to its bytes any more.
func getBuffer(n int) *buffer {
	for i := range bufferPools {
		p := &bufferPools[i]
		if n > p.size {
			continue
		}
		if b, ok := p.pool.Get().(*buffer); ok {
			return b
		}
		return &buffer{bytes: make([]byte, p.size), pool: &p.pool}
	}
	panic("fusecore: buffer above the largest size")
}

func (b *buffer) put() {
	b.pool.Put(b)
}
