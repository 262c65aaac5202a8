// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
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

func validateChoice[T ~string](option string, v T, all []T) error {
	if slices.Contains(all, v) {
		return nil
	}
	return fmt.Errorf("%s %q is not known: give one of %s", option, string(v), list(all))
}

func list[T ~string](all []T) string {
	words := make([]string, len(all))
	for i, v := range all {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}

// choice is an option whose value is one of a few words, in any case of letters. It takes any word;
// Validate refuses the unknown, so that all mistakes are told at once.
type choice[T ~string] struct{ to *T }

func (c choice[T]) Set(s string) error { *c.to = T(strings.ToLower(s)); return nil }
func (c choice[T]) String() string     { return string(*c.to) }
func (c choice[T]) Type() string       { return "word" }
