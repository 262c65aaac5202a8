// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"os"
	"strings"
	"testing"
)

// allowed are the exceptions of one rule, by place. Each place that was asked for is marked, so
// that those left over can be reported.
type allowed struct {
	rule string
	used map[string]bool
}

// exceptions reads the exceptions of the rule from allow.txt. At the test's end those that were
// not needed are errors.
func exceptions(t *testing.T, rule string) *allowed {
	t.Helper()
	text, err := os.ReadFile("allow.txt")
	if err != nil {
		t.Fatal(err)
	}
	a := &allowed{rule: rule, used: map[string]bool{}}
	for l := range strings.SplitSeq(string(text), "\n") {
		words := strings.Fields(l)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) < 4 {
			t.Errorf("allow.txt: %q: want a rule, a place and a reason of more than a word", l)
			continue
		}
		if words[0] == rule {
			a.used[words[1]] = false
		}
	}
	t.Cleanup(func() {
		for place, used := range a.used {
			if !used {
				t.Errorf("allow.txt: %s %s is not needed (any more)", rule, place)
			}
		}
	})
	return a
}

// allows tells whether place is an exception.
func (a *allowed) allows(place string) bool {
	if _, ok := a.used[place]; !ok {
		return false
	}
	a.used[place] = true
	return true
}
