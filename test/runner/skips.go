// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path"
	"strings"
)

const module = "github.com/virtiofsd-go/virtiofsd-go"

// skip is a line of test/skips.txt: what may be left out, and why.
type skip struct {
	pkg    string // folder in the repository, as path.Match takes it
	test   string // test name, likewise; "-": the package has no tests of its own
	reason string
}

// noTests in the place of a test's name stands for a package without tests.
const noTests = "-"

// parseSkips reads lines of "folder test reason ...".
func parseSkips(text string) ([]skip, error) {
	var list []skip
	for i, l := range strings.Split(text, "\n") {
		words := strings.Fields(l)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if len(words) < 4 {
			return nil, fmt.Errorf("skips, line %d: want a folder, a test and a reason of more than a word", i+1)
		}
		s := skip{pkg: words[0], test: words[1], reason: strings.Join(words[2:], " ")}
		for _, p := range []string{s.pkg, s.test} {
			if _, err := path.Match(p, ""); err != nil {
				return nil, fmt.Errorf("skips, line %d: %q: %w", i+1, p, err)
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// reasonFor says why test of package pkg may be skipped; "" if it may not. A "*" does not match the
// "/" before a subtest's name.
func reasonFor(list []skip, pkg, test string) string {
	folder := strings.TrimPrefix(strings.TrimPrefix(pkg, module), "/")
	if folder == "" {
		folder = "."
	}
	for _, s := range list {
		inPkg, _ := path.Match(s.pkg, folder) // patterns were checked when they were read
		isTest, _ := path.Match(s.test, test)
		if inPkg && isTest {
			return s.reason
		}
	}
	return ""
}
