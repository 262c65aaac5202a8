// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// What Parse returns when the command line asks for something else than to serve.
var (
	ErrHelp         = errors.New("help wanted")
	ErrVersion      = errors.New("version wanted")
	ErrCapabilities = errors.New("capabilities wanted")
)

// Capabilities is what --print-capabilities prints: the JSON of QEMU's docs/interop/vhost-user.json,
// type VHostUserBackendCapabilities, with the features that the Rust virtiofsd has names for. libvirt
// uses long options only where "separate-options" is told, and Incus --posix-acl=auto where its
// feature is.
const Capabilities = `{
  "type": "fs",
  "features": [
    "posix-acl-negotiation-mode",
    "security-label-negotiation-mode",
    "separate-options"
  ]
}
`

// line is what settings are applied to, one after the other.
type line struct {
	handed []string
	groups groups
	flags  *pflag.FlagSet // of all groups

	config Config
	share  Share            // of --shared-dir, or the defaults of those of --share
	places map[string]place // where each option was given the last time

	shares          []setting // each --share
	legacy          []string  // each -o
	debug, noEffect bool      // -d, -f
}

func newLine(handed []string) *line {
	l := &line{handed: handed, config: Default(), share: DefaultShare(), places: map[string]place{}}
	l.groups = shareGroups(&l.share, handed)
	l.groups.add("Several shares in one process", severalFlags)
	l.groups.add("Rights and limits", l.config.rightsFlags)
	l.groups.add("Live migration", l.config.migrationFlags)
	l.groups.add("Messages", l.config.messageFlags)
	l.groups.add("Options from files, and locked options", fileFlags)
	l.groups.add("Other", otherFlags)
	l.groups.add("Of older virtiofsd, deprecated", l.legacyFlags)
	l.flags = l.groups.all()
	return l
}

// The flags that gather looks at itself have no place to put their value.

func severalFlags(fs *pflag.FlagSet) {
	fs.StringArray("share", nil, "`SHARE` DIR,socket=PATH[,option][,option=value]... with the options above, whose values beside --share are the defaults; can be given several times, instead of --shared-dir and --socket-path")
}

func fileFlags(fs *pflag.FlagSet) {
	fs.StringArray("config", nil, "take the options in `FILE`, one in a line as option = value, those of shares below [NAME]; what follows on the command line counts over them; can be given several times")
	fs.Bool("locked", false, "what was given before, or is in the same file, cannot be widened by what is given after; can be given several times")
}

func otherFlags(fs *pflag.FlagSet) {
	fs.Bool("print-capabilities", false, "print in JSON what programs that start the daemon ask for, and exit")
	fs.BoolP("help", "h", false, "print this text and exit")
	fs.BoolP("version", "V", false, "print the version and exit")
}

// Parse reads the options in args (without the program's name), and those in files that they name, over
// the defaults and validates the outcome. Of an option that is given twice the last one counts, but
// those that say so count each time; after a --locked none may widen what came before. handed are the names of the sockets, from file descriptor 3 on, that a service manager
// has handed over: a single one is taken if nothing is said about a socket. The error is ErrHelp, ErrVersion, ErrCapabilities, or says in one line for each mistake
// what is wrong and what to do.
func Parse(args, handed []string) (Config, error) {
	given, err := gather(args, handed)
	switch {
	case err != nil:
		return Config{}, explain(err)
	case given.settings.asks("help"):
		return Config{}, ErrHelp
	case given.settings.asks("version"):
		return Config{}, ErrVersion
	case given.settings.asks("print-capabilities"):
		return Config{}, ErrCapabilities
	case len(given.words) > 0:
		return Config{}, fmt.Errorf("%q is not an option: the directory is given as --shared-dir DIR, the socket as --socket-path PATH", given.words[0])
	}
	return given.outcome(handed)
}

// outcome is what the options given mean.
func (given *commandLine) outcome(handed []string) (Config, error) {
	if given.err != nil {
		return Config{}, given.err
	}
	l := newLine(handed)
	if err := errors.Join(l.apply(given.settings), l.applyLegacy()); err != nil {
		return Config{}, err
	}
	shares, err := l.shareList()
	if err != nil && len(l.shares) > 0 {
		return Config{}, err
	}
	c := l.finish(shares)
	if err := errors.Join(err, l.locate(c.Validate(), shares)); err != nil {
		return Config{}, err
	}
	if err := given.checkLocks(handed, c); err != nil {
		return Config{}, err
	}
	return c, nil
}

// apply sets each of the settings and returns all that is wrong.
func (l *line) apply(all settings) error {
	var errs []error
	for _, s := range all {
		if s.share != nil {
			l.shares = append(l.shares, s)
			continue
		}
		l.places[s.option] = s.at
		if err := l.flags.Set(s.option, s.value); err != nil {
			errs = append(errs, eachMistake(explain(err), func(m *mistake) { m.at = s.at }))
		}
	}
	return errors.Join(errs...)
}

// finish is the outcome with these shares.
func (l *line) finish(shares []parsedShare) Config {
	c := l.config
	flags := []*pflag.FlagSet{l.flags}
	for _, s := range shares {
		c.Shares = append(c.Shares, s.Share)
		flags = append(flags, s.flags)
	}
	c.Notices = append(l.deprecated(), notYet(flags...)...)
	return c
}

// locate adds to mistakes where in a file they were made.
func (l *line) locate(err error, shares []parsedShare) error {
	return eachMistake(err, func(m *mistake) {
		m.at = l.places[m.option]
		if len(l.shares) == 0 {
			return
		}
		s := shares[max(m.share, 0)]
		if at, own := s.places[m.option]; own {
			m.at = at
		} else if m.at == (place{}) && (m.option == "" || s.flags.Lookup(m.option) != nil) {
			m.at = s.at
		}
	})
}

// imply turns on what other options need.
func (s *Share) imply() {
	if s.XAttrMap != "" || s.PosixACL != NegotiateNever || s.SecurityLabel != NegotiateNever {
		s.XAttr = true
	}
}

// emptyValues finds the options that were given with nothing as their value: mostly a shell
// variable that is not set.
func emptyValues(fs *pflag.FlagSet, places map[string]place) error {
	var errs []error
	for _, name := range []string{"shared-dir", "socket-path", "socket", "socket-group", "tag", "xattrmap", "modcaps"} {
		if f := fs.Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			err := wrong(name, "is given an empty value: leave it out, or give it one")
			errs = append(errs, eachMistake(err, func(m *mistake) { m.at = places[name] }))
		}
	}
	return errors.Join(errs...)
}

// Usage is the text of --help.
func Usage() string {
	return "virtiofsd-go " + Version + ": shares a host directory with a virtual machine by virtio-fs\n\n" +
		"Usage: virtiofsd-go --shared-dir DIR --socket-path PATH [options]\n" +
		"       virtiofsd-go --share DIR,socket=PATH --share DIR,socket=PATH ... [options]\n" +
		"       virtiofsd-go --config FILE [options]\n" + newLine(nil).groups.usage()
}
