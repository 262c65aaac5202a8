// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"math"
	"os"
	"slices"
)

// Result is everything that a run has given; it is what the JSON file holds.
type Result struct {
	Host    Host
	Started string // RFC 3339
	Rounds  int
	Millis  int64 // of each cell and round
	Daemons []Daemon
	Cells   []*Cell

	reference string // the daemon that ratios are to; "": the best peer of each row
}

// Daemon is a line of each row.
type Daemon struct {
	Name, Version string
	Missing       string `json:",omitempty"` // why it was not measured
}

func (r *Result) write(file string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// group is the cells of one row, and the one that ratios are to; nil if there is none.
type group struct {
	cells []*Cell
	ref   *Cell
}

// groups are the rows in their order.
func (r *Result) groups() []group {
	var gs []group
	for _, c := range r.Cells {
		if n := len(gs); n > 0 && gs[n-1].has(c) {
			gs[n-1].cells = append(gs[n-1].cells, c)
		} else {
			gs = append(gs, group{cells: []*Cell{c}})
		}
	}
	for i := range gs {
		gs[i].ref = gs[i].best(r.reference)
	}
	return gs
}

func (g group) has(c *Cell) bool {
	f := g.cells[0]
	return f.Dir == c.Dir && f.Workload == c.Workload && f.Depth == c.Depth
}

// best is the named daemon, or else the peer that takes the least CPU time.
func (g group) best(name string) *Cell {
	var best *Cell
	for _, c := range g.cells {
		switch {
		case len(c.Samples) == 0 || c.Daemon == floorName:
		case name != "" && c.Daemon == name:
			return c
		case name == "" && c.Peer && (best == nil || c.median(cpu) < best.median(cpu) || math.IsNaN(best.median(cpu))):
			best = c
		}
	}
	return best
}

// Figures of a sample; NaN is no figure.
func cpu(s Sample) float64 {
	if s.CPU == 0 {
		return math.NaN()
	}
	return s.CPU
}

func rate(s Sample) float64 { return s.OpsPerSecond() }

// median of a figure over the rounds; NaN without samples.
func (c *Cell) median(figure func(Sample) float64) float64 {
	var v []float64
	for _, s := range c.Samples {
		v = append(v, figure(s))
	}
	return median(v)
}

// median leaves out what is NaN.
func median(v []float64) float64 {
	v = slices.DeleteFunc(v, math.IsNaN)
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// least of a figure over the rounds.
func (c *Cell) least(figure func(Sample) float64) float64 {
	least := math.NaN()
	for _, s := range c.Samples {
		if v := figure(s); !(v >= least) {
			least = v
		}
	}
	return least
}

// ratio is how a figure compares with the reference's: the median of the rounds' own ratios, as
// what disturbs a round disturbs both. NaN without a reference.
func (g group) ratio(c *Cell, figure func(Sample) float64) float64 {
	if g.ref == nil {
		return math.NaN()
	}
	var v []float64
	for i := range min(len(c.Samples), len(g.ref.Samples)) {
		v = append(v, figure(c.Samples[i])/figure(g.ref.Samples[i]))
	}
	return median(v)
}

// calls are all system calls per operation; NaN if they were not counted.
func (c *Cell) calls() float64 {
	if c.Calls == nil {
		return math.NaN()
	}
	sum := 0.0
	for _, n := range c.Calls {
		sum += n
	}
	return sum
}

// failures are the cells whose daemon did something wrong.
func (r *Result) failures() (failed []*Cell) {
	for _, c := range r.Cells {
		if c.Failed != "" {
			failed = append(failed, c)
		}
	}
	return failed
}

// others is the median over all samples of how many CPUs worked for somebody else.
func (r *Result) others() float64 {
	var v []float64
	for _, c := range r.Cells {
		for _, s := range c.Samples {
			if c.Daemon != floorName {
				v = append(v, s.Others)
			}
		}
	}
	return median(v)
}
