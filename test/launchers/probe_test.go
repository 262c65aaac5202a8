// SPDX-License-Identifier: Apache-2.0

package launchers

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Before they start it, some launchers ask the program what it is and can do.
func TestProbes(t *testing.T) {
	s := newSurroundings(t)
	ask := func(arg string) string {
		t.Helper()
		out, err := exec.Command(s.binary, arg).Output()
		if err != nil {
			t.Fatalf("%s: %v", arg, err) // virtme-ng and Lima leave such a program aside
		}
		return string(out)
	}
	if v := ask("--version"); !strings.HasPrefix(v, "virtiofsd") || strings.Count(v, "\n") != 1 {
		t.Errorf("--version prints %q", v)
	}
	// virtme-ng looks for options in the help text.
	for _, option := range []string{"--readonly", "--posix-acl", "--no-announce-submounts", "--sandbox", "--cache"} {
		if !strings.Contains(ask("--help"), option) {
			t.Errorf("%s is not in --help", option)
		}
	}
	// libvirt, by QEMU's docs/interop/vhost-user.json; Incus.
	var told struct {
		Type     string
		Features []string
	}
	if err := json.Unmarshal([]byte(ask("--print-capabilities")), &told); err != nil {
		t.Fatal(err)
	}
	want := []string{"posix-acl-negotiation-mode", "security-label-negotiation-mode", "separate-options"}
	if told.Type != "fs" || !slices.Equal(told.Features, want) {
		t.Errorf("--print-capabilities tells %+v, want type fs and %q", told, want)
	}
}
