// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func mustParse(t testing.TB, s string) Rule {
	t.Helper()
	r, err := Parse(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return r
}

// The canonical form of each rule, which parses to the same rule.
func TestParseAndString(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"write error=EIO", ""},
		{"  fsync   error=ENOSPC\t", "fsync error=ENOSPC"},
		{"fsync,write,fsync delay=1500ms", "write,fsync delay=1.5s"},
		{"any hang", ""},
		{strings.Join(Operations(), ",") + " hang", "any hang"},
		{"write error=EIO nth=3 path=/a/*.log", "write path=/a/*.log nth=3 error=EIO"},
		{"write nth=3-3 error=EIO", "write nth=3 error=EIO"},
		{"write nth=3-7 error=EIO", ""},
		{"write nth=3- error=EIO", ""},
		{"write nth=3-18446744073709551615 error=EIO", "write nth=3- error=EIO"},
		{"read every=10 short=512", ""},
		{"read,copy short=4K error=EIO", "read,copy short=4096 error=EIO"},
		{"write range=4096+512 short=0", ""},
		{"truncate,fallocate range=1M+ error=EFBIG", "truncate,fallocate range=1048576+ error=EFBIG"},
		{"write range=1T+9223372036854775807 error=EIO", "write range=1099511627776+ error=EIO"},
		{"lookup p=0.25 error=EACCES", "lookup p=0.25 seed=1 error=EACCES"},
		{"lookup p=1e-3 seed=7 delay=20ms error=EACCES", "lookup p=0.001 seed=7 error=EACCES delay=20ms"},
		{`open path="/a b" hang`, ""},
		{`open path="/plain" hang`, "open path=/plain hang"},
		{`open path="\"" hang`, ""},
		{`open path=/a"b hang`, ""},
		{`open path="\xff" hang`, ""},
		{"open path=/\xc2\xa0 hang", `open path="/\u00a0" hang`}, // a space, though not for the parser
		{"open path=/ä=ß hang", ""},
		{"setxattr error=EWOULDBLOCK", "setxattr error=EAGAIN"},
	} {
		want := tt.want
		if want == "" {
			want = tt.in
		}
		r := mustParse(t, tt.in)
		if got := r.String(); got != want {
			t.Errorf("%q becomes %q, want %q", tt.in, got, want)
		}
		if again := mustParse(t, r.String()); !reflect.DeepEqual(again, r) {
			t.Errorf("%q: %+v, and from its string %+v", tt.in, r, again)
		}
	}
}

func TestParseMistakes(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "the rule is empty; write nth=3 error=EIO is one",
		" \t":                            "the rule is empty",
		"wrote error=EIO":                `"wrote" is not an operation; a rule begins with "any" or some of lookup,`,
		"write,, error=EIO":              `"" is not an operation`,
		"any,write error=EIO":            `"any" is not an operation`,
		"error=EIO":                      `"error=EIO" is not an operation`,
		"write":                          "nothing happens by this rule; add error=, short=, delay= or hang",
		"write nth=3":                    "nothing happens by this rule",
		"write frob=1 error=EIO":         `"frob=1" is not a word of a rule; behind the operations come path=,`,
		"write hang=1":                   `"hang=1" is not a word`,
		"write nth error=EIO":            `"nth" is not a word`,
		"write error=EIO error=EIO":      "error is given twice",
		"write error=":                   `error="" is not the name of an errno`,
		"write error=eio":                `error="eio" is not the name of an errno`,
		"write error=5":                  `error="5" is not the name`,
		"write error=EIO:":               `error="EIO:" is not the name`,
		"write nth=0 error=EIO":          `nth="0" is not a number from 1 up`,
		"write nth=-1 error=EIO":         `nth="" is not a number from 1 up`,
		"write nth=5-2 error=EIO":        `nth="5-2" ends before it begins`,
		"write nth=1-x error=EIO":        `nth="x" is not a number`,
		"write every=0 error=EIO":        `every="0" is not a number from 1 up`,
		"write p=0 error=EIO":            `p="0" is not a probability above 0, up to 1`,
		"write p=1.01 error=EIO":         `p="1.01" is not a probability`,
		"write p=NaN error=EIO":          `p="NaN" is not a probability`,
		"write p=0.1 seed=-1 error=EIO":  `seed="-1" is not a whole number`,
		"write seed=1 error=EIO":         "seed= needs p=",
		"write nth=1 every=2 error=EIO":  "nth=, every= and p= exclude each other",
		"write every=1 p=0.5 error=EIO":  "nth=, every= and p= exclude each other",
		"write delay=1 error=EIO":        `delay="1" is not a time`,
		"write delay=-1s error=EIO":      `delay="-1s" is not a time`,
		"write delay=0s":                 `delay="0s" is not a time`,
		"write delay=1s hang":            "delay= and hang exclude each other",
		"write range=4096 error=EIO":     `range="4096" is not OFFSET+LENGTH`,
		"write range=+ error=EIO":        `range="" is not a number of bytes`,
		"write range=0+0 error=EIO":      `range="0+0" has no byte in it`,
		"write range=-1+2 error=EIO":     `range="-1" is not a number of bytes, such as 512, 4K or 1M`,
		"write range=0+4k error=EIO":     `range="4k" is not a number of bytes`,
		"write short=8388608T error=EIO": `short="8388608T" is not a number`,
		"write short=K":                  `short="K" is not a number`,
		"fsync range=0+1 error=EIO":      "range= is for read,write,truncate,fallocate,copy only",
		"any range=0+1 error=EIO":        "range= is for",
		"read,truncate short=1":          "short= is for read,write,copy only",
		"open path= hang":                "path= has an empty name in it",
		"open path=/a//b hang":           "path= has an empty name in it",
		"open path=/a/ hang":             "path= has an empty name in it",
		"open path=a/b hang":             "path= is from the share's root on and begins with a slash, or is a single name",
		"open path=/[a hang":             "path= has a [ without its ]",
		`open path="a hang`:              "the quotes behind path= are not closed",
		`open path="\q" hang`:            "the quotes behind path= are not closed, or hold an unknown escape",
		`open path="a"b hang`:            "there is no space behind the quotes of path=",
		`open path=a b hang`:             `"b" is not a word`,
	} {
		r, err := Parse(in)
		switch {
		case err == nil:
			t.Errorf("%q is taken, as %q", in, r)
		case !strings.Contains(err.Error(), want), strings.Contains(err.Error(), "\n"):
			t.Errorf("%q: %v\nwant %q, in one line", in, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"write path=/db/** range=4K+1M nth=3- error=EIO", "any p=0.1 seed=3 delay=1.5s", "read every=2 short=0",
		`open,lookup path="a \xff[!b]" hang`, "truncate range=0+ error=ENOSPC", "copy nth=2-4 short=1T error=EXDEV", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: more than a line: %v", s, err)
			}
			return
		}
		again, err := Parse(r.String())
		// path may be written in other ways, and means the same
		if err != nil || !reflect.DeepEqual(again, r) || again.String() != r.String() {
			t.Errorf("%q: %+v, its string %q: %+v, %v", s, r, r, again, err)
		}
		r.fits(call{off: 4096, n: 4096, paths: func() []string { return []string{"/", "/a/b", s} }})
	})
}

// Every rule and operation of README.md is one, and no operation is missing there.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Faults on purpose\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rules := regexp.MustCompile(`--fault '(.*?)'`).FindAllStringSubmatch(section, -1)
	if len(rules) < 5 {
		t.Errorf("%d rules in README.md", len(rules))
	}
	for _, m := range rules {
		mustParse(t, m[1])
	}
	_, list, _ := strings.Cut(section, "The operations are ")
	list, _, _ = strings.Cut(list, ".")
	var listed []string
	for _, m := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(list, -1) {
		listed = append(listed, m[1])
	}
	if !slices.Equal(listed, Operations()) {
		t.Errorf("README.md has the operations %v\nwant %v", listed, Operations())
	}
}
