// SPDX-License-Identifier: Apache-2.0

package inodes

import (
	"testing"

	"golang.org/x/sys/unix"
)

// nullHost has files without a host: fds are numbers.
type nullHost struct{}

func (nullHost) Freeze(_ int, _ Cold, _ int, buf []byte) ([]byte, int64, bool) {
	return append(buf, 1), 0, true
}
func (nullHost) Thaw(Cold, int) (int, error) { return 3, nil }
func (nullHost) Match(int, []byte) bool      { return true }
func (nullHost) Close(int)                   {}
func (nullHost) Unpin(Identity)              {}

func benchTable(b *testing.B, files int) (*Table, []ID) {
	b.Helper()
	tb, err := New(nullHost{}, Options{Budget: 1 << 30}, Identity{Ino: 1, Type: unix.S_IFDIR}, 3)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(tb.Close)
	ids := make([]ID, files)
	for i := range ids {
		if ids[i], err = tb.Insert(Identity{Ino: uint64(i) + 2}, 3, Node{}, ""); err != nil {
			b.Fatal(err)
		}
	}
	return tb, ids
}

func BenchmarkGet(b *testing.B) {
	tb, ids := benchTable(b, 1_000_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		n, err := tb.Get(ids[i%len(ids)])
		if err != nil {
			b.Fatal(err)
		}
		n.Release()
		i += 7919
	}
}

func BenchmarkInsertKnown(b *testing.B) {
	tb, ids := benchTable(b, 1_000_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := tb.Insert(Identity{Ino: uint64(i%len(ids)) + 2}, 3, Node{}, ""); err != nil {
			b.Fatal(err)
		}
		i += 7919
	}
}

func BenchmarkInsertForget(b *testing.B) {
	tb, _ := benchTable(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		id, err := tb.Insert(Identity{Ino: 1 << 40}, 3, Node{}, "")
		if err != nil {
			b.Fatal(err)
		}
		tb.Forget(id, 1)
	}
}

func BenchmarkParallelGet(b *testing.B) {
	tb, ids := benchTable(b, 1000)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i += 79 {
			n, err := tb.Get(ids[i%len(ids)])
			if err != nil {
				b.Fatal(err)
			}
			n.Release()
		}
	})
}
