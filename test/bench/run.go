// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// plan is what a run of the benchmark does.
type plan struct {
	workloads []workload
	depths    []int    // only these; none: each workload's own
	targets   []target // the daemons; the floor comes by itself
	dirs      []string // where the shared tree is made
	rounds    int
	time      time.Duration // of each cell and round
	size      int64         // bytes of each file of data
	names     int           // in the directory; a power of two
	syscalls  bool          // count system calls in a run of their own
	say       func(format string, a ...any)
	stop      <-chan struct{} // closed to end early; nil: never
}

// errStopped says that the user wants no more.
var errStopped = errors.New("stopped")

// Cell is a daemon at a workload, depth and directory, with a sample for each round.
type Cell struct {
	Dir      string
	Workload string
	Depth    int
	Daemon   string
	Peer     bool // somebody else's
	Bytes    int  // that one operation moves
	Samples  []Sample
	// Calls are system calls per operation by name, counted in a run of its own; nil: not counted.
	Calls map[string]float64 `json:",omitempty"`
	// None says why there are no samples though nothing is wrong.
	None string `json:",omitempty"`
	// Failed says what the daemon did wrong.
	Failed string `json:",omitempty"`
}

// runAll measures all cells: each round goes through all of them and takes the daemons in turns,
// forwards and backwards. The error says that the benchmark itself could not be run; a daemon that
// fails is in its cell.
func (p plan) runAll() ([]*Cell, error) {
	var cells []*Cell
	for _, dir := range p.dirs {
		c, err := p.runDir(dir)
		cells = append(cells, c...)
		if err != nil {
			return cells, err
		}
	}
	return cells, nil
}

// runDir does all rounds in one directory, on one tree that the daemons and the floor use one after
// the other: on copies of it, two processes of the same daemon were seen to differ by a quarter of their CPU time,
// each time in the same direction, as copies lie in different memory.
func (p plan) runDir(dir string) (cells []*Cell, err error) {
	work, err := os.MkdirTemp(dir, "virtiofsd-go-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	kind, err := fsType(work)
	if err != nil {
		return nil, err
	}
	p.say("%s (%s): making the tree", dir, kind)
	tr, err := makeTree(filepath.Join(work, "share"), p.size, p.names)
	if err != nil {
		return nil, err
	}
	rows := p.rows(dir, kind)
	for round := range p.rounds {
		for _, r := range rows {
			p.say("%s round %d of %d: %s, depth %d", kind, round+1, p.rounds, r.w.name, r.depth)
			if err := p.runRow(r, tr, round); err != nil {
				return nil, err
			}
			select {
			case <-p.stop:
				return nil, errStopped
			default:
			}
		}
	}
	for _, r := range rows {
		if p.syscalls {
			p.say("%s: counting system calls: %s, depth %d", kind, r.w.name, r.depth)
			p.countRow(r, tr)
		}
		cells = append(cells, r.cells...)
	}
	return cells, nil
}

// row is a workload at a depth: a cell for each daemon, and the floor's.
type row struct {
	w     workload
	depth int
	cells []*Cell
}

func (p plan) rows(dir, kind string) []*row {
	var rows []*row
	for _, w := range p.workloads {
		for _, depth := range w.depths {
			if len(p.depths) > 0 && !slices.Contains(p.depths, depth) {
				continue
			}
			r := &row{w: w, depth: depth}
			for _, t := range p.targets {
				r.cells = append(r.cells, &Cell{Dir: dir + " (" + kind + ")", Workload: w.name, Depth: depth, Daemon: t.name, Peer: t.peer, Bytes: w.bytes})
			}
			f := &Cell{Dir: dir + " (" + kind + ")", Workload: w.name, Depth: depth, Daemon: floorName, Bytes: w.bytes}
			r.cells = append(r.cells, f)
			switch {
			case w.hol && kind == "tmpfs":
				for _, c := range r.cells {
					c.None = "an FSYNC does nothing here"
				}
			case w.floor == nil:
				f.None = "as with one queue"
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// runRow takes one sample of each cell of the row.
func (p plan) runRow(r *row, tr *tree, round int) error {
	for i := range r.cells {
		if round%2 == 1 {
			i = len(r.cells) - 1 - i
		}
		c := r.cells[i]
		if c.None != "" || c.Failed != "" {
			continue
		}
		if i == len(p.targets) {
			s, err := measureFloor(r.w, tr, p.time)
			if err != nil {
				return fmt.Errorf("%s: %w", r.w.name, err)
			}
			c.Samples = append(c.Samples, s)
			continue
		}
		s, err := measureCell(p.targets[i], r.w, r.depth, tr, p.time)
		c.take(s, err)
		if c.Failed != "" {
			p.say("%s failed: %s", c.Daemon, c.Failed)
		}
	}
	return nil
}

// take puts the outcome of a measurement into the cell.
func (c *Cell) take(s Sample, err error) {
	switch {
	case errors.Is(err, errQueues):
		c.None = err.Error()
	case err != nil:
		c.Failed = err.Error()
	default:
		c.Samples = append(c.Samples, s)
	}
}

func targetNames(ts []target) (names []string) {
	for _, t := range ts {
		names = append(names, t.name)
	}
	return names
}
