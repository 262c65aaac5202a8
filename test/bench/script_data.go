// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// dataScript reads and writes a file in units, in order or scattered.
type dataScript struct {
	t        *tree
	file     uint8
	node, fh uint64
	unit     int64
	units    int64 // of the file that are used
	scatter  bool
	writes   int // of ten operations; the others read

	at, step int64 // next operation's number; several clients interleave theirs
	buf      []byte
	gen      *uint32 // of the latest write
}

// dataSpec is what of a dataScript depends on the workload.
type dataSpec struct {
	file    uint8
	unit    int64
	scatter bool
	writes  int
	part    int64 // use only the first 1/part of the file; 0: all
}

// openData opens the file of a workload.
func openData(s *session, c *frontend.Client, spec dataSpec) (*dataScript, error) {
	d := &dataScript{t: s.tree, file: spec.file, unit: spec.unit, scatter: spec.scatter, writes: spec.writes, step: 1, gen: &s.tree.gen}
	d.units = s.tree.size / max(spec.part, 1) / spec.unit
	if d.units < 2*int64(s.depth) {
		return nil, fmt.Errorf("files of %d bytes are too small for %d operations of %d bytes in flight", s.tree.size, s.depth, spec.unit)
	}
	if spec.writes > 0 {
		d.buf = make([]byte, spec.unit)
		fill(d.buf)
	}
	e, errno := c.Lookup(frontend.RootID, fileNames[spec.file])
	if errno != 0 {
		return nil, fmt.Errorf("LOOKUP of %s: %w", fileNames[spec.file], errno)
	}
	o, errno := c.Open(e.NodeId, unix.O_RDWR)
	if errno != 0 {
		return nil, fmt.Errorf("OPEN of %s: %w", fileNames[spec.file], errno)
	}
	d.node, d.fh = e.NodeId, o.Fh
	return d, nil
}

func (d *dataScript) first(s *slot) frontend.Message {
	n := d.at
	d.at += d.step
	if d.scatter {
		s.block = scatter(n, d.units)
	} else {
		s.block = n % d.units
	}
	s.count++
	off := s.block * d.unit
	if s.step = 0; n%10 >= int64(d.writes) {
		return frontend.ReadMessage(d.node, d.fh, uint64(off), int(d.unit))
	}
	*d.gen++
	s.step, s.gen = 1, *d.gen
	setStamps(d.buf, d.file, off, s.gen)
	return frontend.WriteMessage(d.node, d.fh, uint64(off), d.buf)
}

func (d *dataScript) next(s *slot, r reply) (m frontend.Message, more bool, err error) {
	off := s.block * d.unit
	if s.step == 0 {
		return m, false, r.checkPages(int(d.unit), d.file, off, d.genOf, s.count%16 == 0)
	}
	var out fuse.WriteOut
	if err := body(r, "WRITE", &out); err != nil {
		return m, false, err
	}
	if int64(out.Size) != d.unit {
		return m, false, fmt.Errorf("WRITE: %d bytes, want %d", out.Size, d.unit)
	}
	for b := off / blockSize; b < (off+d.unit)/blockSize; b++ {
		d.t.gens[b] = s.gen
	}
	return m, false, nil
}

// genOf is the generation that a block must have.
func (d *dataScript) genOf(block int64) uint32 {
	if d.file == writeFile {
		return d.t.gens[block]
	}
	return 0
}
