// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocumented: each known difference has a row in docs/differences.md, and each row there with a key is
// one that TestRequests sees.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/differences.md")
	must(t, err)
	_, requests, _ := strings.Cut(string(doc), "\n## Requests\n")
	var rows, keys []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|[^|]+\\|[^|]+\\|[^|]+\\|$").FindAllStringSubmatch(requests, -1) {
		rows = append(rows, m[1])
	}
	for _, k := range known {
		keys = append(keys, k.key)
	}
	keys = slices.Compact(keys)
	for _, list := range []struct {
		keys  []string
		among []string
		where string
	}{{keys, rows, "docs/differences.md"}, {rows, keys, "the table of this test"}} {
		for i, k := range list.keys {
			if slices.Contains(list.keys[:i], k) {
				t.Errorf("%q has several places in %s", k, list.where)
			}
			if !slices.Contains(list.among, k) {
				t.Errorf("%q is not in %s", k, list.where)
			}
		}
	}
}

// TestPatterns holds the matching that the table relies on.
func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a*", "ab", true}, {"*b", "ab", true}, {"*b", "ba", false}, {"*", "", true}, {"", "", true}, {"", "a", false},
		{"a*c", "abc", true}, {"a*c", "ac", true}, {"a*c", "acb", false}, {"*b*", "abc", true}, {"x;a*", "ab", true}, {"x;y", "xy", false}, {"a*a", "a", false},
	} {
		if got := fits(c.pattern, c.s); got != c.want {
			t.Errorf("fits(%q, %q) is %v", c.pattern, c.s, got)
		}
	}
	set := optionSet("--cache=never --xattr #ids")
	for words, want := range map[string]bool{"": true, "--xattr": true, "--cache": true, "!--cache": false, "--writeback": false, "!--writeback #ids": true} {
		if got := set.has(words); got != want {
			t.Errorf("%q has %q: %v", set, words, got)
		}
	}
}

// TestCompare: what differs is told, and only that.
func TestCompare(t *testing.T) {
	a, b := &record{}, &record{}
	for _, r := range []*record{a, b} {
		r.put(place{"s", "same"}, status, "ok")
		r.put(place{"s", "same"}, "size", "1")
		r.put(place{"s", "field"}, status, "ok")
		r.put(place{"s", "errno"}, status, map[*record]string{a: "ok", b: "EIO"}[r])
		r.put(place{"s", "errno"}, "size", map[*record]string{a: "1", b: "2"}[r])
		r.put(place{"s", "field"}, "size", map[*record]string{a: "1", b: "2"}[r])
	}
	a.put(place{"s", "asked of one"}, status, "ok")
	b.put(place{"s", onHost + "new"}, status, "file")
	b.put(place{"s", theDaemon}, status, "ends")
	want := []difference{
		{place{"s", "field"}, "size", "1", "2"}, {place{"s", "errno"}, status, "ok", "EIO"},
		{place{"s", onHost + "new"}, status, none, "file"}, {place{"s", theDaemon}, status, none, "ends"},
	}
	if got := compare(a, b); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
