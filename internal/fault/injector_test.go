// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

func newInjector(t testing.TB, rules ...string) *Injector {
	t.Helper()
	var parsed []Rule
	for _, r := range rules {
		parsed = append(parsed, mustParse(t, r))
	}
	j := New(parsed, zap.NewNop())
	t.Cleanup(j.Close)
	return j
}

func at(path string) func() []string { return func() []string { return []string{path} } }

// ask is Before without a cancel, and with the errno as such.
func ask(t testing.TB, j *Injector, op string, off, n int64, path string) (int64, syscall.Errno) {
	t.Helper()
	limit, err := j.Before(op, off, n, nil, at(path))
	if err == nil {
		return limit, 0
	}
	e, ok := err.(syscall.Errno)
	if !ok {
		t.Fatalf("%T, want a bare errno", err)
	}
	return limit, e
}

// Which of ten calls are hit.
func TestChoice(t *testing.T) {
	for rule, want := range map[string]string{
		"write error=EIO":                       "1 2 3 4 5 6 7 8 9 10",
		"write nth=3 error=EIO":                 "3",
		"write nth=3-5 error=EIO":               "3 4 5",
		"write nth=8- error=EIO":                "8 9 10",
		"write every=3 error=EIO":               "3 6 9",
		"write p=1 error=EIO":                   "1 2 3 4 5 6 7 8 9 10",
		"write p=0.3 error=EIO":                 "9",
		"write p=0.3 seed=3 error=EIO":          "1 4 5 7",
		"write p=1e-9 error=EIO":                "",
		"write p=0.3 seed=4711 delay=1ns":       "",
		"read error=EIO":                        "",
		"any nth=2 error=EIO":                   "2",
		"fsync,write path=/f nth=2 error=EIO":   "2",
		"write path=/g error=EIO":               "",
		"write range=4K+ nth=4- error=EIO":      "5 6 7 8 9 10", // the first byte of the range is the second call's
		"write range=8K+1 error=EIO":            "3",
		"write range=8191+2 short=1 error=EIO":  "2 3", // no bad spot: any overlap counts
		"write range=8191+1 error=EIO":          "",    // only ever cut short ahead of it
		"write range=8191+4098 nth=2 error=EIO": "4",   // that of the second call is not counted
	} {
		j := newInjector(t, rule)
		var got []string
		for i := range 10 {
			if _, e := ask(t, j, "write", int64(i)*4096, 4096, "/f"); e != 0 {
				got = append(got, fmt.Sprint(i+1))
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: calls %s are hit, want %s", rule, s, want)
		}
	}
}

// Two injectors with the same seed hit the same calls, about as many as the probability says, and
// other seeds others.
func TestProbability(t *testing.T) {
	hits := func(rule string) (all []int) {
		j := newInjector(t, rule)
		for i := range 10000 {
			if _, e := ask(t, j, "fsync", 0, 0, "/f"); e != 0 {
				all = append(all, i)
			}
		}
		return all
	}
	one := hits("fsync p=0.2 seed=42 error=EIO")
	if !slices.Equal(one, hits("fsync p=0.2 seed=42 error=EIO")) {
		t.Error("the same seed chooses other calls")
	}
	if slices.Equal(one, hits("fsync p=0.2 seed=43 error=EIO")) {
		t.Error("another seed chooses the same calls")
	}
	if n := len(one); n < 1850 || n > 2150 { // 2000, with a standard deviation of 40
		t.Errorf("%d of 10000 calls are hit with p=0.2", n)
	}
}

func TestOutcomes(t *testing.T) {
	for _, tt := range []struct {
		rule  string
		op    string
		off   int64
		n     int64
		limit int64
		errno syscall.Errno
	}{
		{"write error=ENOSPC", "write", 0, 100, 0, unix.ENOSPC},
		{"write short=10", "write", 0, 100, 10, 0},
		{"write short=1000", "write", 0, 100, 100, 0},
		{"write short=0", "write", 0, 100, 0, 0},
		{"write short=10 error=EIO", "write", 0, 100, 10, unix.EIO},
		{"write delay=1ns", "write", 0, 100, 100, 0},
		{"write delay=1ns error=EIO", "write", 0, 100, 0, unix.EIO},
		{"fsync error=EIO", "fsync", 0, 0, 0, unix.EIO},
		{"fsync delay=1ns", "fsync", 0, 0, 0, 0},
		{"any error=EIO", "removexattr", 0, 0, 0, unix.EIO},
		{"any error=EIO", "no such operation", 0, 7, 7, 0},
		// A bad spot.
		{"read range=100+50 error=EIO", "read", 0, 100, 100, 0},
		{"read range=100+50 error=EIO", "read", 0, 101, 100, 0},
		{"read range=100+50 error=EIO", "read", 99, 1000, 1, 0},
		{"read range=100+50 error=EIO", "read", 100, 1, 0, unix.EIO},
		{"read range=100+50 error=EIO", "read", 149, 10, 0, unix.EIO},
		{"read range=100+50 error=EIO", "read", 150, 10, 10, 0},
		{"copy range=100+50 error=EIO", "copy", 90, 100, 10, 0},
		{"write range=100+50 short=5", "write", 90, 100, 5, 0},
		{"write range=100+50 delay=1ns", "write", 90, 100, 100, 0},
		// No count to cut.
		{"fallocate range=100+50 error=EIO", "fallocate", 90, 100, 0, unix.EIO},
		{"truncate range=100+50 error=EIO", "truncate", 90, math.MaxInt64 - 90, 0, unix.EIO},
		{"truncate range=100+50 error=EIO", "truncate", 150, math.MaxInt64 - 150, math.MaxInt64 - 150, 0},
		// What guests may send.
		{"write range=0+ error=EIO", "write", -1, 10, 10, 0},
		{"write range=0+ error=EIO", "write", math.MinInt64, math.MaxInt64, math.MaxInt64, 0},
		{"write range=1+ error=EIO", "write", math.MaxInt64 - 1, math.MaxInt64, 0, unix.EIO},
		{"write range=0+ error=EIO", "write", 5, 0, 0, 0},
		{"write error=EIO", "write", -1, 10, 0, unix.EIO},
	} {
		limit, errno := ask(t, newInjector(t, tt.rule), tt.op, tt.off, tt.n, "/f")
		if limit != tt.limit || errno != tt.errno {
			t.Errorf("%s: %s of %d at %d: %d, %v; want %d, %v", tt.rule, tt.op, tt.n, tt.off, limit, errno, tt.limit, tt.errno)
		}
	}
}

// Of rules for the same call the first acts, and the others count.
func TestSeveralRules(t *testing.T) {
	j := newInjector(t, "write nth=2 error=EIO", "any nth=2-3 error=ENOSPC", "write path=/other error=EPERM")
	for i, want := range []syscall.Errno{0, unix.EIO, unix.ENOSPC, 0} {
		if _, e := ask(t, j, "write", 0, 1, "/f"); e != want {
			t.Errorf("call %d: %v, want %v", i+1, e, want)
		}
	}
	if _, e := ask(t, j, "write", 0, 1, "/other"); e != unix.EPERM {
		t.Errorf("the third rule: %v", e)
	}
}

// A call with two paths is hit by either. Paths are not asked for when no rule names one.
func TestPaths(t *testing.T) {
	j := newInjector(t, "rename path=/b error=EIO")
	for _, two := range [][]string{{"/a", "/b"}, {"/b", "/a"}} {
		if _, err := j.Before("rename", 0, 0, nil, func() []string { return two }); err != unix.EIO {
			t.Errorf("%v: %v", two, err)
		}
	}
	j = newInjector(t, "rename nth=2 error=EIO", "open path=/b error=EIO")
	if _, err := j.Before("rename", 0, 0, nil, func() []string { t.Error("asked for the paths"); return nil }); err != nil {
		t.Error(err)
	}
}

func TestDelay(t *testing.T) {
	j := newInjector(t, "write delay=20ms")
	start := time.Now()
	ask(t, j, "write", 0, 1, "/f")
	if d := time.Since(start); d < 20*time.Millisecond {
		t.Errorf("it took %v", d)
	}
}

// hangs starts a call that hangs, and returns when it does.
func hangs(t *testing.T, j *Injector, cancel <-chan struct{}) <-chan error {
	t.Helper()
	n := j.Hanging()
	done := make(chan error, 1)
	go func() {
		_, err := j.Before("write", 0, 1, cancel, at("/f"))
		done <- err
	}()
	for j.Hanging() == n {
		time.Sleep(time.Millisecond)
	}
	return done
}

func TestHangIsReleased(t *testing.T) {
	j := newInjector(t, "write hang error=EIO")
	for range 2 { // and later ones hang again
		a, b := hangs(t, j, nil), hangs(t, j, nil)
		j.Release()
		for _, c := range []<-chan error{a, b} {
			if err := <-c; err != unix.EIO {
				t.Errorf("after the release: %v, want the rule's EIO", err)
			}
		}
		if n := j.Hanging(); n != 0 {
			t.Errorf("%d calls hang after the release", n)
		}
	}
}

func TestHangIsCancelled(t *testing.T) {
	j := newInjector(t, "write hang")
	one, two := make(chan struct{}), make(chan struct{})
	a, b := hangs(t, j, one), hangs(t, j, two)
	close(one)
	if err := <-a; err != unix.EINTR {
		t.Errorf("cancelled: %v, want EINTR", err)
	}
	if j.Hanging() != 1 {
		t.Error("the other one does not hang any more")
	}
	j.Close()
	if err := <-b; err != unix.EINTR {
		t.Errorf("closed: %v, want EINTR", err)
	}
	if _, err := j.Before("write", 0, 1, nil, at("/f")); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func TestDelayIsCancelled(t *testing.T) {
	j := newInjector(t, "write delay=1h error=EIO")
	cancel := make(chan struct{})
	close(cancel)
	if limit, err := j.Before("write", 0, 1, cancel, at("/f")); limit != 0 || err != unix.EINTR {
		t.Errorf("%d, %v; want 0, EINTR", limit, err)
	}
}

// Every rule counts exactly whatever runs at the same time.
func TestConcurrentCalls(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	j := newInjector(t, "write every=7 error=EIO", "write,read p=0.5 delay=1ns", "read nth=100-199 hang", "any path=/x error=EIO")
	const goroutines, calls = 8, 700
	var wg sync.WaitGroup
	var failed [goroutines]int
	for g := range goroutines {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(g)))
			cancel := make(chan struct{})
			close(cancel) // nothing hangs for good
			for i := range calls {
				if _, err := j.Before("write", int64(r.IntN(9)), 5, nil, at("/f")); errors.Is(err, unix.EIO) {
					failed[g]++
				}
				if _, err := j.Before("read", 0, 5, cancel, at("/f")); err != nil && err != unix.EINTR {
					t.Errorf("call %d: %v", i, err)
				}
				if r.IntN(50) == 0 {
					j.Release()
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range failed {
		total += n
	}
	if total != goroutines*calls/7 {
		t.Errorf("%d writes failed, want each seventh of %d", total, goroutines*calls)
	}
	if n := j.Hanging(); n != 0 {
		t.Errorf("%d calls hang", n)
	}
}

// Rules are announced, hits are logged, not too many, and the totals at the end.
func TestLog(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	j := New([]Rule{mustParse(t, "write nth=2- error=EIO"), mustParse(t, "fsync hang")}, zap.New(core))
	count := func(text string) int {
		return logs.Filter(func(e observer.LoggedEntry) bool { return strings.Contains(e.Message, text) }).Len()
	}
	if n := count("FAULT INJECTION IS ON"); n != 2 {
		t.Errorf("%d rules are announced", n)
	}
	for i := range 1000 {
		j.Before("write", int64(i), 512, nil, at("/a b"))
	}
	lines := logs.FilterMessage("FAULT: write nth=2- error=EIO").All()
	if len(lines) < hitLines || len(lines) > 50*hitLines {
		t.Errorf("%d lines for 999 hits, want %d a second", len(lines), hitLines)
	}
	got := fmt.Sprint(lines[0].ContextMap())
	if want := "map[offset:1 operation:write path:/a b size:512]"; got != want {
		t.Errorf("fields %s, want %s", got, want)
	}
	j.Close()
	j.Close()
	end := logs.FilterMessage("What a fault rule did").All()
	if len(end) != 2 || end[0].ContextMap()["hits"] != uint64(999) || end[0].ContextMap()["calls"] != uint64(1000) {
		t.Errorf("at the end: %v", end)
	}
}
