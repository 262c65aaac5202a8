// SPDX-License-Identifier: Apache-2.0

// Command virtiofsd-go shares a host directory with a virtual machine: the virtio-fs back-end
// that a VMM connects to by vhost-user.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
	"github.com/virtiofsd-go/virtiofsd-go/internal/daemon"
)

// Exit codes, those of the Rust virtiofsd.
const (
	exitOK    = 0 // the VMM has gone, or a signal stopped the daemon cleanly
	exitError = 1 // it could not start, or serving failed
	exitUsage = 2 // the command line is wrong
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		io.WriteString(stderr, config.Usage())
		return exitUsage
	}
	cfg, err := config.Parse(args, daemon.HandedSockets())
	switch {
	case errors.Is(err, config.ErrHelp):
		io.WriteString(stdout, config.Usage())
		return exitOK
	case errors.Is(err, config.ErrVersion):
		fmt.Fprintln(stdout, "virtiofsd-go", config.Version)
		return exitOK
	case errors.Is(err, config.ErrCapabilities):
		io.WriteString(stdout, config.Capabilities)
		return exitOK
	case err != nil:
		report(stderr, err)
		return exitUsage
	}
	if err := daemon.Run(cfg, stderr); err != nil {
		report(stderr, err)
		return exitError
	}
	return exitOK
}

// report prints each of the joined errors on a line of its own.
func report(w io.Writer, err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(w, "virtiofsd-go:", line)
	}
}
