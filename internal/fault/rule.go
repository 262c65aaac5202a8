// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// Rule says which calls are hit and what happens to them. Parse makes one. It is immutable.
type Rule struct {
	ops  opSet
	path string // as it was given; "": any
	glob glob

	off, end int64 // the range [off, end); end 0: any

	first, last uint64 // nth; first 0: not given
	every       uint64 // 0: not given
	p           float64
	seed        uint64

	errno syscall.Errno // 0: none
	short int64         // bytes; -1: not given
	delay time.Duration
	hang  bool
}

// MarshalBinary returns the rule in the form that Parse takes.
func (r Rule) MarshalBinary() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalBinary parses the rule.
func (r *Rule) UnmarshalBinary(text []byte) (err error) {
	*r, err = Parse(string(text))
	return err
}

// call is one call of the host.
type call struct {
	op     int   // its number in operations
	off, n int64 // its bytes
	paths  func() []string
}

// fits reports whether the rule counts a call.
func (r *Rule) fits(c call) bool {
	if !r.ops.has(c.op) {
		return false
	}
	if r.end != 0 && !overlap(c.off, c.n, r.off, r.end) {
		return false
	}
	if r.glob == nil {
		return true
	}
	for _, p := range c.paths() {
		if r.glob.match(p) {
			return true
		}
	}
	return false
}

// overlap reports whether n bytes at off have one in common with [start, end). An offset that no
// file has, as guests may send, has none.
func overlap(off, n, start, end int64) bool {
	if off < 0 || n <= 0 || off >= end {
		return false
	}
	return off > start || n > start-off
}

// before is how many bytes of a call the host may be asked for when the rule spares what lies before its
// range, and 0 if there are none.
func (r *Rule) before(c call) int64 {
	if r.end == 0 || r.errno == 0 || r.short >= 0 || !operations[c.op].counts {
		return 0
	}
	return max(r.off-c.off, 0)
}

// fires reports whether the k-th call, from 1 on, that fits is hit. It depends on nothing else.
func (r *Rule) fires(k uint64) bool {
	switch {
	case r.first != 0:
		return r.first <= k && k <= r.last
	case r.every != 0:
		return k%r.every == 0
	case r.p != 0:
		return float64(mix(r.seed+k*0x9e3779b97f4a7c15)>>11)/(1<<53) < r.p
	}
	return true
}

// mix spreads the bits of a counter: the finalizer of splitmix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// String is the rule in the form that Parse takes.
func (r Rule) String() string {
	var b strings.Builder
	b.WriteString(r.ops.String())
	word := func(given bool, format string, v any) {
		if given {
			fmt.Fprintf(&b, " "+format, v)
		}
	}
	word(r.path != "", "path=%s", quoted(r.path))
	word(r.end != 0, "range=%s", rangeString(r.off, r.end))
	word(r.first != 0, "nth=%s", nthString(r.first, r.last))
	word(r.every != 0, "every=%d", r.every)
	word(r.p != 0, "p=%s", strconv.FormatFloat(r.p, 'g', -1, 64))
	word(r.p != 0, "seed=%d", r.seed)
	word(r.short >= 0, "short=%d", r.short)
	word(r.errno != 0, "error=%s", unix.ErrnoName(r.errno))
	word(r.delay != 0, "delay=%s", r.delay)
	word(r.hang, "%s", "hang")
	return b.String()
}

func quoted(s string) string {
	plain := !strings.HasPrefix(s, `"`) && !strings.ContainsFunc(s, func(c rune) bool {
		return c == ' ' || c == unicode.ReplacementChar || !unicode.IsPrint(c)
	})
	if plain {
		return s
	}
	return strconv.Quote(s)
}

func rangeString(off, end int64) string {
	if end == math.MaxInt64 {
		return fmt.Sprintf("%d+", off)
	}
	return fmt.Sprintf("%d+%d", off, end-off)
}

func nthString(first, last uint64) string {
	switch last {
	case first:
		return strconv.FormatUint(first, 10)
	case math.MaxUint64:
		return fmt.Sprintf("%d-", first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}
