// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string  // of a build's output, instead of Package
	Test       string  // "" for the package itself
	Elapsed    float64 // seconds
	Output     string
}

// result is what is known of one test.
type result struct {
	pkg, test string
	begun     time.Time
	elapsed   time.Duration
	state     string // "run", then "pass", "fail" or "skip"
	output    []string
}

// report gathers results and prints them.
type report struct {
	w       io.Writer
	allowed []skip
	tests   map[[2]string]*result
	ran     map[string]int // tests that passed or failed, by package
	skipped int            // with leave
	broken  []string       // what is wrong, beside tests that fail
}

func newReport(w io.Writer, allowed []skip) *report {
	return &report{w: w, allowed: allowed, tests: map[[2]string]*result{}, ran: map[string]int{}}
}

// heartbeat is how often tests in progress are named.
const heartbeat = time.Minute

// read takes in the output of one go test -json. An error is one of reading.
func (r *report) read(in io.Reader) error {
	lines := make(chan []byte)
	ended := make(chan error, 1)
	go func() {
		defer close(lines)
		b := bufio.NewReader(in)
		for {
			l, err := b.ReadBytes('\n')
			if len(l) > 0 {
				lines <- l
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				if err := <-ended; err != io.EOF {
					return fmt.Errorf("reading the tests' output: %w", err)
				}
				return nil
			}
			r.line(l)
		case <-tick.C:
			r.inProgress(time.Now())
		}
	}
}

// line takes in a line of go test -json.
func (r *report) line(l []byte) {
	var e event
	if json.Unmarshal(l, &e) != nil {
		fmt.Fprintf(r.w, "%s", l) // go itself said something
		return
	}
	r.take(e)
}

// inProgress names the tests that have run for a whole heartbeat.
func (r *report) inProgress(now time.Time) {
	for _, t := range r.sorted() {
		if d := now.Sub(t.begun); t.test != "" && t.state == "run" && d >= heartbeat {
			fmt.Fprintf(r.w, "     %s %s: running for %v\n", short(t.pkg), t.test, d.Round(time.Second))
		}
	}
}

// take takes in one event.
func (r *report) take(e event) {
	if e.Action == "build-output" {
		fmt.Fprint(r.w, e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	key := [2]string{e.Package, e.Test}
	t := r.tests[key]
	if t == nil {
		t = &result{pkg: e.Package, test: e.Test, state: "run", begun: time.Now()}
		r.tests[key] = t
	}
	switch e.Action {
	case "output":
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		t.state, t.elapsed = e.Action, time.Duration(e.Elapsed*float64(time.Second))
		if e.Test == "" {
			r.packageEnds(t)
		} else {
			r.testEnds(t)
		}
	}
}

func (r *report) testEnds(t *result) {
	switch t.state {
	case "skip":
		if reason := reasonFor(r.allowed, t.pkg, t.test); reason != "" {
			r.skipped++
			fmt.Fprintf(r.w, "skip %s %s: %s\n", short(t.pkg), t.test, reason)
			return
		}
		r.wrong("%s %s was skipped and is not in test/skips.txt:\n%s", short(t.pkg), t.test, strings.Join(t.output, ""))
	case "fail":
		r.ran[t.pkg]++
		fmt.Fprintf(r.w, "FAIL %s %s\n%s", short(t.pkg), t.test, strings.Join(t.output, ""))
	default:
		r.ran[t.pkg]++
	}
	t.output = nil
}

func (r *report) packageEnds(t *result) {
	switch {
	case t.state == "fail":
		fmt.Fprintf(r.w, "FAIL %s\n%s", short(t.pkg), strings.Join(t.output, ""))
	case r.ran[t.pkg] > 0:
		fmt.Fprintf(r.w, "ok   %s: %d tests, %.1f s\n", short(t.pkg), r.ran[t.pkg], t.elapsed.Seconds())
	}
	t.output = nil
}

// exit takes in how go test ended.
func (r *report) exit(err error) {
	if err != nil && r.failed() == 0 {
		r.wrong("go test ended with %v, though no test failed", err)
	}
}

// wrong notes something that makes the whole run fail.
func (r *report) wrong(format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	r.broken = append(r.broken, text)
	fmt.Fprintln(r.w, "FAIL", text)
}

// failed counts the tests that failed or never ended, and the packages that did so without a test
// to blame: they did not compile, or crashed.
func (r *report) failed() int {
	n := 0
	blamed := map[string]bool{}
	for _, t := range r.tests {
		if t.test != "" && (t.state == "fail" || t.state == "run") {
			blamed[t.pkg] = true
			n++
		}
	}
	for _, t := range r.tests {
		if t.test == "" && !blamed[t.pkg] && (t.state == "fail" || t.state == "run") {
			n++
		}
	}
	return n
}

// finish prints the summary, and tells whether all is well. packages are all that should have run.
func (r *report) finish(packages []string, took time.Duration) bool {
	passed := 0
	for _, t := range r.sorted() {
		switch {
		case t.state == "run":
			fmt.Fprintf(r.w, "FAIL %s %s did not end\n%s", short(t.pkg), t.test, strings.Join(t.output, ""))
		case t.state == "pass" && t.test != "":
			passed++
		}
	}
	for _, p := range packages {
		if reason := reasonFor(r.allowed, p, noTests); r.ran[p] == 0 && reason == "" {
			r.wrong("%s ran no test and is not in test/skips.txt", short(p))
		} else if r.ran[p] > 0 && reason != "" {
			r.wrong("%s has tests now: take it out of test/skips.txt", short(p))
		}
	}
	if passed == 0 {
		r.wrong("no test passed at all")
	}
	r.slowest(10)
	failed := r.failed()
	for _, b := range r.broken {
		fmt.Fprintln(r.w, "not as it should be:", b)
	}
	fmt.Fprintf(r.w, "took %v\n%d passed, %d failed, %d skipped\n", took.Round(time.Second), passed, failed+len(r.broken), r.skipped)
	return failed == 0 && len(r.broken) == 0
}

// sorted are the results in order of package and test.
func (r *report) sorted() []*result {
	var all []*result
	for _, t := range r.tests {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *result) int {
		return cmp.Or(cmp.Compare(a.pkg, b.pkg), cmp.Compare(a.test, b.test))
	})
	return all
}

// slowest prints the n slowest tests, without those that only have subtests to wait for.
func (r *report) slowest(n int) {
	parents := map[[2]string]bool{}
	for k := range r.tests {
		if i := strings.LastIndex(k[1], "/"); i >= 0 {
			parents[[2]string{k[0], k[1][:i]}] = true
		}
	}
	var leaves []*result
	for _, t := range r.sorted() {
		if t.test != "" && !parents[[2]string{t.pkg, t.test}] {
			leaves = append(leaves, t)
		}
	}
	slices.SortStableFunc(leaves, func(a, b *result) int { return cmp.Compare(b.elapsed, a.elapsed) })
	fmt.Fprintf(r.w, "== the slowest tests\n")
	for _, t := range leaves[:min(n, len(leaves))] {
		fmt.Fprintf(r.w, "%8.2f s  %s %s\n", t.elapsed.Seconds(), short(t.pkg), t.test)
	}
}

// short is a package's folder in the repository.
func short(pkg string) string {
	if s, ok := strings.CutPrefix(pkg, module+"/"); ok {
		return s
	}
	return pkg
}
