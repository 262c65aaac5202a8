// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
)

// The manual page has no mistake that troff finds, and every option, with its words.
func TestManual(t *testing.T) {
	printed, err := exec.Command("go", "run", ".").Output()
	if err != nil || string(printed) != config.Manual() {
		t.Fatalf("the command prints %d bytes, %v; want the page", len(printed), err)
	}
	cmd := exec.Command("groff", "-ww", "-man", "-Tascii", "-P-c", "-rLL=1000n")
	cmd.Stdin = strings.NewReader(config.Manual())
	var complaints strings.Builder
	cmd.Stderr = &complaints
	page, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	text := string(regexp.MustCompile(".\b").ReplaceAll(page, nil)) // bold and underlined letters
	text = strings.Join(strings.Fields(text), " ")
	var options []string
	for _, l := range strings.Split(config.Usage(), "\n") {
		m := regexp.MustCompile(`^  (?:-[a-zA-Z], |    )(--[a-z0-9-]+)(\[=| )?([A-Z]+)?`).FindStringSubmatch(l)
		if m != nil {
			options = append(options, m[1])
			if want := m[1] + m[2] + m[3]; !strings.Contains(text, strings.TrimSpace(want)) {
				t.Errorf("%q is not in the manual page", want)
			}
		}
	}
	if len(options) < 40 || !slices.Contains(options, "--share") {
		t.Errorf("options found: %v", options)
	}
	for _, want := range []string{"NAME virtiofsd-go - share", "EXIT STATUS", "PATH.pid", "-o, --compat-options LIST"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the manual page", want)
		}
	}
}
