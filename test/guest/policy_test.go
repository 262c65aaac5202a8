// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"slices"
	"testing"
)

// The tests of docs/sync-write-policy.md in real guests, on hosts that really refuse.

// policyMode is a way to run the daemon. A mode that is added here is tested everywhere.
type policyMode struct {
	name      string   // also of the share
	options   []string // of the share
	pages     string   // --page-cache-size; empty: the default
	writeback bool     // the guest writes later than write(2)
	noPages   bool     // the guest keeps no pages
	mmap      bool     // ... but of what programs have mapped shared: for newKernel, others have no such mapping
	forLong   bool     // the guest believes what it has seen for a day
}

var policyModes = []policyMode{
	{name: "never", options: []string{"cache=never"}, noPages: true},
	{name: "metadata", options: []string{"cache=metadata"}, noPages: true, forLong: true},
	{name: "auto", options: []string{"cache=auto"}},
	{name: "always", options: []string{"cache=always"}, forLong: true},
	{name: "auto-wb", options: []string{"cache=auto", "writeback"}, writeback: true},
	{name: "always-wb", options: []string{"cache=always", "writeback"}, writeback: true, forLong: true},
	{name: "never-wb", options: []string{"cache=never", "writeback"}, noPages: true, writeback: true},
	{name: "metadata-wb", options: []string{"cache=metadata", "writeback"}, noPages: true, writeback: true, forLong: true},
	{name: "never-mmap", options: []string{"cache=never", "allow-mmap"}, noPages: true, mmap: true},
	{name: "metadata-mmap-wb", options: []string{"cache=metadata", "allow-mmap", "writeback"}, noPages: true, mmap: true, writeback: true, forLong: true},
	{name: "auto-tiny", options: []string{"cache=auto"}, pages: "64KiB"},
	{name: "always-none", options: []string{"cache=always"}, pages: "0", forLong: true},
}

// args are the mode's for a daemon with one share.
func (m policyMode) args() (args []string) {
	for _, o := range m.options {
		args = append(args, "--"+o)
	}
	if m.pages != "" {
		args = append(args, "--page-cache-size="+m.pages)
	}
	return args
}

// plainModes are those with pages as by default, each of which asks the daemon for something else.
func plainModes() []policyMode {
	same := func(m policyMode) bool { return m.pages != "" || m.mmap || m.noPages && m.writeback }
	return slices.DeleteFunc(slices.Clone(policyModes), same)
}

// policyKind is a kind of guest for the matrix, with the hosts and modes that it gets; nil: all.
type policyKind struct {
	kind  Kind
	hosts []string
	modes []string
}

// fewHosts are one of each sort.
var fewHosts = []string{"tmpfs", "range"}

func policyKinds() []policyKind {
	if full() {
		return []policyKind{{kind: UML61}, {kind: QEMU72}, {kind: QEMU10}, {kind: UML72}, {kind: QEMU11}}
	}
	return []policyKind{
		{kind: UML61},
		{kind: QEMU72, hosts: fewHosts, modes: []string{"never", "always", "always-wb"}},
		{kind: QEMU10, hosts: fewHosts, modes: []string{"never-mmap", "metadata-mmap-wb"}},
	}
}

// newKernel tells whether the guest knows FUSE_DIRECT_IO_ALLOW_MMAP (Linux 6.6).
func (k Kind) newKernel() bool { return k == QEMU10 || k == QEMU11 || k == UML72 }

// cases are the cells of a mode and a host that this kind gets.
func (k policyKind) cases(m policyMode, h badHost) []policyCase {
	if !chosen(k.hosts, h.name) || m.pages != "" && !full() && !chosen(fewHosts, h.name) {
		return nil
	}
	return policyCases(m, h)
}

func chosen(names []string, name string) bool { return names == nil || slices.Contains(names, name) }

// writer is how a program writes.
type writer string

const (
	buffered writer = "buffered" // write(2)
	mapped   writer = "mapped"   // stores into a shared mapping, and msync(2)
	direct   writer = "direct"   // write(2) with O_DIRECT
)

// shape is a file and a write to it.
type shape struct {
	name  string
	old   int64 // the file's first bytes are old ones
	size  int64 // the file's size: behind the old bytes is a hole
	write span
	room  int // pages that a full host has left
}

// fullShapes are for hosts that are full and spotShapes for those that are not, all at offsets and
// with sizes within pages.
var (
	fullShapes = []shape{
		{"extend", 9426, 9426, span{9126, 29939}, 3},
		{"hole", 9426, 60001, span{12388, 42388}, 3},
		{"no-room", 9426, 60001, span{12388, 42388}, 0},
	}
	spotShapes = []shape{
		{"inside", 40001, 40001, span{5001, 35001}, 0},
		{"over-end", 14001, 14001, span{12001, 35001}, 0},
	}
)

func (s shape) extends() bool { return s.write.end > s.size }

// policyCase is one cell of the matrix.
type policyCase struct {
	mode   policyMode
	host   badHost
	writer writer
	shape  shape
	file   string // name in the host's directory
}

func (c policyCase) String() string { return c.mode.name + "/" + c.host.name + "/" + c.file }

// policyCases are all cells for a mode and a host. A store cannot make a file longer.
func policyCases(m policyMode, h badHost) (cases []policyCase) {
	shapes := spotShapes
	if h.full {
		shapes = fullShapes
	}
	for _, w := range []writer{buffered, mapped, direct} {
		for _, s := range shapes {
			if w != mapped || !s.extends() {
				file := fmt.Sprintf("%s.%s.%s.bad", m.name, w, s.name)
				cases = append(cases, policyCase{m, h, w, s, file})
			}
		}
	}
	return cases
}

// TestPolicyMatrix has programs in a guest write to hosts that refuse, in each cache mode: the error
// must reach the program, and who opens the file afterwards must read what the host holds.
func TestPolicyMatrix(t *testing.T) {
	needRoot(t)
	for _, k := range policyKinds() {
		t.Run(string(k.kind), k.run)
	}
}

func (k policyKind) run(t *testing.T) {
	root := t.TempDir()
	hosts := badHosts(t, root)
	modes := slices.DeleteFunc(slices.Clone(policyModes), func(m policyMode) bool {
		return !chosen(k.modes, m.name) || m.mmap && !k.kind.newKernel()
	})
	spec := Spec{Kind: k.kind}
	for _, m := range modes {
		d := serve(t, DaemonSpec{Shared: root, Tag: m.name, Args: append(m.args(), k.faults(m, hosts)...), Race: true})
		spec.Shares = append(spec.Shares, Share{d.Socket, m.name, 1})
	}
	g := boot(t, spec)
	for _, m := range modes {
		g.mount(m.name)
		for _, h := range hosts {
			if cases := k.cases(m, h); cases != nil {
				t.Run(m.name+"/"+h.name, func(t *testing.T) { runPolicyCases(g.on(t), root, cases) })
			}
		}
	}
}

// faults are the arguments that make the hosts bad for a daemon of a mode.
func (k policyKind) faults(m policyMode, hosts []badHost) (args []string) {
	for _, h := range hosts {
		var files []string
		for _, c := range k.cases(m, h) {
			files = append(files, c.file)
		}
		for _, rule := range h.rules(files) {
			args = append(args, "--fault", rule)
		}
	}
	return args
}
