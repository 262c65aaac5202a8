// SPDX-License-Identifier: Apache-2.0

package xattrmap

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// space separates rules (isspace(3) in the C locale).
const space = " \t\n\v\f\r"

// Parse reads rules. The error is one line that names the rule by its number, from 1 on.
func Parse(s string) (*Map, error) {
	m := &Map{}
	last := false
	for n := 1; ; n++ {
		s = strings.TrimLeft(s, space)
		if s == "" {
			break
		}
		if last {
			return nil, fmt.Errorf("rule %d: map stands for all that follows: let it be the last rule", n-1)
		}
		rules, isMap, rest, err := parseRule(s)
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", n, err)
		}
		m.rules = append(m.rules, rules...)
		last, s = isMap, rest
	}
	if len(m.rules) == 0 {
		return nil, errors.New("there is no rule, as :map::user.virtiofs.: is one")
	}
	return m, nil
}

// fields cuts the fields of a rule off s, each ended by its separator.
type fields struct{ sep, rest string }

func (f *fields) next(what string) (string, error) {
	field, rest, ok := strings.Cut(f.rest, f.sep)
	switch {
	case !ok:
		return "", fmt.Errorf("there is no %q behind its %s: each field ends with the character that the rule begins with", f.sep, what)
	case strings.IndexByte(field, 0) >= 0:
		return "", fmt.Errorf("its %s has a NUL byte in it: no attribute's name has", what)
	}
	f.rest = rest
	return field, nil
}

// parseRule reads the rule at the beginning of s; map becomes several.
func parseRule(s string) (rules []rule, isMap bool, rest string, err error) {
	_, size := utf8.DecodeRuneInString(s) // 1 for a byte that is no character
	f := fields{sep: s[:size], rest: s[size:]}
	typ, err := f.next("type")
	if err != nil {
		return nil, false, "", err
	}
	isMap = typ == "map"
	var r rule
	if !isMap {
		if err = r.setType(typ); err == nil {
			err = r.setScope(&f)
		}
		if err != nil {
			return nil, false, "", err
		}
	}
	if r.key, err = f.next("key"); err == nil {
		r.prepend, err = f.next("prepend")
	}
	if err != nil {
		return nil, false, "", err
	}
	if isMap {
		return expand(r.key, r.prepend), true, f.rest, nil
	}
	return []rule{r}, false, f.rest, nil
}

func (r *rule) setType(typ string) error {
	switch typ {
	case "prefix":
		r.verdict, r.rename = Pass, true
	case "ok":
		r.verdict = Pass
	case "bad":
		r.verdict = Bad
	case "unsupported":
		r.verdict = Unsupported
	default:
		return fmt.Errorf("%q is not a type of rule: give prefix, ok, bad, unsupported or map", typ)
	}
	return nil
}

func (r *rule) setScope(f *fields) error {
	scope, err := f.next("scope")
	if err != nil {
		return err
	}
	r.client = scope == "client" || scope == "all"
	r.server = scope == "server" || scope == "all"
	if !r.client && !r.server {
		return fmt.Errorf("%q is not a scope: give client, server or all", scope)
	}
	return nil
}

// expand returns the rules that :map:key:prepend: stands for.
func expand(key, prepend string) []rule {
	move := rule{verdict: Pass, client: true, server: true, rename: true, key: key, prepend: prepend}
	if key == "" {
		return []rule{move, {verdict: Bad, client: true, server: true}}
	}
	return []rule{
		move,
		{verdict: Bad, server: true, prepend: key}, // the host's own behind key
		{verdict: Bad, client: true, key: prepend}, // the guest's straight to where others are moved
		{verdict: Pass, client: true, server: true},
	}
}
