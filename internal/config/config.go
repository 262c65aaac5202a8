// SPDX-License-Identifier: Apache-2.0

// Package config holds the daemon's options: one struct, how it is parsed from a command line, and
// what values are possible. It touches no files; whether a directory exists is found out by the
// daemon when it starts.
package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/virtiofsd-go/virtiofsd-go/internal/fault"
)

// Version of the daemon, as --version prints it.
const Version = "0.1.0"

// Limits that come from elsewhere.
const (
	maxTag    = 36  // bytes; virtio 1.2 section 5.11.4, virtio_fs_config.tag
	maxPath   = 107 // bytes; sockaddr_un.sun_path has 108 with the closing NUL (unix(7))
	firstFD   = 3   // the first file descriptor after stdin, stdout and stderr
	maxQueues = 64  // request queues that the daemon can serve for one VM
)

// Config is everything that the user can choose. Default has the values that hold when an option
// is not given.
type Config struct {
	// SharedDir is the directory on the host that the guest sees. It must be given and exist.
	SharedDir string

	// SocketPath is where the daemon listens for the VMM. Its directory must exist. Either it or
	// FD must be given.
	SocketPath string

	// FD is the number, 3 or above, of an inherited, listening unix stream socket; -1: none.
	FD int

	// Tag is the name, in bytes 1 to 36, under which the guest mounts the share. "" (default)
	// leaves it to the VMM: QEMU and cloud-hypervisor have a setting of their own. User-mode Linux,
	// crosvm and libkrun ask the daemon.
	Tag string

	// Cache says how long the guest may trust what it knows. Default: CacheAuto.
	Cache Cache

	// XAttr lets the guest see and set extended attributes. Default: false.
	XAttr bool

	// ReadOnly answers every change with EROFS. The guest's mount does not show it. Default: false.
	ReadOnly bool

	// Faults are the rules by which calls of the host fail on purpose, for tests of guests.
	// Default: none.
	Faults []fault.Rule

	// LogLevel is the least important kind of message to print. Default: LogInfo.
	LogLevel LogLevel

	// NumRequestQueues is the number of request queues, 1 to 64, that a VMM without a setting of its
	// own is told. A VMM with one (QEMU's num-request-queues) may use up to 64 whatever this says.
	// Default: 1. User-mode Linux 6.1 sets up as many as it is told, and runs out of interrupt
	// numbers long before 64.
	NumRequestQueues int
}

// Default returns the values of the options that are not given.
func Default() Config {
	return Config{FD: -1, Cache: CacheAuto, LogLevel: LogInfo, NumRequestQueues: 1}
}

// Validate reports all that is wrong with c, one line each, joined; nil if it can be used.
func (c Config) Validate() error {
	return errors.Join(c.validateDir(), c.validateSocket(), c.validateTag(), c.validateQueues(),
		validateChoice("--cache", c.Cache, caches), validateChoice("--log-level", c.LogLevel, logLevels))
}

func (c Config) validateDir() error {
	switch {
	case c.SharedDir == "":
		return errors.New("--shared-dir is missing: give the directory that the guest shall see")
	case strings.ContainsRune(c.SharedDir, 0):
		return errors.New("--shared-dir has a NUL byte in it: no path can")
	}
	return nil
}

func (c Config) validateSocket() error {
	switch {
	case c.SocketPath == "" && c.FD == -1:
		return errors.New("--socket-path is missing: say where to listen for the VMM (or hand over a listening socket by --fd)")
	case c.SocketPath != "" && c.FD != -1:
		return errors.New("--socket-path and --fd exclude each other: give one of them")
	case c.FD != -1 && c.FD < firstFD:
		return fmt.Errorf("--fd %d is not possible, as 0 to 2 are standard input, output and error: hand the listening socket over as 3 or above", c.FD)
	case strings.ContainsRune(c.SocketPath, 0):
		return errors.New("--socket-path has a NUL byte in it: no path can")
	case len(c.SocketPath) > maxPath:
		return fmt.Errorf("--socket-path is %d bytes long, and Linux takes at most %d for a socket: choose a shorter path, or change into its directory and give a relative one",
			len(c.SocketPath), maxPath)
	}
	return nil
}

func (c Config) validateTag() error {
	switch {
	case len(c.Tag) > maxTag:
		return fmt.Errorf("--tag is %d bytes long, and the virtio-fs device has room for %d: choose a shorter one", len(c.Tag), maxTag)
	case strings.ContainsRune(c.Tag, 0):
		return errors.New("--tag has a NUL byte in it, where the guest would end it: leave it out")
	}
	return nil
}

func (c Config) validateQueues() error {
	if c.NumRequestQueues < 1 || c.NumRequestQueues > maxQueues {
		return fmt.Errorf("--num-request-queues is %d: give a number from 1 to %d", c.NumRequestQueues, maxQueues)
	}
	return nil
}
