// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"strings"

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

// line is a command line that is being parsed.
type line struct {
	handed []string
	groups groups
	flags  *pflag.FlagSet // of all groups

	config Config
	share  Share

	help, version, capabilities bool

	shares          []string // each --share
	legacy          []string // each -o
	debug, noEffect bool     // -d, -f
}

func newLine(handed []string) *line {
	l := &line{handed: handed, config: Default(), share: DefaultShare()}
	l.groups = shareGroups(&l.share, handed)
	l.groups.add("Several shares in one process", l.severalFlags)
	l.groups.add("Rights and limits", l.config.rightsFlags)
	l.groups.add("Live migration", l.config.migrationFlags)
	l.groups.add("Messages", l.config.messageFlags)
	l.groups.add("Other", l.otherFlags)
	l.groups.add("Of older virtiofsd, deprecated", l.legacyFlags)
	l.flags = l.groups.all()
	return l
}

func (l *line) severalFlags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&l.shares, "share", nil, "`SHARE` DIR,socket=PATH[,option][,option=value]... with the options above, whose values beside --share are the defaults; can be given several times, instead of --shared-dir and --socket-path")
}

func (l *line) otherFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&l.capabilities, "print-capabilities", false, "print in JSON what programs that start the daemon ask for, and exit")
	fs.BoolVarP(&l.help, "help", "h", false, "print this text and exit")
	fs.BoolVarP(&l.version, "version", "V", false, "print the version and exit")
}

// Parse reads the options in args (without the program's name) over the defaults and validates
// the outcome. Of an option that is given twice the last one counts, but those that say so count
// each time. handed are the names of the sockets, from file descriptor 3 on, that a service manager
// has handed over: a single one is taken if nothing is said about a socket. The error is ErrHelp, ErrVersion, ErrCapabilities, or says in one line for each mistake
// what is wrong and what to do.
func Parse(args, handed []string) (Config, error) {
	l := newLine(handed)
	if err := l.flags.Parse(args); err != nil {
		return Config{}, explain(err)
	}
	switch {
	case l.help:
		return Config{}, ErrHelp
	case l.version:
		return Config{}, ErrVersion
	case l.capabilities:
		return Config{}, ErrCapabilities
	case l.flags.NArg() > 0:
		return Config{}, fmt.Errorf("%q is not an option: the directory is given as --shared-dir DIR, the socket as --socket-path PATH", l.flags.Arg(0))
	}
	if err := l.applyLegacy(); err != nil {
		return Config{}, err
	}
	shares, shareFlags, err := l.shareList()
	if err != nil && len(l.shares) > 0 {
		return Config{}, err
	}
	c := l.config
	c.Shares = shares
	c.Notices = append(l.deprecated(), notYet(c, append(shareFlags, l.flags)...)...)
	if err := errors.Join(err, c.Validate()); err != nil {
		return Config{}, err
	}
	return c, nil
}

// imply turns on what other options need.
func (s *Share) imply() {
	if s.XAttrMap != "" || s.PosixACL != NegotiateNever || s.SecurityLabel != NegotiateNever {
		s.XAttr = true
	}
}

// emptyValues finds the options that were given with nothing as their value: mostly a shell
// variable that is not set.
func emptyValues(fs *pflag.FlagSet) error {
	var errs []error
	for _, name := range []string{"shared-dir", "socket-path", "socket", "socket-group", "tag", "xattrmap", "modcaps"} {
		if f := fs.Lookup(name); f != nil && f.Changed && f.Value.String() == "" {
			errs = append(errs, fmt.Errorf("--%s is given an empty value: leave it out, or give it one", name))
		}
	}
	return errors.Join(errs...)
}

// Usage is the text of --help.
func Usage() string {
	return "virtiofsd-go " + Version + ": shares a host directory with a virtual machine by virtio-fs\n\n" +
		"Usage: virtiofsd-go --shared-dir DIR --socket-path PATH [options]\n" +
		"       virtiofsd-go --share DIR,socket=PATH --share DIR,socket=PATH ... [options]\n" + newLine(nil).groups.usage()
}

// explain turns the parser's error into a line that says what to do.
func explain(err error) error {
	var missing *pflag.ValueRequiredError
	if errors.As(err, &missing) {
		return fmt.Errorf("--%s needs a value after it (see --help)", missing.GetSpecifiedName())
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return fmt.Errorf("--%s cannot be %q: %s (see --help)", invalid.GetFlag().Name, invalid.GetValue(), reason(invalid))
	}
	return fmt.Errorf("%s (see --help)", strings.ReplaceAll(err.Error(), "\n", " "))
}

// reason is the cause without the parser's function names, as in strconv.ParseInt's errors.
func reason(err *pflag.InvalidValueError) string {
	s := err.Unwrap().Error()
	if i := strings.LastIndex(s, ": "); i >= 0 {
		s = s[i+2:]
	}
	return s
}
