// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// column is a figure of the table.
type column struct {
	head  string
	width int
	value func(g group, c *Cell) string
}

var columns = []column{
	{"ops/s", 8, func(_ group, c *Cell) string { return number(c.median(rate)) }},
	{"MB/s", 7, func(_ group, c *Cell) string { return bandwidth(c) }},
	{"p50", 8, func(_ group, c *Cell) string { return number(c.least(func(s Sample) float64 { return s.P50 })) }},
	{"p99", 8, func(_ group, c *Cell) string { return number(c.median(func(s Sample) float64 { return s.P99 })) }},
	{"p99.9", 8, func(_ group, c *Cell) string { return number(c.median(func(s Sample) float64 { return s.P999 })) }},
	{"CPU/op", 7, func(_ group, c *Cell) string { return number(c.median(cpu)) }},
	{"ratio", 6, func(g group, c *Cell) string { return number(g.ratio(c, cpu)) }},
	{"x ops", 6, func(g group, c *Cell) string { return number(g.ratio(c, rate)) }},
	{"calls", 6, func(_ group, c *Cell) string { return number(c.calls()) }},
	{"waits", 6, perOp(func(s Sample) float64 { return s.Waits })},
	{"kicks", 6, perOp(func(s Sample) float64 { return s.Kicks })},
	{"irqs", 6, perOp(func(s Sample) float64 { return s.Signals })},
	{"anon", 6, perOp(func(s Sample) float64 { return s.Anon })},
	{"rss", 6, perOp(func(s Sample) float64 { return s.RSS })},
}

// perOp is a figure that the floor does not have.
func perOp(figure func(Sample) float64) func(group, *Cell) string {
	return func(_ group, c *Cell) string {
		if c.Daemon == floorName {
			return ""
		}
		return number(c.median(figure))
	}
}

// number prints three digits that count; nothing for what is not there.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return ""
	case v >= 99_950:
		return fmt.Sprintf("%.0fk", v/1000)
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func bandwidth(c *Cell) string {
	if c.Bytes == 0 {
		return ""
	}
	return number(c.median(rate) * float64(c.Bytes) / 1e6)
}

const legend = `p50, p99, p99.9: latency of an operation in µs; p50 is the least of the rounds, all else are medians.
CPU/op: µs of CPU time of the daemon, all its processes, user and system. ratio: CPU/op to %s;
x ops: the same of ops/s. calls: system calls per operation, counted by strace in a run of their own.
waits, kicks, irqs per operation: waits of the daemon's threads, each ended by a wake-up; notifications of
the device; and of the driver. anon, rss: MiB of the daemon, its own, and with the guest's pages.
floor: the system calls that the work cannot be done without, in a bare loop on one thread.
`

// table prints the result for people.
func (r *Result) table(w io.Writer) {
	fmt.Fprintf(w, "%s, %d x %s; load %s before, %s after; a median of %s CPUs worked for others\n", r.Host.Kernel, r.Host.CPUs,
		r.Host.CPU, r.Host.LoadBefore, r.Host.LoadAfter, number(r.others()))
	fmt.Fprintf(w, "%s; rounds: %d of %d ms each\n", r.Started, r.Rounds, r.Millis)
	width := len("readdirplus-warm 1")
	for _, d := range r.Daemons {
		width = max(width, len(d.Name))
		if d.Missing != "" {
			fmt.Fprintf(w, "%s: NOT MEASURED: %s\n", d.Name, d.Missing)
		} else {
			fmt.Fprintf(w, "%s: %s\n", d.Name, d.Version)
		}
	}
	fmt.Fprintf(w, "\n"+legend, r.to())
	last := ""
	for _, g := range r.groups() {
		c := g.cells[0]
		if c.Dir != last {
			fmt.Fprintf(w, "\n%s\n", c.Dir)
			last = c.Dir
		}
		g.print(w, width)
	}
	r.summary(w)
	fmt.Fprintln(w)
	r.within(w)
	r.startTimes(w)
	for _, c := range r.failures() {
		fmt.Fprintf(w, "FAILED: %s, %s, depth %d, %s: %s\n", c.Dir, c.Workload, c.Depth, c.Daemon, c.Failed)
	}
}

// to says what ratios are to.
func (r *Result) to() string {
	return cmp.Or(r.reference, "the peer that takes least in the row")
}

func (g group) print(w io.Writer, width int) {
	fmt.Fprintf(w, "\n%-*s ", width+2, g.cells[0].Workload+" "+fmt.Sprint(g.cells[0].Depth))
	for _, col := range columns {
		fmt.Fprintf(w, " %*s", col.width, col.head)
	}
	fmt.Fprintln(w)
	for _, c := range g.cells {
		line := fmt.Sprintf("  %-*s ", width, c.Daemon)
		if len(c.Samples) == 0 {
			line += " " + strings.Split(cmp.Or(c.Failed, c.None), "\n")[0]
		}
		for _, col := range columns {
			if len(c.Samples) > 0 {
				line += fmt.Sprintf(" %*s", col.width, col.value(g, c))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	for _, c := range g.cells {
		if c.Calls != nil {
			fmt.Fprintf(w, "    calls of %s: %s\n", c.Daemon, c.callList())
		}
	}
}

// callList is the system calls that count, the most frequent first.
func (c *Cell) callList() string {
	names := slices.SortedFunc(maps.Keys(c.Calls), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.Calls[b], c.Calls[a]), cmp.Compare(a, b))
	})
	var words []string
	for _, n := range names {
		if c.Calls[n] >= 0.005 {
			words = append(words, n+" "+number(c.Calls[n]))
		}
	}
	return strings.Join(words, ", ")
}

// startTimes prints how long the daemons took until a VMM could connect, over all their starts.
func (r *Result) startTimes(w io.Writer) {
	fmt.Fprintf(w, "\nFrom the start of the daemon until a VMM can connect, ms, median of all starts:")
	for _, d := range r.Daemons {
		var v []float64
		for _, c := range r.Cells {
			for _, s := range c.Samples {
				if c.Daemon == d.Name {
					v = append(v, s.Ready)
				}
			}
		}
		if len(v) > 0 {
			fmt.Fprintf(w, " %s %s (%d)", d.Name, number(median(v)), len(v))
		}
	}
	fmt.Fprintln(w)
}
