// SPDX-License-Identifier: Apache-2.0

// Command virtiofsd-go shares a host directory with a virtual machine: the virtio-fs back-end
// that a VMM connects to by vhost-user.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
	"github.com/virtiofsd-go/virtiofsd-go/internal/daemon"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sandbox"
)

// Exit codes, those of the Rust virtiofsd.
const (
	exitOK    = 0 // the VMM has gone, or a signal stopped the daemon cleanly
	exitError = 1 // it could not start, or serving failed
	exitUsage = 2 // the command line is wrong
)

// The main thread starts the worker, or is the worker's first: see package sandbox.
func init() { runtime.LockOSThread() }

func main() {
	if sandbox.IsWorker() {
		os.Exit(end(daemon.Work(os.Stderr), os.Stderr))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

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
	return end(daemon.Run(cfg, stderr), stderr)
}

// end returns the exit code after serving has ended with err.
func end(err error, stderr io.Writer) int {
	var worker daemon.WorkerExit
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &worker):
		return int(worker)
	}
	report(stderr, err)
	return exitError
}

// report prints each of the joined errors on a line of its own.
func report(w io.Writer, err error) {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(w, "virtiofsd-go:", line)
	}
}
