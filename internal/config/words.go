// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
)

// Cache is a cache policy: how long a guest may trust names, attributes and file contents that it
// has seen, when the host or another guest may change them.
type Cache string

// The cache policies, by their names on the command line.
const (
	CacheNever    Cache = "never"    // trust nothing: every look asks the host; no shared mmap
	CacheMetadata Cache = "metadata" // trust names and attributes for a day, contents never
	CacheAuto     Cache = "auto"     // trust names and attributes for a second, contents from open to open
	CacheAlways   Cache = "always"   // trust everything: only the guest may change the share
)

var caches = []Cache{CacheNever, CacheMetadata, CacheAuto, CacheAlways}

// Negotiation says what happens with a feature that the guest's kernel has to know.
type Negotiation string

// The ways to negotiate, by their names on the command line.
const (
	NegotiateNever  Negotiation = "never"  // do not offer it
	NegotiateAuto   Negotiation = "auto"   // use it if the guest knows it
	NegotiateAlways Negotiation = "always" // refuse to serve a guest that does not know it
)

var negotiations = []Negotiation{NegotiateNever, NegotiateAuto, NegotiateAlways}

// FileHandles says whether files are known by the host's file handles (open_by_handle_at(2)).
type FileHandles string

// The uses of file handles, by their names on the command line.
const (
	FileHandlesNever     FileHandles = "never"     // do not use them
	FileHandlesPrefer    FileHandles = "prefer"    // use them where the host has them
	FileHandlesMandatory FileHandles = "mandatory" // do not start without them
)

var fileHandles = []FileHandles{FileHandlesNever, FileHandlesPrefer, FileHandlesMandatory}

// Sandbox is what keeps the process from the rest of the host.
type Sandbox string

// The sandboxes, by their names on the command line.
const (
	SandboxNamespace Sandbox = "namespace" // namespaces of its own, the share as its root
	SandboxChroot    Sandbox = "chroot"    // the share as its root
	SandboxNone      Sandbox = "none"      // nothing
)

var sandboxes = []Sandbox{SandboxNamespace, SandboxChroot, SandboxNone}

// Seccomp is what happens when the process makes a system call that it has no use for.
type Seccomp string

// The seccomp actions, by their names on the command line.
const (
	SeccompKill Seccomp = "kill" // the process ends
	SeccompLog  Seccomp = "log"  // the kernel logs it and goes on
	SeccompTrap Seccomp = "trap" // SIGSYS: the process says which call it was, and ends
	SeccompNone Seccomp = "none" // there is no filter
)

var seccomps = []Seccomp{SeccompKill, SeccompLog, SeccompTrap, SeccompNone}

// MigrationMode is how the files that the guest knows are told to the destination.
type MigrationMode string

// The migration modes, by their names on the command line.
const (
	MigrateFindPaths   MigrationMode = "find-paths"   // by their paths
	MigrateFileHandles MigrationMode = "file-handles" // by their file handles
)

var migrationModes = []MigrationMode{MigrateFindPaths, MigrateFileHandles}

// MigrationOnError is what happens with a file that the destination does not find.
type MigrationOnError string

// The reactions to a file that is not found, by their names on the command line.
const (
	MigrationAbort      MigrationOnError = "abort"       // the migration fails
	MigrationGuestError MigrationOnError = "guest-error" // the guest gets errors for this file
)

var migrationOnErrors = []MigrationOnError{MigrationAbort, MigrationGuestError}

// LogLevel is the least important kind of message that is printed.
type LogLevel string

// The log levels, by their names on the command line.
const (
	LogOff   LogLevel = "off"
	LogError LogLevel = "error"
	LogWarn  LogLevel = "warn"
	LogInfo  LogLevel = "info"
	LogDebug LogLevel = "debug"
	LogTrace LogLevel = "trace"
)

var logLevels = []LogLevel{LogOff, LogError, LogWarn, LogInfo, LogDebug, LogTrace}

func validateWord[T ~string](option string, v T, all []T) error {
	if slices.Contains(all, v) {
		return nil
	}
	return wrong(option, "%q is not known: give one of %s", string(v), list(all))
}

func list[T ~string](all []T) string {
	words := make([]string, len(all))
	for i, v := range all {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}

// word is an option whose value is one of a few words, in any case of letters. It takes any word;
// Validate refuses the unknown, so that all mistakes are told at once.
type word[T ~string] struct{ to *T }

func (c word[T]) Set(s string) error { *c.to = T(strings.ToLower(s)); return nil }
func (c word[T]) String() string     { return string(*c.to) }
func (c word[T]) Type() string       { return "word" }
