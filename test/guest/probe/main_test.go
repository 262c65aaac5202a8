// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The program is one for guests; what it does there works on any Linux file system.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	named := filepath.Join(dir, "named")
	if err := run([]string{"tmpfile", named}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(named); err != nil {
		t.Error(err)
	}
	if err := run([]string{"replaced", named, "100"}); err != nil {
		t.Error(err)
	}
}

func TestRunComplains(t *testing.T) {
	for _, args := range [][]string{nil, {"handle"}, {"unknown", "file"}, {"replaced", "file", "many"}, {"tmpfile", "/nowhere/at/all"}, {"nodump", "/nowhere"}} {
		if run(args) == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
