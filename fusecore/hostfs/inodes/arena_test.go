// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"strings"
	"testing"
)

// TestArenaIsWholeAgain: memory that was cut into small blocks takes large ones when all are gone.
func TestArenaIsWholeAgain(t *testing.T) {
	var a arena
	a.init(make([]byte, 1<<16))
	fill := func(blob string) (refs []uint32) {
		for {
			ref := put(&a, blob)
			if ref == 0 {
				return refs
			}
			refs = append(refs, ref)
		}
	}
	small, large := "x", strings.Repeat("y", blobMax)
	want := len(fill(large)) // of a new arena
	a = arena{}
	a.init(make([]byte, 1<<16))
	refs := fill(small)
	for _, ref := range refs[1:] {
		a.drop(ref)
	}
	if n := len(fill(large)); n != 0 {
		t.Fatalf("%d large blocks beside a small one in an arena that was full of small ones", n)
	}
	a.drop(refs[0])
	if got := len(fill(large)); got != want {
		t.Errorf("%d large blocks after all small ones were dropped, %d in a new arena", got, want)
	}
}
