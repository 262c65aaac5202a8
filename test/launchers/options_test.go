// SPDX-License-Identifier: Apache-2.0

package launchers

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/test/peers"
)

// otherDefaults are options whose default stands in other words here, or not at all.
var otherDefaults = map[string]string{
	"--announce-submounts": "the help says so in words",
	"--no-killpriv-v2":     "likewise",
	"--syslog":             "a switch that is off",
	"--thread-pool-size":   "0 is not printed",
	"--rlimit-nofile":      "TestFileLimit of cmd/virtiofsd-go looks at the number",
}

// hidden are older names, which --help does not have.
var hidden = []string{"--socket"}

// TestEveryOption: each option that the Rust virtiofsd's --help tells of is one here, with the same default,
// in --help and in README.md.
func TestEveryOption(t *testing.T) {
	s := newSurroundings(t)
	help := func(argv ...string) string {
		t.Helper()
		out, err := exec.Command(argv[0], append(argv[1:], "--help")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	all := peers.Find(true, t.Logf)
	rust := all[slices.IndexFunc(all, func(p peers.Peer) bool { return p.Name == peers.Rust })]
	if rust.Err != nil {
		t.Fatal(rust.Err)
	}
	theirs, ours := defaults(help(rust.Argv()...), `\[default(?:: (.*))?\]`), defaults(help(s.binary), `\(default ([^ ]*)\)`)
	if len(theirs) < 40 {
		t.Fatalf("only %d options found in %s --help: the search is broken", len(theirs), rust.Version)
	}
	written := readmeDefaults(t)
	for option, want := range theirs {
		if slices.Contains(hidden, option) {
			if got := outcome(t, []string{s.binary}, "--shared-dir {dir} "+option+" {socket} --sandbox none"); got != serves {
				t.Errorf("%s: %s", option, got)
			}
			continue
		}
		got, known := ours[option]
		if !known {
			t.Errorf("%s is not known", option)
		}
		if otherDefaults[option] != "" || want == "" {
			continue
		}
		if got != want {
			t.Errorf("%s: the default is %q, not %q", option, got, want)
		}
		if written[option] != want {
			t.Errorf("%s: README.md says %q, not %q", option, written[option], want)
		}
	}
}

// optionStart is the beginning of an option's lines in a help text: a letter, a word or both.
var optionStart = regexp.MustCompile(`(?m)^  (?:(-[a-zA-Z])(?:, (--[a-z0-9-]+))?|    (--[a-z0-9-]+))`)

// defaults finds the options in a help text, and their defaults as the pattern has them.
func defaults(help, pattern string) map[string]string {
	found, value := map[string]string{}, regexp.MustCompile(pattern)
	starts := optionStart.FindAllStringSubmatchIndex(help, -1)
	for i, at := range starts {
		end := len(help)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		text := strings.Join(strings.Fields(help[at[1]:end]), " ")
		is := ""
		if m := value.FindStringSubmatch(text); m != nil {
			is = m[1]
		}
		for group := range slices.Chunk(at[2:], 2) {
			if group[0] >= 0 {
				found[help[group[0]:group[1]]] = is
			}
		}
	}
	return found
}

// readmeDefaults are the last columns of README.md's tables of options, without their backquotes.
func readmeDefaults(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	must(t, err)
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| `-") || len(cells) < 2 {
			continue
		}
		for _, option := range regexp.MustCompile(`--?[a-zA-Z][a-z0-9-]*`).FindAllString(cells[0], -1) {
			found[option] = strings.Trim(strings.TrimSpace(cells[len(cells)-1]), "`")
		}
	}
	return found
}
