// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
)

// summary prints one line for each row: everybody's CPU time, and how the daemons that are no
// peers compare with the reference.
func (r *Result) summary(w io.Writer) {
	last := ""
	for _, g := range r.groups() {
		if dir := g.cells[0].Dir; dir != last {
			last = dir
			g.summaryHead(w, r.reference)
		}
		line := fmt.Sprintf("%-19s", fmt.Sprintf("%s %d", g.cells[0].Workload, g.cells[0].Depth))
		for _, c := range g.cells {
			line += " " + cellText(c, number(c.median(cpu)))
		}
		for _, c := range g.cells {
			if c.compared(r.reference) {
				line += fmt.Sprintf(" %7s %7s", number(g.ratio(c, cpu)), number(g.ratio(c, rate)))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

func (g group) summaryHead(w io.Writer, reference string) {
	line := fmt.Sprintf("%-19s", "CPU/op, µs")
	for _, c := range g.cells {
		line += " " + cellText(c, c.Daemon)
	}
	for _, c := range g.cells {
		if c.compared(reference) {
			line += fmt.Sprintf(" %7s %7s", "ratio", "x ops")
		}
	}
	fmt.Fprintf(w, "\n%s\n%s\n", g.cells[0].Dir, line)
}

// cellText is a column as wide as the daemon's name.
func cellText(c *Cell, text string) string { return fmt.Sprintf("%*s", max(len(c.Daemon), 7), text) }

// compared tells whether the cell is of this daemon and not the reference itself.
func (c *Cell) compared(reference string) bool {
	return !c.Peer && c.Daemon != floorName && c.Daemon != reference
}

// within prints how a daemon's rows compare with its own randread4k: what is left of the reads' latency behind
// an FSYNC, and what four queues bring, at the same depth in all or, where one queue has none such, in each queue.
func (r *Result) within(w io.Writer) {
	for _, c := range r.Cells {
		var figure func(Sample) float64
		var what string
		switch c.Workload {
		case "behind-fsync":
			figure, what = func(s Sample) float64 { return s.P50 }, "p50"
		case "randread4k-4q":
			figure, what = rate, "ops/s"
		}
		if figure == nil || len(c.Samples) == 0 || c.Daemon == floorName {
			continue
		}
		own := r.find(c.Dir, "randread4k", c.Depth, c.Daemon)
		if own == nil {
			own = r.find(c.Dir, "randread4k", c.Depth/4, c.Daemon)
		}
		if v := number(group{ref: own}.ratio(c, figure)); v != "" {
			fmt.Fprintf(w, "%s, %s %d: %s of %s is %s times that of its randread4k %d\n", c.Dir, c.Workload, c.Depth, what, c.Daemon, v, own.Depth)
		}
	}
}

// find returns a cell, or nil.
func (r *Result) find(dir, workload string, depth int, daemon string) *Cell {
	for _, c := range r.Cells {
		if c.Dir == dir && c.Workload == workload && c.Depth == depth && c.Daemon == daemon {
			return c
		}
	}
	return nil
}
