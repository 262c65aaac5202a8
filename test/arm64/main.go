// SPDX-License-Identifier: Apache-2.0

// Command arm64 runs the tests that need no guest as arm64 code, under the user mode emulation
// of the newest QEMU in Debian, which it fetches into the cache that the guests are kept in.
// make test-all runs it.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest"
	"github.com/virtiofsd-go/virtiofsd-go/test/guest/debs"
)

var emulator = debs.Bundle{Name: "qemu-user", Suites: []string{"sid"}, Packages: []string{"qemu-user"}}

// packages are those with code that could differ: guest memory, rings, system calls, wire formats.
var packages = []string{
	".", "./vhostuser", "./virtqueue/...", "./fusecore/...",
	"./cache", "./internal/config", "./internal/creds", "./internal/fault", "./internal/sys",
}

// left are tests that the emulator cannot run, with the reason.
var left = map[string]string{
	"TestFaults":       "it reports a bus error without the address, which then looks like a nil pointer",
	"TestGuardFaults":  "the same",
	"TestLogFaults":    "the same",
	"TestTruncatedLog": "the same",
	"TestHugePages":    "it does not map hugetlbfs",

	"TestFlagIoctls":    "it does not know FS_IOC_FSGETXATTR",
	"TestIoctlsRefused": "the same",
	"TestModel":         "it does not execute a program of its own kind",
	"TestForeignHolder": "the same",
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "arm64:", err)
		os.Exit(1)
	}
}

func run() error {
	tree, err := guest.OpenBundle(emulator, func(f string, a ...any) { fmt.Printf("arm64: "+f+"\n", a...) })
	if err != nil {
		return err
	}
	var skip []string
	for name, reason := range left {
		fmt.Printf("arm64: leaving out %s: %s\n", name, reason)
		skip = append(skip, "^"+name+"$")
	}
	args := append([]string{
		"test", "-count=1", "-p=1", "-timeout=20m", "-skip=" + strings.Join(skip, "|"),
		"-exec=" + filepath.Join(tree, "usr/bin/qemu-aarch64"),
	}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
