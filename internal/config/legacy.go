// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

func (l *line) legacyFlags(fs *pflag.FlagSet) {
	fs.StringArrayVarP(&l.legacy, "compat-options", "o", nil, "`LIST` of options with commas between them, such as source=/srv,cache=auto")
	fs.BoolVarP(&l.debug, "compat-debug", "d", false, "--log-level debug")
	fs.BoolVarP(&l.noEffect, "compat-foreground", "f", false, "no effect: the daemon is always in the foreground")
}

// legacyWords are the values of -o that stand alone, and the options that they mean.
var legacyWords = map[string]string{
	"announce_submounts": "announce-submounts",
	"no_readdirplus":     "no-readdirplus", "readdirplus": "no-readdirplus=false",
	"xattr": "xattr", "no_xattr": "xattr=false",
	"writeback": "writeback", "no_writeback": "writeback=false",
	"allow_direct_io": "allow-direct-io", "no_allow_direct_io": "allow-direct-io=false",
	"killpriv_v2": "killpriv-v2", "no_killpriv_v2": "no-killpriv-v2",
	"posix_acl": "posix-acl=always", "no_posix_acl": "posix-acl=never",
	"security_label": "security-label=always", "no_security_label": "security-label=never",
	"posix_lock": "posix-lock", "no_posix_lock": "posix-lock=false",
	"flock": "flock", "no_flock": "flock=false",
}

// legacyValues are the values of -o that have a "=" and more behind them.
var legacyValues = map[string]string{
	"source": "shared-dir", "cache": "cache", "loglevel": "log-level", "sandbox": "sandbox",
	"xattrmap": "xattrmap", "modcaps": "modcaps",
}

// legacySpellings are values that had other names.
var legacySpellings = map[string]string{"cache=none": "never", "loglevel=err": "error"}

// applyLegacy sets what -o and -d ask for, over the long options.
func (l *line) applyLegacy() error {
	if l.debug {
		l.config.LogLevel = LogDebug
	}
	var errs []error
	for _, list := range l.legacy {
		for _, o := range splitList(list) {
			if err := l.applyOne(o); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (l *line) applyOne(o string) error {
	name, value, hasValue := strings.Cut(o, "=")
	if !hasValue {
		long, ok := legacyWords[o]
		if !ok {
			return fmt.Errorf("-o %s is not known: see --help for what is", o)
		}
		if name, value, hasValue = strings.Cut(long, "="); !hasValue {
			value = "true"
		}
		return l.set(name, value)
	}
	long, ok := legacyValues[name]
	if !ok {
		return fmt.Errorf("-o %s is not known: see --help for what is", o)
	}
	if spelled, ok := legacySpellings[o]; ok {
		value = spelled
	}
	return l.set(long, value)
}

func (l *line) set(name, value string) error {
	if err := l.flags.Set(name, value); err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	l.places[name] = place{}
	return nil
}

// deprecated are the notices about older forms.
func (l *line) deprecated() []string {
	var lines []string
	if len(l.legacy) > 0 {
		lines = append(lines, "-o is deprecated: use the options of --help")
	}
	if l.debug {
		lines = append(lines, "-d is deprecated: use --log-level debug")
	}
	if l.noEffect {
		lines = append(lines, "-f is deprecated and has no effect: the daemon is always in the foreground")
	}
	if l.flags.Changed("socket") {
		lines = append(lines, "--socket is deprecated: use --socket-path")
	}
	return lines
}

// splitList splits at commas; two commas stand for one that is part of a value.
func splitList(s string) (items []string) {
	const one = "\x00" // cannot be in an argument of a process
	for item := range strings.SplitSeq(strings.ReplaceAll(s, ",,", one), ",") {
		items = append(items, strings.ReplaceAll(item, one, ","))
	}
	return items
}
