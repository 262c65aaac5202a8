// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Parse reads a rule, see the package comment. The error is one line.
func Parse(s string) (Rule, error) {
	words, err := split(s)
	if err != nil {
		return Rule{}, err
	}
	if len(words) == 0 {
		return Rule{}, errors.New("the rule is empty; write nth=3 error=EIO is one, for instance")
	}
	r := Rule{short: -1, seed: 1}
	if r.ops, err = parseOps(words[0]); err != nil {
		return Rule{}, err
	}
	given := map[string]bool{}
	for _, w := range words[1:] {
		key, value, equals := strings.Cut(w, "=")
		set := setters[key]
		switch {
		case set == nil, equals != (key != "hang"):
			return Rule{}, fmt.Errorf("%q is not a word of a rule; behind the operations come path=, range=, nth=, every=, p=, seed=, error=, short=, delay= and hang", w)
		case given[key]:
			return Rule{}, fmt.Errorf("%s is given twice", key)
		}
		given[key] = true
		if err := set(&r, value); err != nil {
			return Rule{}, err
		}
	}
	if err := r.check(given); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// split cuts a rule into its words. Behind path= a quoted string may have spaces in it; the word
// comes back without its quotes.
func split(s string) (words []string, err error) {
	const space = " \t\r\n"
	for s = strings.Trim(s, space); s != ""; s = strings.TrimLeft(s, space) {
		const key = "path="
		if strings.HasPrefix(s, key+`"`) {
			q, err := strconv.QuotedPrefix(s[len(key):])
			if err != nil {
				return nil, errors.New("the quotes behind path= are not closed, or hold an unknown escape")
			}
			value, _ := strconv.Unquote(q)
			words = append(words, key+value)
			if s = s[len(key)+len(q):]; s != "" && !strings.Contains(space, s[:1]) {
				return nil, errors.New("there is no space behind the quotes of path=")
			}
			continue
		}
		end := strings.IndexAny(s, space)
		if end < 0 {
			end = len(s)
		}
		words = append(words, s[:end])
		s = s[end:]
	}
	return words, nil
}

// setters read the words' values, by the words' names.
var setters = map[string]func(r *Rule, value string) error{
	"path":  func(r *Rule, v string) (err error) { r.path = v; r.glob, err = parseGlob(v); return err },
	"range": (*Rule).setRange,
	"nth":   (*Rule).setNth,
	"every": func(r *Rule, v string) (err error) { r.every, err = parseCount("every=", v); return err },
	"p":     (*Rule).setP,
	"seed":  (*Rule).setSeed,
	"error": (*Rule).setError,
	"short": func(r *Rule, v string) (err error) { r.short, err = parseSize("short=", v); return err },
	"delay": (*Rule).setDelay,
	"hang":  func(r *Rule, _ string) error { r.hang = true; return nil },
}

func (r *Rule) setRange(v string) (err error) {
	off, length, ok := strings.Cut(v, "+")
	if !ok {
		return fmt.Errorf("range=%q is not OFFSET+LENGTH, or OFFSET+ for all from there on", v)
	}
	if r.off, err = parseSize("range=", off); err != nil {
		return err
	}
	r.end = math.MaxInt64
	if length == "" {
		return nil
	}
	n, err := parseSize("range=", length)
	switch {
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("range=%q has no byte in it", v)
	case n < math.MaxInt64-r.off:
		r.end = r.off + n
	}
	return nil
}

func (r *Rule) setNth(v string) (err error) {
	first, last, more := strings.Cut(v, "-")
	if r.first, err = parseCount("nth=", first); err != nil {
		return err
	}
	switch {
	case !more:
		r.last = r.first
	case last == "":
		r.last = math.MaxUint64
	default:
		if r.last, err = parseCount("nth=", last); err == nil && r.last < r.first {
			err = fmt.Errorf("nth=%q ends before it begins", v)
		}
	}
	return err
}

func (r *Rule) setP(v string) (err error) {
	r.p, err = strconv.ParseFloat(v, 64)
	if err != nil || !(r.p > 0 && r.p <= 1) { // so written, NaN is none
		return fmt.Errorf("p=%q is not a probability above 0, up to 1", v)
	}
	return nil
}

func (r *Rule) setSeed(v string) (err error) {
	if r.seed, err = strconv.ParseUint(v, 10, 64); err != nil {
		return fmt.Errorf("seed=%q is not a whole number of at most 64 bits", v)
	}
	return nil
}

func (r *Rule) setError(v string) error {
	errno, ok := errnos[v]
	if !ok {
		return fmt.Errorf("error=%q is not the name of an errno, such as EIO or ENOSPC", v)
	}
	r.errno = errno
	return nil
}

func (r *Rule) setDelay(v string) (err error) {
	if r.delay, err = time.ParseDuration(v); err != nil || r.delay <= 0 {
		return fmt.Errorf("delay=%q is not a time, such as 20ms or 1.5s", v)
	}
	return nil
}

// check refuses what does not go together.
func (r *Rule) check(given map[string]bool) error {
	choices := 0
	for _, k := range []string{"nth", "every", "p"} {
		if given[k] {
			choices++
		}
	}
	ranged, counts := func(o operation) bool { return o.ranged }, func(o operation) bool { return o.counts }
	switch {
	case choices > 1:
		return errors.New("nth=, every= and p= exclude each other")
	case given["seed"] && !given["p"]:
		return errors.New("seed= needs p=")
	case r.hang && r.delay != 0:
		return errors.New("delay= and hang exclude each other")
	case r.errno == 0 && r.short < 0 && r.delay == 0 && !r.hang:
		return errors.New("nothing happens by this rule; add error=, short=, delay= or hang")
	case given["range"] && !r.ops.all(ranged):
		return fmt.Errorf("range= is for %s only", strings.Join(names(ranged), ","))
	case given["short"] && !r.ops.all(counts):
		return fmt.Errorf("short= is for %s only", strings.Join(names(counts), ","))
	}
	return nil
}

// parseCount reads a number from 1 up.
func parseCount(key, v string) (uint64, error) {
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s%q is not a number from 1 up", key, v)
	}
	return n, nil
}

// parseSize reads a number of bytes from 0 up.
func parseSize(key, v string) (int64, error) {
	digits, shift := v, 0
	if v != "" {
		if i := strings.IndexByte("KMGT", v[len(v)-1]); i >= 0 {
			digits, shift = v[:len(v)-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%s%q is not a number of bytes, such as 512, 4K or 1M", key, v)
	}
	return int64(n) << shift, nil
}

// errnos are all errnos by their names.
var errnos = func() map[string]syscall.Errno {
	all := map[string]syscall.Errno{"EWOULDBLOCK": unix.EWOULDBLOCK, "EDEADLOCK": unix.EDEADLOCK, "EOPNOTSUPP": unix.EOPNOTSUPP, "ENOTSUP": unix.ENOTSUP}
	const last = 133 // EHWPOISON, asm-generic/errno.h
	for e := syscall.Errno(1); e <= last; e++ {
		if name := unix.ErrnoName(e); name != "" {
			all[name] = e
		}
	}
	return all
}()
