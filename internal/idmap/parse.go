// SPDX-License-Identifier: Apache-2.0

package idmap

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// entry is a span with the rule that it comes from, for messages.
type entry struct {
	span
	rule string
}

// Parse reads all rules of one kind of ids. No rules give a nil Map. The error is one line.
func Parse(rules []string) (*Map, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	var guest, host []entry
	for _, r := range rules {
		if err := parseRule(r, &guest, &host); err != nil {
			return nil, fmt.Errorf("%q: %w", r, err)
		}
	}
	m := &Map{}
	var err error
	if m.guest, err = order(guest, "guest"); err == nil {
		m.host, err = order(host, "host")
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// types are the types of rules: what they do to whose ids, and how many numbers they have.
var types = map[string]struct {
	kind        kind
	guest, host bool
	numbers     int
}{
	"guest":        {shift, true, false, 3},
	"host":         {shift, false, true, 3},
	"squash-guest": {squash, true, false, 3},
	"squash-host":  {squash, false, true, 3},
	"map":          {shift, true, true, 3},
	"forbid-guest": {forbid, true, false, 2},
}

// parseRule appends what a rule says of the guest's and of the host's ids. One of no ids says nothing.
func parseRule(s string, guest, host *[]entry) error {
	end := strings.IndexFunc(s, func(r rune) bool { return !isWord(r) && r != '-' && r != '_' })
	if end < 0 {
		return errors.New("this is no rule, as map:0:100000:65536 is one")
	}
	typ := strings.ToLower(s[:end])
	n, err := parseNumbers(s[end:])
	if err != nil {
		return err
	}
	r, known := types[typ]
	switch {
	case !known:
		return fmt.Errorf("%q is not a type of rule: give guest, host, squash-guest, squash-host, map or forbid-guest", typ)
	case len(n) != r.numbers:
		return fmt.Errorf("%s needs %d numbers behind it, and there are %d", typ, r.numbers, len(n))
	}
	src, dst, count := n[0], n[1], n[len(n)-1]
	if count == 0 {
		return nil // as programs write that compute their rules
	}
	if r.guest {
		sp, err := newSpan(r.kind, src, dst, count)
		if err != nil {
			return err
		}
		*guest = append(*guest, entry{sp, s})
	}
	if r.host {
		if r.guest {
			src, dst = dst, src
		}
		sp, err := newSpan(r.kind, src, dst, count)
		if err != nil {
			return err
		}
		*host = append(*host, entry{sp, s})
	}
	return nil
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// parseNumbers reads numbers of 32 bits, each behind the character that s begins with.
func parseNumbers(s string) (n []uint64, err error) {
	_, size := utf8.DecodeRuneInString(s)
	sep := s[:size]
	for f := range strings.SplitSeq(s[size:], sep) {
		v, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number from 0 to %d", f, uint32(None))
		}
		n = append(n, v)
	}
	return n, nil
}

// newSpan checks a range of count ids and where it goes.
func newSpan(k kind, first, to, count uint64) (span, error) {
	last, lastTo := first+count-1, to
	switch k {
	case shift:
		lastTo += count - 1
	case forbid:
		to, lastTo = 0, 0 // leads nowhere
	}
	switch {
	case count == 0:
		return span{}, errors.New("it is about 0 ids: give the number of ids, from 1 up") // Linux takes no such range
	case last > uint64(None):
		return span{}, fmt.Errorf("%d ids from %d on go beyond the last one, %d", count, first, None-1)
	case lastTo >= uint64(None):
		return span{}, fmt.Errorf("it leads to the id %d, beyond the last one, %d", lastTo, None-1)
	}
	return span{kind: k, first: uint32(first), last: uint32(last), to: uint32(to)}, nil
}

// order sorts spans and refuses those that overlap.
func order(all []entry, whose string) (spans, error) {
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.first, b.first) })
	s := make(spans, 0, len(all))
	for i, e := range all {
		if i > 0 && e.first <= all[i-1].last {
			return nil, fmt.Errorf("%q and %q both speak of the %s's id %d: let each id have one rule", all[i-1].rule, e.rule, whose, e.first)
		}
		s = append(s, e.span)
	}
	return s, nil
}
