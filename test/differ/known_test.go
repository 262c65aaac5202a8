// SPDX-License-Identifier: Apache-2.0

package differ

import "strings"

// knownDifference says on what the daemons differ. Scene, what, field and the values are patterns: a "*"
// stands for any text, a ";" separates several.
type knownDifference struct {
	key         string // the row in docs/differences.md that tells it
	with        string // option sets, see optionSet.has; "": all
	scene, what string
	field       string
	rust, ours  string
}

func (k knownDifference) covers(set optionSet, d difference) bool {
	return set.has(k.with) && fits(k.scene, d.scene) && fits(k.what, d.what) && fits(k.field, d.field) &&
		fits(k.rust, d.rust) && fits(k.ours, d.ours)
}

// fits matches text with patterns.
func fits(patterns, s string) bool {
	for p := range strings.SplitSeq(patterns, ";") {
		if fitsOne(p, s) {
			return true
		}
	}
	return false
}

func fitsOne(pattern, s string) bool {
	start, rest, star := strings.Cut(pattern, "*")
	if !star {
		return s == pattern
	}
	s, ok := strings.CutPrefix(s, start)
	if !ok {
		return false
	}
	for ; ; s = s[1:] {
		if fitsOne(rest, s) {
			return true
		}
		if s == "" {
			return false
		}
	}
}
