// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// points are what tests lock: each of the first bytes of a file, each of the last that there can be,
// and, in the middle, all others as one.
const points = 25

// first and last are the ends of a point.
func first(point int) int64 {
	if point <= points/2 {
		return int64(point)
	}
	return last(point)
}

func last(point int) int64 {
	if point < points/2 {
		return int64(point)
	}
	return maxOffset - int64(points-1-point)
}

func drawSpan(t *rapid.T) (a, b int, l span) {
	a = rapid.IntRange(0, points-1).Draw(t, "from")
	b = rapid.IntRange(a, points-1).Draw(t, "to")
	typ := rapid.SampledFrom([]int16{unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK}).Draw(t, "type")
	return a, b, span{first(a), last(b), typ}
}

// table is what one owner has at each point.
type table [points]int16

func newTable() (m table) {
	for i := range m {
		m[i] = unix.F_UNLCK
	}
	return m
}

func (m *table) set(a, b int, typ int16) {
	for i := a; i <= b; i++ {
		m[i] = typ
	}
}

// conflicts tells whether another owner cannot have a to b beside m.
func (m *table) conflicts(a, b int, typ int16) bool {
	for i := a; i <= b; i++ {
		if (span{0, 0, m[i]}).conflicts(span{0, 0, typ}) {
			return true
		}
	}
	return false
}

// checkSpans holds s against m, and its own rules.
func checkSpans(t rapid.TB, s spans, m table) {
	t.Helper()
	for i, l := range s {
		if l.start > l.end || l.typ == unix.F_UNLCK {
			t.Fatalf("a span %v", l)
		}
		if i > 0 && (s[i-1].end >= l.start || s[i-1].end == l.start-1 && s[i-1].typ == l.typ) {
			t.Fatalf("the spans %v and %v should be one, or apart", s[i-1], l)
		}
	}
	for i, want := range m {
		got := int16(unix.F_UNLCK)
		for _, l := range s {
			if l.start <= first(i) && last(i) <= l.end {
				got = l.typ
			}
		}
		if got != want {
			t.Fatalf("offset %d has type %d, not %d: %v", first(i), got, want, s)
		}
	}
}

func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s spans
		m := newTable()
		for range 40 {
			a, b, l := drawSpan(t)
			at, ok := s.conflict(l)
			if ok != m.conflicts(a, b, l.typ) || ok && (!slices.Contains(s, at) || !at.conflicts(l)) {
				t.Fatalf("conflict of %v with %v: %v %v", l, s, at, ok)
			}
			c, before := s.plan(l), len(s)
			s = s.apply(&c)
			m.set(a, b, l.typ)
			checkSpans(t, s, m)
			if len(s)-before != c.growth() {
				t.Fatalf("from %d to %d spans, growth %d", before, len(s), c.growth())
			}
		}
	})
}
