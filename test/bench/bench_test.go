// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRun is a short run of everything against the daemon of this repository, with itself under
// other options as its peer: the figures make sense, and the table, the plot and the file hold them.
func TestRun(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "virtiofsd-go")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/virtiofsd-go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	o := options{
		workloads: "all", daemons: []string{"ours", "ours --cache never"}, reference: "ours --cache never", binary: bin,
		dirs: []string{t.TempDir()}, rounds: 2, time: 20 * time.Millisecond, size: 8, out: t.TempDir(),
	}
	p, err := o.plan(flags(&options{}))
	if err != nil {
		t.Fatal(err)
	}
	p.syscalls = true // test/setup has installed strace
	p.names, p.depths, p.say = 128, []int{1, 4, 32}, t.Logf
	var ws []workload
	for _, w := range workloads {
		if w.bytes < mib { // 32 MiB in flight need larger files
			ws = append(ws, w)
		}
	}
	p.workloads = ws
	if err := o.bench(p); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(o.out, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r Result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	checkResult(t, &r, ws)
	checkFiles(t, o.out, ws)
}

func checkResult(t *testing.T, r *Result, ws []workload) {
	t.Helper()
	seen := map[string]int{}
	var kicks, waits, signals float64 // the counters count: one cell may do without
	for _, c := range r.Cells {
		seen[c.Workload]++
		if len(c.Samples) != r.Rounds && c.None == "" {
			t.Errorf("%s %d, %s: %d samples", c.Workload, c.Depth, c.Daemon, len(c.Samples))
		}
		for _, s := range c.Samples {
			checkSample(t, c, s)
			kicks, waits, signals = kicks+s.Kicks, waits+s.Waits, signals+s.Signals
		}
	}
	if kicks == 0 || waits == 0 || signals == 0 {
		t.Errorf("in all: %v kicks, %v waits, %v signals", kicks, waits, signals)
	}
	checkCalls(t, r)
	for _, w := range ws {
		if seen[w.name]%3 != 0 || seen[w.name] == 0 {
			t.Errorf("%s has %d cells", w.name, seen[w.name])
		}
	}
}

// checkCalls looks at the system calls that the daemon cannot do without.
func checkCalls(t *testing.T, r *Result) {
	t.Helper()
	needs := map[string]string{"getattr": "statx", "lookup": "openat2", "smallfile": "unlinkat", "randwrite4k": "pwritev2"}
	for _, c := range r.Cells {
		need := needs[c.Workload]
		if need == "" || c.Daemon == floorName {
			continue
		}
		if n := c.Calls[need]; n < 0.9 || n > 3 || c.calls() < n {
			t.Errorf("%s %d, %s: %.2f %s per operation of %v", c.Workload, c.Depth, c.Daemon, n, need, c.Calls)
		}
	}
}

func checkSample(t *testing.T, c *Cell, s Sample) {
	t.Helper()
	bad := s.Ops < 1 || s.Seconds <= 0 || s.P50 <= 0 || s.P50 > s.P99 || s.P99 > s.P999 || math.IsNaN(s.CPU)
	if c.Daemon != floorName {
		bad = bad || s.Kicks > 8 || s.Signals > 8 || s.Anon < 0.5 || s.Anon > s.RSS || s.Ready <= 0
	}
	if c.Workload != "behind-fsync" { // where it may not be told
		bad = bad || s.CPU <= 0
	}
	if bad {
		t.Errorf("%s %d, %s: %+v", c.Workload, c.Depth, c.Daemon, s)
	}
}

func checkFiles(t *testing.T, dir string, ws []workload) {
	t.Helper()
	table, err := os.ReadFile(filepath.Join(dir, "bench.txt"))
	if err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "bench.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		if !bytes.Contains(table, []byte("\n"+w.name+" ")) || !bytes.Contains(svg, []byte(">"+w.name+" ")) {
			t.Errorf("%s is not in the table or not in the plot", w.name)
		}
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("bench.svg: %v", err)
		}
	}
}

func TestStamps(t *testing.T) {
	b := make([]byte, 3*blockSize)
	fill(b)
	setStamps(b, writeFile, 8*blockSize, 7)
	if err := check(b, writeFile, 8*blockSize, 7, true); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"file", check(b, readFile, 8*blockSize, 7, false)},
		{"place", check(b, writeFile, 9*blockSize, 7, false)},
		{"generation", check(b, writeFile, 8*blockSize, 6, false)},
		{"length", check(b[:100], writeFile, 8*blockSize, 7, false)},
	} {
		if tt.err == nil {
			t.Errorf("another %s passes", tt.name)
		}
	}
	for i := range b {
		b[i] ^= 0x10
		if check(b, writeFile, 8*blockSize, 7, true) == nil {
			t.Fatalf("a changed byte %d passes", i)
		}
		b[i] ^= 0x10
	}
}

func TestScatter(t *testing.T) {
	for _, n := range []int64{64, 1024, 8192} {
		seen := make([]bool, n)
		for i := range n {
			b := scatter(i+5*n+3, n)
			if b < 0 || b >= n || seen[b] {
				t.Fatalf("%d blocks: block %d comes twice or is none", n, b)
			}
			seen[b] = true
		}
	}
}

func cell(daemon string, peer bool, cpus ...float64) *Cell {
	c := &Cell{Workload: "w", Daemon: daemon, Peer: peer}
	for _, v := range cpus {
		c.Samples = append(c.Samples, Sample{Ops: 10, Seconds: 1, CPU: v})
	}
	return c
}

func TestRatios(t *testing.T) {
	ours, slow, fast := cell("ours", false, 1, 4, 9), cell("slow", true, 20, 20, 20), cell("fast", true, 2, 2, 3)
	other := &Cell{Workload: "v", Daemon: "ours"}
	floor := cell(floorName, false, 0.1, 0.1, 0.1)
	r := Result{Cells: []*Cell{ours, slow, fast, floor, other}}
	gs := r.groups()
	if len(gs) != 2 || gs[0].ref != fast || gs[1].ref != nil {
		t.Fatalf("groups: %+v", gs)
	}
	if got := gs[0].ratio(ours, cpu); got != 2 { // of 0.5, 2 and 3
		t.Errorf("ratio %v, want 2", got)
	}
	if got := gs[1].ratio(other, cpu); !math.IsNaN(got) {
		t.Errorf("ratio without a peer: %v", got)
	}
	r.reference = "slow"
	if got := r.groups()[0].ref; got != slow {
		t.Errorf("the reference is %v", got)
	}
	if got := quantile([]uint32{1000, 2000, 3000, 4000}, 0.5); got != 3 {
		t.Errorf("median of four: %v", got)
	}
	if got := median([]float64{4, math.NaN(), 1, 3, 2}); got != 2.5 {
		t.Errorf("median %v", got)
	}
}

// TestWithin: a daemon's reads behind an FSYNC and over four queues are held against its own.
func TestWithin(t *testing.T) {
	depth := 32
	one := func(workload, daemon string, p50 float64, ops int) *Cell {
		return &Cell{Workload: workload, Depth: depth, Daemon: daemon, Samples: []Sample{{Ops: ops, Seconds: 1, P50: p50}}}
	}
	r := Result{Cells: []*Cell{
		one("randread4k", "a", 10, 100), one("randread4k", "b", 20, 100),
		one("behind-fsync", "a", 25, 1), one("behind-fsync", "b", 20, 1), one("behind-fsync", "c", 20, 1),
		one("randread4k-4q", "a", 0, 150),
	}}
	depth = 128
	r.Cells = append(r.Cells, one("randread4k-4q", "a", 0, 400))
	var b strings.Builder
	r.within(&b)
	for _, want := range []string{"p50 of a is 2.50 times", "p50 of b is 1.00 times", "ops/s of a is 1.50 times", "ops/s of a is 4.00 times that of its randread4k 32"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "of c") {
		t.Errorf("a ratio to what was not measured:\n%s", b.String())
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 1.234: "1.23", 9.996: "10.0", 54.32: "54.3", 99.96: "100", 54321: "54321", 123456: "123k"} {
		if got := number(v); got != want {
			t.Errorf("%v is printed as %q, want %q", v, got, want)
		}
	}
	if got := number(math.NaN()); got != "" {
		t.Errorf("nothing is printed as %q", got)
	}
}

func TestParseCalls(t *testing.T) {
	calls, err := parseCalls("    calls syscall\n--------- ----------------\n      120 preadv2\n       30 write\n--------- ----------------\n      150 total\n")
	if err != nil || len(calls) != 2 || calls["preadv2"] != 120 || calls["write"] != 30 {
		t.Errorf("got %v, %v", calls, err)
	}
	for _, text := range []string{"", "what is this\n", "x y\n"} {
		if _, err := parseCalls(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--workloads", "randread4k,nothing"}, {"--rounds", "0"}, {"--time", "1us"}, {"--size", "48"}, {"randread4k"},
	} {
		var o options
		fs := flags(&o)
		if err := fs.Parse(args); err != nil {
			t.Fatal(err)
		}
		if _, err := o.plan(fs); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	for _, list := range [][]string{{"nobody"}, {""}, {"ours"}} {
		if _, _, err := findTargets(list, "/nonexistent/virtiofsd-go", "", false, t.Logf); err == nil {
			t.Errorf("daemons %q are taken", list)
		}
	}
}

// TestPeerMissing: what cannot be had is said, and is no line of the table.
func TestPeerMissing(t *testing.T) {
	r := Result{Daemons: []Daemon{{Name: "rust", Missing: "no archive"}}}
	var b strings.Builder
	r.table(&b)
	if !strings.Contains(b.String(), "rust: NOT MEASURED: no archive") {
		t.Errorf("the table does not say so:\n%s", b.String())
	}
	c := &Cell{}
	c.take(Sample{}, errQueues)
	if c.None == "" || c.Failed != "" {
		t.Errorf("too few queues: %+v", c)
	}
	c.take(Sample{}, errors.New("dead"))
	if c.Failed != "dead" {
		t.Errorf("a failure: %+v", c)
	}
}
