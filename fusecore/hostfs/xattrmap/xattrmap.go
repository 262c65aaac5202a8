// SPDX-License-Identifier: Apache-2.0

// Package xattrmap renames extended attributes on their way between a guest and the host by the
// rules of virtiofsd's --xattrmap.
//
// A rule is :type:scope:key:prepend: with any character in the place of the colon, and white space
// between rules. The first rule that matches a name decides. A rule of scope client matches names
// that the guest asks for and that begin with key; one of scope server matches names that the host
// lists and that begin with prepend; one of scope all does both. The types:
//
//	prefix       the guest's name gets prepend in front; from the host's name it is cut off
//	ok           the name passes as it is
//	bad          the guest may not use the name (EPERM); the host's is hidden
//	unsupported  the guest's name is not supported (ENOTSUP); the host's is hidden
//
// The short form :map:key:prepend: comes last and stands for the rules that move the guest's
// attributes that begin with key, or all with an empty key, behind prepend, and keep the guest from
// reaching behind prepend in another way. A name that no rule matches is treated as by bad.
//
// Names are bytes; nothing needs them to be text.
package xattrmap

import (
	"bytes"
	"strings"
)

// Verdict says what becomes of a name that the guest asks for.
type Verdict int

// The verdicts.
const (
	Bad         Verdict = iota // refuse it: EPERM, or ENODATA for a read
	Pass                       // ask the host
	Unsupported                // refuse it: ENOTSUP
)

// rule is one rule; an empty prefix matches every name.
type rule struct {
	verdict        Verdict
	client, server bool
	rename         bool // type prefix
	key, prepend   string
}

// Map is a list of rules. It is immutable and safe for concurrent use. A nil Map passes every name
// as it is.
type Map struct{ rules []rule }

// Client says what becomes of a name that the guest asks for. If it passes, the host's name is
// prefix followed by name; it can be longer than the 255 bytes that Linux has for a name
// (XATTR_NAME_MAX), and then no such attribute can exist.
func (m *Map) Client(name string) (prefix string, v Verdict) {
	if m == nil {
		return "", Pass
	}
	for i := range m.rules {
		r := &m.rules[i]
		if !r.client || !strings.HasPrefix(name, r.key) {
			continue
		}
		if r.rename {
			prefix = r.prepend
		}
		return prefix, r.verdict
	}
	return "", Bad
}

// server cuts the host's name down to the guest's; nil hides it.
func (m *Map) server(name []byte) []byte {
	for i := range m.rules {
		r := &m.rules[i]
		if !r.server || len(name) < len(r.prepend) || string(name[:len(r.prepend)]) != r.prepend {
			continue
		}
		switch {
		case r.verdict != Pass:
			return nil
		case r.rename:
			return name[len(r.prepend):]
		}
		return name
	}
	return nil
}

// List turns a list of names as listxattr(2) gives it, each with NUL behind, into the guest's. It
// works in place, as names only get shorter or fall out, and returns the beginning of list. A name of
// which nothing is left is hidden.
func (m *Map) List(list []byte) []byte {
	if m == nil {
		return list
	}
	kept := list[:0:len(list)]
	for len(list) > 0 {
		name, rest, _ := bytes.Cut(list, []byte{0})
		if name = m.server(name); len(name) > 0 {
			// Never beyond rest: what is kept is not longer than what was read.
			kept = append(append(kept, name...), 0)
		}
		list = rest
	}
	return kept
}
