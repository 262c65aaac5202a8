// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// lock says what may become of an option after --locked. T is Config or Share.
type lock[T any] struct {
	option string
	rule   string                    // in words, for the manual
	value  func(*T) string           // for messages
	keeps  func(locked, now *T) bool // now is not wider than locked
}

// checkLocks compares c, the outcome, with what had been given at each --locked.
func (given *commandLine) checkLocks(handed []string, c Config) error {
	var errs []error
	for _, p := range given.locks {
		l := newLine(handed)
		// What is wrong with a part is wrong with the whole, and was told.
		_ = errors.Join(l.apply(given.settings[:p.after]), l.applyLegacy())
		errs = append(errs, l.checkLock(p, c))
	}
	return errors.Join(errs...)
}

// checkLock compares c with l, which is locked at p.
func (l *line) checkLock(p lockPoint, c Config) error {
	errs := []error{check(processLocks, &l.config, &c, p, l.places)}
	if len(l.shares) == 0 {
		l.share.imply()
		if l.share.SharedDir != "" && l.share.unnamedSocket() && len(l.handed) == 1 {
			l.share.FD = firstFD
		}
		for i := range c.Shares {
			errs = append(errs, inShare(i, c, check(shareLocks, &l.share, &c.Shares[i], p, l.places)))
		}
		return errors.Join(errs...)
	}
	shares, _ := l.shareList()
	for i := range c.Shares {
		if i == len(shares) {
			return errors.Join(append(errs, fmt.Errorf("--share %s cannot be added: the shares are locked by %s", c.Shares[i].SharedDir, p))...)
		}
		err := check(shareLocks, &shares[i].Share, &c.Shares[i], p, l.places, shares[i].places)
		errs = append(errs, inShare(i, c, err))
	}
	return errors.Join(errs...)
}

// inShare says of which share mistakes are, if there are several.
func inShare(i int, c Config, err error) error {
	return eachMistake(err, func(m *mistake) {
		if len(c.Shares) > 1 {
			m.share, m.dir = i, c.Shares[i].SharedDir
		}
	})
}

// String says what has locked.
func (p lockPoint) String() string {
	if p.at == (place{}) {
		return "--locked"
	}
	return p.at.String()
}

// check reports each option that is wider now than it was when it was locked. places are where options
// were given; later ones count over earlier ones.
func check[T any](locks []lock[T], locked, now *T, p lockPoint, places ...map[string]place) error {
	var errs []error
	for _, k := range locks {
		if k.keeps(locked, now) {
			continue
		}
		by := "the default, by " + p.String()
		for _, given := range places {
			if at, ok := given[k.option]; ok && at != (place{}) {
				by = "by " + at.String()
			} else if ok {
				by = "by " + p.String()
			}
		}
		errs = append(errs, wrong(k.option, "cannot become %s: it is locked at %s, %s", show(k.value(now)), show(k.value(locked)), by))
	}
	return errors.Join(errs...)
}

// show is a value in a message.
func show(v string) string {
	if v == "" {
		return "nothing"
	}
	return v
}

// inOrder is an option whose value may only be changed into one further on in words. Words in one item
// of words, with a "|" between them, are as good as each other.
func inOrder[T any](option string, value func(*T) string, words ...string) lock[T] {
	rank := func(v *T) int {
		return slices.IndexFunc(words, func(w string) bool { return slices.Contains(strings.Split(w, "|"), value(v)) })
	}
	rule := "only to the right: " + strings.ReplaceAll(strings.Join(words, ", "), "|", " or ")
	return lock[T]{option, rule, value, func(locked, now *T) bool { return rank(now) >= rank(locked) }}
}

// onlyOff is a switch that may only be turned off, onlyOn one that may only be turned on.
func onlyOff[T any](option string, value func(*T) bool) lock[T] {
	k := inOrder(option, func(v *T) string { return strconv.FormatBool(value(v)) }, "true", "false")
	k.rule = "only off"
	return k
}

func onlyOn[T any](option string, value func(*T) bool) lock[T] {
	k := inOrder(option, func(v *T) string { return strconv.FormatBool(value(v)) }, "false", "true")
	k.rule = "only on"
	return k
}

// fixed is an option that has to stay.
func fixed[T any](option string, value func(*T) string) lock[T] {
	return lock[T]{option, "not at all", value, func(locked, now *T) bool { return value(locked) == value(now) }}
}

// once is an option that has to stay if it was given.
func once[T any](option string, value func(*T) string, given func(*T) bool) lock[T] {
	return lock[T]{option, "not at all, if it was given", value, func(locked, now *T) bool { return !given(locked) || value(locked) == value(now) }}
}

// atMost is a number that may only become smaller.
func atMost[T any](option string, number func(*T) int64, text func(int64) string) lock[T] {
	value := func(v *T) string { return text(number(v)) }
	return lock[T]{option, "only down", value, func(locked, now *T) bool { return number(now) <= number(locked) }}
}
