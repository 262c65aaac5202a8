// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// The command line's words are tested in internal/config; here, what the process makes of them.
func TestExitCodesAndStreams(t *testing.T) {
	for _, tt := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // a part of it; "" means that nothing is printed there
	}{
		{"no argument", nil, 2, "", "Usage: virtiofsd-go --shared-dir DIR"},
		{"--help", []string{"--help"}, 0, "Usage: virtiofsd-go --shared-dir DIR", ""},
		{"-h", []string{"-h"}, 0, "--readonly", ""},
		{"--version", []string{"--version"}, 0, "virtiofsd-go ", ""},
		{"-V", []string{"-V"}, 0, "virtiofsd-go ", ""},
		{"--print-capabilities", []string{"--print-capabilities"}, 0, `"separate-options"`, ""},
		{"unknown option", []string{"--frob"}, 2, "", "virtiofsd-go: unknown flag: --frob (see --help)\n"},
		{"two mistakes, two lines", []string{"--cache=x", "--shared-dir=/", "--socket-path=s", "--tag="}, 2, "",
			"virtiofsd-go: --tag is given an empty value: leave it out, or give it one\nvirtiofsd-go: --cache \"x\" is not known: give one of never, metadata, auto, always\n"},
		{"a mistake in a rule", []string{"--shared-dir=/", "--socket-path=s", "--fault=write nth=3 error=EOI"}, 2, "",
			"virtiofsd-go: --fault cannot be \"write nth=3 error=EOI\": error=\"EOI\" is not the name of an errno, such as EIO or ENOSPC (see --help)\n"},
		{"a mistake in a file", []string{"--config=testdata/mistake.conf"}, 2, "",
			"virtiofsd-go: testdata/mistake.conf:3: sandbox \"jail\" is not known: give one of namespace, chroot, none\n"},
		{"arguments that a user has appended", []string{"--shared-dir=/srv", "--socket-path=s", "--locked", "-o", "source=/", "--sandbox=none"}, 2, "",
			"virtiofsd-go: --sandbox cannot become none: it is locked at namespace, the default, by --locked\nvirtiofsd-go: --shared-dir cannot become /: it is locked at /srv, by --locked\n"},
		{"start fails", []string{"--sandbox=none", "--shared-dir=/nonexistent", "--socket-path=/nonexistent/s"}, 1, "",
			"virtiofsd-go: the shared directory /nonexistent does not exist: create it, or correct --shared-dir\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			cmd := exec.Command(daemonBinary, tt.args...)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			cmd.Run() // its error is the exit code
			if got := cmd.ProcessState.ExitCode(); got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
			checkStream(t, "stdout", stdout.String(), tt.stdout)
			checkStream(t, "stderr", stderr.String(), tt.stderr)
		})
	}
}

func checkStream(t *testing.T, name, got, want string) {
	t.Helper()
	if (want == "") != (got == "") || !strings.Contains(got, want) {
		t.Errorf("%s is %q, want %q in it", name, got, want)
	}
}
