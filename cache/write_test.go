// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBatches: which host writes a write becomes, by the state of its pages.
func TestBatches(t *testing.T) {
	const p = PageSize
	const file = 8 * p
	for _, tt := range []struct {
		name     string
		size     int64 // of the file
		uptodate []int64
		off, n   int64
		flags    WriteFlags
		want     []string
		pages    []int64 // that are there afterwards
	}{
		{"one page", file, nil, p, p, 0, []string{"write 4096+4096"}, []int64{1}},
		{"two pages", file, nil, p, 2 * p, 0, []string{"write 4096+8192"}, []int64{1, 2}},
		{"all of the pages", file, nil, 0, 8 * p, 0, []string{"write 0+32768"}, []int64{0, 1, 2, 3, 4, 5, 6, 7}},
		{"within a page", file, nil, p + 10, 20, 0, []string{"write 4106+20"}, nil},
		{"within an uptodate page", file, []int64{1}, p + 10, 20, 0, []string{"write 4106+20"}, []int64{1}},
		{"start of a page", file, nil, p, 20, 0, []string{"write 4096+20"}, nil},
		{"end of a page", file, nil, 2*p - 20, 20, 0, []string{"write 8172+20"}, nil},
		{"head partial", file, nil, p + 1, 2*p - 1, 0, []string{"write 4097+4095", "write 8192+4096"}, []int64{2}},
		{"head partial, uptodate", file, []int64{1}, p + 1, 2*p - 1, 0, []string{"write 4097+8191"}, []int64{1, 2}},
		{"tail partial", file, nil, p, p + 1, 0, []string{"write 4096+4097"}, []int64{1}},
		{"tail partial, uptodate", file, []int64{2}, p, p + 1, 0, []string{"write 4096+4097"}, []int64{1, 2}},
		{"head and tail partial", file, nil, p + 1, 2 * p, 0, []string{"write 4097+4095", "write 8192+4097"}, []int64{2}},
		{"both partial, head uptodate", file, []int64{1}, p + 1, 2 * p, 0, []string{"write 4097+8192"}, []int64{1, 2}},
		{"both partial, tail uptodate", file, []int64{3}, p + 1, 2 * p, 0, []string{"write 4097+4095", "write 8192+4097"}, []int64{2, 3}},
		{"both partial and uptodate", file, []int64{1, 3}, p + 1, 2 * p, 0, []string{"write 4097+8192"}, []int64{1, 2, 3}},
		{"two partial pages", file, nil, 2*p - 1, 2, 0, []string{"write 8191+1", "write 8192+1"}, nil},
		{"synchronous", file, nil, p + 1, 2 * p, WriteSync, []string{"dsync 4097+8192"}, []int64{2}},
		{"data synchronous", file, nil, p + 1, 2 * p, WriteDSync, []string{"dsync 4097+8192"}, []int64{2}},
		{"from the guest's cache", file, nil, p + 1, 2 * p, WriteCache | WriteSync | WriteAppend | WriteDirect, []string{"write 4097+8192"}, []int64{2}},
		{"direct", file, []int64{0, 1, 2, 3}, p + 1, p, WriteDirect, []string{"write 4097+4096"}, []int64{0, 3}},
		{"append", file, []int64{0, 7}, 5, 2 * p, WriteAppend, []string{"append +8192"}, []int64{0, 7}},
		{"append within a page", file + 5, []int64{0, 7}, 5, 2 * p, WriteAppend, []string{"append +8192"}, []int64{0, 7}},
		{"stream", 32 * p, []int64{0, 1, 20, 21}, p + 1, 17 * p, 0, []string{"write 4097+69632"}, []int64{0, 20, 21}},
		// the end of the file
		{"new file", 0, nil, 0, 100, 0, []string{"write 0+100"}, []int64{0}},
		{"new file, hole before", 0, nil, 50, 100, 0, []string{"write 50+100"}, []int64{0}},
		{"new file, two pages", 0, nil, 50, p, 0, []string{"write 50+4096"}, []int64{0, 1}},
		{"at the end, rest unknown", 100, nil, 100, 100, 0, []string{"write 100+100"}, nil},
		{"at the end, rest unknown, two pages", 100, nil, 100, p, 0, []string{"write 100+3996", "write 4096+100"}, []int64{1}},
		{"at the end, rest known", 100, []int64{0}, 100, p, 0, []string{"write 100+4096"}, []int64{0, 1}},
		{"behind the end, rest known", 100, []int64{0}, 200, p, 0, []string{"write 200+4096"}, []int64{0, 1}},
		{"over the end", 100, nil, 0, 100, 0, []string{"write 0+100"}, []int64{0}},
		{"not quite over the end", 100, nil, 0, 99, 0, []string{"write 0+99"}, nil},
		{"behind the end, on another page", 100, nil, 2*p + 1, 5, 0, []string{"write 8193+5"}, []int64{2}},
		{"tail at the end of the file", 2*p + 7, nil, p, p + 7, 0, []string{"write 4096+4103"}, []int64{1, 2}},
		{"nothing", file, nil, p, 0, 0, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, 64, pattern(1, int(tt.size)))
			for _, n := range tt.uptodate {
				b.read(n*p, p)
			}
			b.h.taken()
			want := b.h.content()
			off := tt.off
			if tt.flags&WriteAppend != 0 && tt.flags&WriteCache == 0 {
				off = tt.size
			}
			if tt.n > 0 {
				want = append(want, make([]byte, max(0, off+tt.n-int64(len(want))))...)
				copy(want[off:], pattern(2, int(tt.n)))
			}
			n, err := b.write(tt.off, pattern(2, int(tt.n)), tt.flags)
			if int64(n) != tt.n || err != nil {
				t.Fatalf("write: %d, %v", n, err)
			}
			if got := b.h.writes(); !slices.Equal(got, tt.want) {
				t.Errorf("host writes %q, want %q", got, tt.want)
			}
			if !bytes.Equal(b.h.content(), want) {
				t.Error("the host file is not what it should be")
			}
			checkPresent(t, b, tt.pages)
			b.checkPages()
			if got := b.read(0, len(want)); !bytes.Equal(got, want) {
				t.Error("what is read is not what was written")
			}
		})
	}
}

func checkPresent(t *testing.T, b *bench, want []int64) {
	t.Helper()
	var got []int64
	for n := range b.pages() {
		got = append(got, n)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("pages %v are there, want %v", got, want)
	}
}

// TestRefusals: every answer of the host to every batch, at the edges of pages and at bytes
// between, with pages that were there before or not.
func TestRefusals(t *testing.T) {
	const p = PageSize
	errs := []error{unix.ENOSPC, nil}
	for _, before := range [][]int64{nil, {1}, {2}, {0, 1, 2, 3, 4}} {
		for _, size := range [][2]int64{{p, 3 * p}, {p + 100, 3*p - 100}, {p + 100, 2*p + 50}, {p + 7, 50}} {
			for _, cut := range []int{0, 1, 50, 3995, 3996, 3997, p - 1, p, p + 1, 2 * p, 3*p - 1} {
				for _, refusal := range errs {
					for _, flags := range []WriteFlags{0, WriteSync, WriteCache, WriteDirect, WriteDirect | WriteWhole, WriteAppend} {
						if int64(cut) < size[1] {
							refuse(t, before, size[0], int(size[1]), cut, refusal, flags)
						}
					}
				}
			}
		}
	}
}

// refuse writes n bytes at off to a host that takes cut of them.
func refuse(t *testing.T, before []int64, off int64, n, cut int, refusal error, flags WriteFlags) {
	t.Helper()
	const file = 8 * PageSize
	b := newBench(t, 64, pattern(1, file))
	for _, k := range before {
		b.read(k*PageSize, PageSize)
	}
	left := cut
	b.h.before = func(op string, _ int64, n int) (int, error) {
		if op != "write" {
			return -1, nil
		}
		if left == 0 {
			return 0, refusal
		}
		k := min(left, n)
		left -= k
		return k, nil
	}
	name := fmt.Sprintf("pages %v, %d+%d, %d taken, then %v, flags %d", before, off, n, cut, refusal, flags)
	got, err := b.write(off, pattern(2, n), flags)
	wantN, wantErr := cut, error(nil)
	switch {
	case flags&WriteSync != 0 && refusal != nil, flags&(WriteCache|WriteWhole) != 0, cut == 0:
		wantN, wantErr = 0, refusal
		if refusal == nil {
			wantErr = unix.EIO
		}
	}
	if got != wantN || err != wantErr {
		t.Errorf("%s: answered %d, %v; want %d, %v", name, got, err, wantN, wantErr)
	}
	if !Refused(got, n, err) {
		t.Errorf("%s: does not count as refused", name)
	}
	present := b.pages()
	if flags&WriteAppend == 0 {
		for k := (off + int64(cut)) / PageSize; k*PageSize < off+int64(n); k++ {
			if present[k] != 0 {
				t.Errorf("%s: page %d is uptodate after the refusal", name, k)
			}
		}
	}
	if flags&WriteSync != 0 && refusal != nil && len(present) > 0 {
		t.Errorf("%s: pages %v are left after a failed synchronous write", name, present)
	}
	b.checkPages()
	if got := b.read(0, 2*file); !bytes.Equal(got, b.h.content()) {
		t.Errorf("%s: reads differ from the host", name)
	}
	b.checkPages()
}
