// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"testing"
)

// A guest can make a request of gigabytes out of a page by naming it again and again. What can be
// told to be absurd is not carried out, as a queue that stops would wait for it.

// aliased returns n bytes as ranges that are all the same memory.
func aliased(n int) [][]byte {
	mem := make([]byte, 1<<20)
	var segs [][]byte
	for ; n > 0; n -= len(mem) {
		segs = append(segs, mem[:min(n, len(mem))])
	}
	return segs
}

func TestReadIsBounded(t *testing.T) {
	for _, inline := range []bool{false, true} {
		f := newFullRecorder()
		f.data = make([]byte, 1<<30)
		tt := newStarted(t, f)
		for size, want := range map[int]int{16 << 20: 16 << 20, 16<<20 + 1: 16 << 20, 1 << 30: 16 << 20} {
			tt.r.In, tt.r.Out = [][]byte{readMsg(t, OpRead, 0, uint32(size))}, aliased(16+size)
			if n, again := tt.s.Handle(&tt.r, inline); n != 16+want || again {
				t.Errorf("READ of %d bytes, inline=%v: a reply of %d, again=%v; want %d", size, inline, n, again, 16+want)
			}
		}
	}
}

func TestBatchForgetIsBounded(t *testing.T) {
	for count, want := range map[int]int{1 << 16: 1 << 16, 1<<16 + 1: 0, 1 << 24: 0} {
		f := newFullRecorder()
		tt := newStarted(t, f)
		msg := message(t, OpBatchForget, 3, uint32(count), uint32(0))
		copy(msg, wire(t, uint32(len(msg)+16*count))) // length
		tt.r.In, tt.r.Out = append([][]byte{msg}, aliased(16*count)...), nil
		if n, again := tt.s.Handle(&tt.r, false); n != 0 || again {
			t.Errorf("BATCH_FORGET of %d: a reply of %d, again=%v", count, n, again)
		}
		if got := len(f.calls); got != want {
			t.Errorf("BATCH_FORGET of %d forgets %d, want %d", count, got, want)
		}
	}
}
