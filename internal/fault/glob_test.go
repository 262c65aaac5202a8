// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"strings"
	"testing"
)

func TestGlob(t *testing.T) {
	for _, tt := range []struct{ pattern, yes, no string }{ // paths with spaces between them
		{"/", "/", "/a"},
		{"/a", "/a", "/ /b /a/a /A"},
		{"/a/b", "/a/b", "/a /b /a/b/c /x/a/b"},
		{"/*", "/a /b.log", "/ /a/b"},
		{"/*/b", "/a/b /b/b", "/b /a/a/b"},
		{"/a?c/[x-z]", "/abc/x /a\u00e4c/z", "/ac/x /abc/w"},
		{"/a/**", "/a /a/b /a/b/c", "/ /b /ab"},
		{"/**/b", "/b /a/b /a/a/b /b/b", "/ /a /b/a"},
		{"/a/**/b/*.c", "/a/b/x.c /a/b/b/x.c /a/x/y/b/x.c", "/a/x.c /b/x.c /a/b/x /a/b/x/y.c"},
		{"/**/a/**/a/**", "/a/a /x/a/y/a/z", "/a /x/a /b/b"},
		{"/**", "/ /a /a/b", ""},
		{"**", "/ /a /a/b", ""},
		{"*.log", "/x.log /a/b/x.log", "/ /x.logs /x.log/y"},
		{`\*`, "/* /a/*", "/a"},
	} {
		g, err := parseGlob(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range strings.Fields(tt.yes) {
			if !g.match(p) {
				t.Errorf("%s does not fit %s", tt.pattern, p)
			}
		}
		for _, p := range append(strings.Fields(tt.no), "") { // "": a path that is not known
			if g.match(p) {
				t.Errorf("%s fits %q", tt.pattern, p)
			}
		}
	}
}

// Many ** take no more steps than pattern times path.
func TestGlobIsNotExponential(t *testing.T) {
	g, err := parseGlob("/" + strings.Repeat("**/a/", 200) + "b")
	if err != nil {
		t.Fatal(err)
	}
	if g.match("/" + strings.Repeat("a/", 2000) + "c") {
		t.Error("it fits")
	}
}
