// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// dirScript reads a directory with READDIRPLUS, 4 KiB a request as Linux does, again and again. An
// operation is one request. One slot only.
type dirScript struct {
	names
	fh     uint64
	off    uint64
	forget bool // every entry at once, so that each is new the next time
	seen   []bool
	found  int
	buf    [blockSize]byte
}

// openDir opens the directory. With forget off all its entries are known from then on.
func openDir(s *session, c *frontend.Client, forget bool) (*dirScript, error) {
	n, err := openNames(s, c, !forget)
	if err != nil {
		return nil, err
	}
	o, errno := c.OpenDir(n.dir)
	if errno != 0 {
		return nil, fmt.Errorf("OPENDIR: %w", errno)
	}
	return &dirScript{names: n, fh: o.Fh, forget: forget, seen: make([]bool, len(s.tree.names))}, nil
}

func (d *dirScript) first(*slot) frontend.Message {
	m := frontend.ReadMessage(d.dir, d.fh, d.off, blockSize)
	m.Op = frontend.OpReaddirplus
	return m
}

func (d *dirScript) next(_ *slot, r reply) (m frontend.Message, more bool, err error) {
	if r.errno != 0 {
		return m, false, fmt.Errorf("READDIRPLUS: %w", r.errno)
	}
	r.p.Read(d.buf[:r.size], replyHeader)
	entries, err := frontend.ParseDir(d.buf[:r.size], true)
	if err != nil {
		return m, false, fmt.Errorf("READDIRPLUS: %w", err)
	}
	if len(entries) == 0 {
		return m, false, d.wrap()
	}
	var gone []frontend.Forgotten
	for i := range entries {
		e := &entries[i]
		d.off = e.Off
		if e.Name == "." || e.Name == ".." {
			continue
		}
		if err := d.entry(e); err != nil {
			return m, false, err
		}
		gone = append(gone, frontend.Forgotten{Node: e.Entry.NodeId, Lookups: 1})
	}
	if d.forget && len(gone) > 0 {
		d.c.Later(frontend.BatchForgetMessage(gone...))
	}
	return m, false, nil
}

// entry checks one entry.
func (d *dirScript) entry(e *frontend.DirEntry) error {
	digits, ok := strings.CutPrefix(e.Name, "name-")
	i, err := strconv.Atoi(digits)
	if !ok || err != nil || i >= len(d.seen) || d.seen[i] {
		return fmt.Errorf("READDIRPLUS: entry %q, which is strange here or comes twice", e.Name)
	}
	d.seen[i] = true
	d.found++
	if !d.forget && e.Entry.NodeId != d.nodes[i] {
		return fmt.Errorf("READDIRPLUS: %s is node %d, was %d", e.Name, e.Entry.NodeId, d.nodes[i])
	}
	return d.check("READDIRPLUS", int64(i), &e.Entry.Attr)
}

// wrap starts anew at the directory's end.
func (d *dirScript) wrap() error {
	if d.found != len(d.seen) {
		return fmt.Errorf("READDIRPLUS: %d entries, want %d", d.found, len(d.seen))
	}
	clear(d.seen)
	d.found, d.off = 0, 0
	return nil
}
