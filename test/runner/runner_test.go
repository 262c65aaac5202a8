// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// p is the package of the events below.
const p = module + "/p"

// TestReport feeds in outputs of go test -json, cut down to what counts.
func TestReport(t *testing.T) {
	const (
		passA   = `{"Action":"run","Package":"` + p + `","Test":"TestA"}` + "\n" + `{"Action":"pass","Package":"` + p + `","Test":"TestA","Elapsed":1.5}` + "\n"
		failB   = `{"Action":"output","Package":"` + p + `","Test":"TestB","Output":"b is broken\n"}` + "\n" + `{"Action":"fail","Package":"` + p + `","Test":"TestB"}` + "\n"
		skipC   = `{"Action":"output","Package":"` + p + `","Test":"TestC","Output":"no disk\n"}` + "\n" + `{"Action":"skip","Package":"` + p + `","Test":"TestC"}` + "\n"
		hangD   = `{"Action":"run","Package":"` + p + `","Test":"TestD"}` + "\n" + `{"Action":"output","Package":"` + p + `","Test":"TestD","Output":"panic: d\n"}` + "\n"
		pkgPass = `{"Action":"pass","Package":"` + p + `","Elapsed":2}` + "\n"
		pkgFail = `{"Action":"fail","Package":"` + p + `","Elapsed":2}` + "\n"
		pkgNone = `{"Action":"skip","Package":"` + p + `"}` + "\n"
		build   = `{"ImportPath":"` + p + `","Action":"build-output","Output":"x.go:1: syntax error\n"}` + "\n"
	)
	for _, tt := range []struct {
		name, skips, stream string
		ok                  bool
		want                []string
		last                string
	}{
		{"all pass", "", passA + pkgPass, true, []string{"ok   p: 1 tests, 2.0 s", "    1.50 s  p TestA"}, "1 passed, 0 failed, 0 skipped"},
		{"one fails", "", passA + failB + pkgFail, false, []string{"FAIL p TestB", "b is broken"}, "1 passed, 1 failed, 0 skipped"},
		{"skip without leave", "", passA + skipC + pkgPass, false, []string{"p TestC was skipped and is not in test/skips.txt", "no disk"}, "1 passed, 1 failed, 0 skipped"},
		{"skip with leave", "p TestC needs a disk", passA + skipC + pkgPass, true, []string{"skip p TestC: needs a disk"}, "1 passed, 0 failed, 1 skipped"},
		{"leave for another", "q TestC needs a disk\np TestCC needs a disk", passA + skipC + pkgPass, false, nil, "1 passed, 1 failed, 0 skipped"},
		{"only skips", "p TestC needs a disk", skipC + pkgPass, false, []string{"p ran no test", "no test passed at all"}, "0 passed, 2 failed, 1 skipped"},
		{"no test files", "", pkgNone, false, []string{"p ran no test"}, "0 passed, 2 failed, 0 skipped"},
		{"tests where none are expected", "p - only a helper", passA + pkgPass, false, []string{"p has tests now"}, "1 passed, 1 failed, 0 skipped"},
		{"crash", "", passA + hangD + pkgFail, false, []string{"FAIL p TestD did not end", "panic: d"}, "1 passed, 1 failed, 0 skipped"},
		{"does not compile", "", build + pkgFail, false, []string{"x.go:1: syntax error", "FAIL p"}, "0 passed, 3 failed, 0 skipped"},
		{"silence", "", "", false, []string{"p ran no test"}, "0 passed, 2 failed, 0 skipped"},
		{"words of go itself", "", "go: warning\n" + passA + pkgPass, true, []string{"go: warning"}, "1 passed, 0 failed, 0 skipped"},
		{"last line without its end", "", strings.TrimSuffix(passA+pkgPass, "\n"), true, nil, "1 passed, 0 failed, 0 skipped"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := parseSkips(tt.skips)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			r := newReport(&out, list)
			if err := r.read(strings.NewReader(tt.stream)); err != nil {
				t.Fatal(err)
			}
			if ok := r.finish([]string{p}, time.Second); ok != tt.ok {
				t.Errorf("all is well: %v, want %v", ok, tt.ok)
			}
			for _, w := range tt.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("%q is not in the output", w)
				}
			}
			if !strings.HasSuffix(out.String(), "\n"+tt.last+"\n") {
				t.Errorf("the closing line is not %q", tt.last)
			}
			if t.Failed() {
				t.Logf("output:\n%s", out.String())
			}
		})
	}
}

func TestTenSlowest(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out, nil)
	for i, name := range strings.Fields("TestA TestB TestC TestD TestE TestF TestG TestH TestI TestJ TestK TestL TestL/sub") {
		r.take(event{Action: "pass", Package: p, Test: name, Elapsed: float64(i)})
	}
	r.finish([]string{p}, 0)
	_, list, _ := strings.Cut(out.String(), "== the slowest tests\n")
	got := strings.Split(list, "\n")[:11]
	if !strings.HasSuffix(got[0], "TestL/sub") || !strings.HasSuffix(got[1], "TestK") || !strings.HasSuffix(got[9], "TestC") || !strings.HasPrefix(got[10], "took") {
		t.Errorf("want TestL/sub (not TestL, which contains it), TestK ... TestC:\n%s", list)
	}
}

func TestInProgress(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out, nil)
	r.take(event{Action: "run", Package: p, Test: "TestSlow"})
	r.take(event{Action: "run", Package: p, Test: "TestDone"})
	r.take(event{Action: "pass", Package: p, Test: "TestDone"})
	r.inProgress(time.Now())
	if out.Len() != 0 {
		t.Errorf("printed at once: %q", out.String())
	}
	out.Reset()
	r.inProgress(time.Now().Add(2 * heartbeat))
	if got := out.String(); !strings.HasPrefix(got, "     p TestSlow: running for 2m0") || strings.Contains(got, "TestDone") {
		t.Errorf("printed %q, want TestSlow's time", got)
	}
}

func TestParseSkipsMistakes(t *testing.T) {
	for _, text := range []string{"p", "p TestA", "p TestA why", "[ TestA two words", "p [ two words"} {
		if _, err := parseSkips(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	if l, err := parseSkips("# comment\n\n p  TestA/x*  two words \n"); err != nil || len(l) != 1 || l[0] != (skip{"p", "TestA/x*", "two words"}) {
		t.Errorf("got %v, %v", l, err)
	}
}

func TestSplit(t *testing.T) {
	together, last := split([]string{module, module + "/a", module + "/test/guest", module + "/test/guest/x", module + "/test/guests"},
		[]string{"test/guest", ""})
	if len(together) != 3 || len(last) != 2 || last[1] != module+"/test/guest/x" {
		t.Errorf("together %v, alone %v", together, last)
	}
}

// The repository's own list can be read.
func TestSkipsFile(t *testing.T) {
	text, err := os.ReadFile("../skips.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseSkips(string(text)); err != nil {
		t.Error(err)
	}
}

// What go really prints is understood: a module of three packages, run for real.
func TestRunForReal(t *testing.T) {
	files := map[string]string{
		"go.mod":          "module " + module + "\n\ngo 1.26\n",
		"good/a_test.go":  "package good\nimport \"testing\"\nfunc TestGood(t *testing.T) {}\nfunc TestLeftOut(t *testing.T) { t.Skip() }\n",
		"bad/a_test.go":   "package bad\nimport \"testing\"\nfunc TestBad(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { t.Error(\"wrong\") }) }\n",
		"crash/a_test.go": "package crash\nimport (\"os\"; \"testing\")\nfunc TestCrash(t *testing.T) { os.Exit(3) }\n",
		"none/a.go":       "package none\n",
		"wont/a_test.go":  "package wont\nfunc x() { y() }\n",
		"skips.txt":       "good TestLeftOut left out on purpose\nnone - nothing to test\n",
	}
	t.Chdir(t.TempDir())
	for name, text := range files {
		os.MkdirAll(filepath.Dir(name), 0o755)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOWORK", "off")
	for _, tt := range []struct {
		packages []string
		ok       bool
	}{
		{[]string{"./good", "./none"}, true}, {[]string{"./bad"}, false}, {[]string{"./good", "./crash"}, false},
		{[]string{"./good", "./wont"}, false}, {[]string{"./none"}, false},
	} {
		if ok, err := run("skips.txt", nil, false, tt.packages); err != nil || ok != tt.ok {
			t.Errorf("%v: %v, %v; want %v", tt.packages, ok, err, tt.ok)
		}
	}
	if _, err := run("skips.txt", nil, false, []string{"./missing"}); err == nil {
		t.Error("a package that does not exist: no error")
	}
	if _, err := run("no such file", nil, false, []string{"./good"}); err == nil {
		t.Error("without a list of skips: no error")
	}
}
