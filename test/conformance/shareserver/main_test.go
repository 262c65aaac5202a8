// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What cannot be served ends the program with the reason, so that a test sees more than a
// closed connection.
func TestServeSaysWhatIsWrong(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "missing")
	err := serve(dir, limit.Max, false)
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("serve of a missing directory: %v, want an error that names it", err)
	}
	if err := serve(t.TempDir(), 1<<63, false); err == nil {
		t.Error("a limit above all limits was taken")
	}
}
