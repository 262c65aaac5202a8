// SPDX-License-Identifier: Apache-2.0

// Package posix holds go-fuse's posixtest suite as a test binary: run in a guest it checks a
// mounted share, run on the host it checks the suite itself on the host's own file system.
package posix

import (
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

var dir = flag.String("dir", "", "directory to test in; empty: one of the host's own")

// notHere are cases that no local file system passes, with the reason why.
var notHere = map[string]string{
	"FcntlFlockLocksFile": "POSIX locks of one process never conflict, whatever the descriptors",
}

// notOnHost are cases that only a guest runs, with the reason why.
var notOnHost = map[string]string{
	"OpenSymlinkRace": "it takes the host's /etc/passwd for stolen when it lies on the same file system",
	"XAttrLarge":      "the host's ext4 keeps all attributes of a file in one block, so 64 KiB do not fit",
}

// TestPosix runs every case of the suite in a fresh directory.
func TestPosix(t *testing.T) {
	names := make([]string, 0, len(posixtest.All))
	for n := range posixtest.All {
		if notHere[n] == "" && (*dir != "" || notOnHost[n] == "") {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		t.Run(n, func(t *testing.T) {
			if *dir == "" {
				posixtest.All[n](t, t.TempDir())
				return
			}
			d, err := os.MkdirTemp(*dir, n)
			if err != nil {
				t.Fatal(err)
			}
			posixtest.All[n](t, d)
			if err := os.RemoveAll(d); err != nil {
				t.Error(err)
			}
		})
	}
}
