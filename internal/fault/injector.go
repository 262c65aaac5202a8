// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// hitLines bounds the log lines of one rule in a second.
const hitLines = 10

// Injector applies rules to calls. It is safe for concurrent use.
type Injector struct {
	rules []*counted
	log   *zap.Logger

	mu   sync.Mutex
	hung *hung // those of which the next Release is the end; guarded by mu

	closed chan struct{} // closed by Close
	once   sync.Once
}

// hung are the calls that hang until the same Release.
type hung struct {
	released chan struct{} // closed by it
	calls    int           // guarded by Injector.mu
}

// counted is a rule with what happened to it.
type counted struct {
	Rule
	text  string
	calls atomic.Uint64 // that fit
	hits  atomic.Uint64 // of them
	log   *zap.Logger   // takes hitLines a second
}

// New returns an Injector for the rules and logs each as a warning. The logger gets a line for
// each hit, too, some a second for each rule.
func New(rules []Rule, log *zap.Logger) *Injector {
	j := &Injector{log: log, hung: newHung(), closed: make(chan struct{})}
	for _, r := range rules {
		c := &counted{Rule: r, text: r.String(), log: log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
			return zapcore.NewSamplerWithOptions(c, time.Second, hitLines, 0)
		}))}
		j.rules = append(j.rules, c)
		log.Warn("FAULT INJECTION IS ON: calls of the host will fail on purpose", zap.String("rule", c.text))
	}
	return j
}

// Before is asked before the host is, for one operation of Operations. For those about a range of
// bytes it is the n bytes at off; elsewhere both are 0. paths returns the paths in the share that
// the call is about, from "/" on; it is called only if somebody wants to know.
//
// The host may be asked for the first limit of the n bytes. Then, if err is not nil, the call fails
// with this errno. Before waits if a rule says so; if cancel is closed meanwhile, the outcome is 0
// and EINTR.
func (j *Injector) Before(op string, off, n int64, cancel <-chan struct{}, paths func() []string) (limit int64, err error) {
	i, ok := find(op)
	if !ok {
		return n, nil
	}
	c := call{op: i, off: off, n: n, paths: sync.OnceValue(paths)}
	acts, before := j.choose(c)
	if acts == nil {
		return n, nil
	}
	acts.report(c, before)
	if before > 0 {
		return before, nil
	}
	if err := j.wait(acts, cancel); err != nil {
		return 0, err
	}
	switch {
	case acts.short >= 0:
		limit = min(acts.short, n)
	case acts.errno == 0:
		limit = n
	}
	if acts.errno != 0 {
		err = acts.errno
	}
	return limit, err
}

// choose counts a call for every rule that it fits, and returns the first that it is hit by. With
// before above 0 the rule spares the bytes up to there and has not counted the call.
func (j *Injector) choose(c call) (acts *counted, before int64) {
	for _, r := range j.rules {
		if !r.fits(c) {
			continue
		}
		spared := r.before(c)
		if spared > 0 {
			if acts == nil && r.fires(r.calls.Load()+1) {
				acts, before = r, spared
			}
			continue
		}
		if k := r.calls.Add(1); acts == nil && r.fires(k) {
			acts, before = r, 0
			r.hits.Add(1)
		}
	}
	return acts, before
}

func (r *counted) report(c call, before int64) {
	what := "FAULT: " + r.text
	if before > 0 {
		what = "FAULT ahead, cut short: " + r.text
	}
	e := r.log.Check(zap.WarnLevel, what)
	if e == nil {
		return
	}
	fields := []zap.Field{zap.String("operation", operations[c.op].name), zap.String("path", strings.Join(c.paths(), " "))}
	if c.n > 0 {
		fields = append(fields, zap.Int64("offset", c.off))
		if c.n < math.MaxInt64-c.off {
			fields = append(fields, zap.Int64("size", c.n))
		}
	}
	e.Write(fields...)
}

// wait does the waiting of a rule. EINTR: cancel was closed first, or the Injector meanwhile.
func (j *Injector) wait(r *counted, cancel <-chan struct{}) error {
	var over <-chan time.Time
	var released <-chan struct{}
	switch {
	case r.hang:
		h := j.enter()
		defer j.leave(h)
		released = h.released
	case r.delay > 0:
		t := time.NewTimer(r.delay)
		defer t.Stop()
		over = t.C
	default:
		return nil
	}
	select {
	case <-j.closed:
		return nil
	default:
	}
	select {
	case <-over:
		return nil
	case <-released:
		return nil
	case <-j.closed:
		return unix.EINTR
	case <-cancel:
		return unix.EINTR
	}
}

func newHung() *hung { return &hung{released: make(chan struct{})} }

// enter counts a call that hangs from now on.
func (j *Injector) enter() *hung {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.hung.calls++
	return j.hung
}

func (j *Injector) leave(h *hung) {
	j.mu.Lock()
	defer j.mu.Unlock()
	h.calls--
}

// Hanging is how many calls the next Release would let go on.
func (j *Injector) Hanging() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.hung.calls
}

// Release lets all calls go on that hang now; later ones hang again.
func (j *Injector) Release() {
	j.mu.Lock()
	n := j.hung.calls
	close(j.hung.released)
	j.hung = newHung()
	j.mu.Unlock()
	j.log.Warn("Released the calls that hang by a fault rule", zap.Int("calls", n))
}

// Close ends all waits with EINTR, and calls that come later wait for nothing. It logs how often each
// rule has hit. A second call does nothing.
func (j *Injector) Close() {
	j.once.Do(func() {
		close(j.closed)
		for _, r := range j.rules {
			j.log.Warn("What a fault rule did", zap.String("rule", r.text), zap.Uint64("hits", r.hits.Load()), zap.Uint64("calls", r.calls.Load()))
		}
	})
}
