// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/virtiofsd-go/virtiofsd-go/internal/fault"
)

// What Parse returns when the command line asks for something else than to serve.
var (
	ErrHelp    = errors.New("help wanted")
	ErrVersion = errors.New("version wanted")
)

// Parse reads the options in args (without the program's name) over the defaults and validates
// the outcome. Given twice, the last one wins, but for --fault, which counts each time. The error is ErrHelp, ErrVersion, or says in one
// line for each mistake what is wrong and what to do.
func Parse(args []string) (Config, error) {
	c := Default()
	fs, help, version := flagSet(&c)
	if err := fs.Parse(args); err != nil {
		return Config{}, explain(err)
	}
	switch {
	case *help:
		return Config{}, ErrHelp
	case *version:
		return Config{}, ErrVersion
	case fs.NArg() > 0:
		return Config{}, fmt.Errorf("%q is not an option: the directory is given as --shared-dir DIR, the socket as --socket-path PATH", fs.Arg(0))
	}
	return c, errors.Join(emptyValues(fs), c.Validate())
}

// emptyValues finds the options that were given with nothing as their value: mostly a shell
// variable that is not set.
func emptyValues(fs *pflag.FlagSet) error {
	var errs []error
	for _, name := range []string{"shared-dir", "socket-path", "tag"} {
		if f := fs.Lookup(name); f.Changed && f.Value.String() == "" {
			errs = append(errs, fmt.Errorf("--%s is given an empty value: leave it out, or give it one", name))
		}
	}
	return errors.Join(errs...)
}

// Usage is the text of --help.
func Usage() string {
	c := Default()
	fs, _, _ := flagSet(&c)
	return "virtiofsd-go " + Version + ": shares a host directory with a virtual machine by virtio-fs\n\n" +
		"Usage: virtiofsd-go --shared-dir DIR --socket-path PATH [options]\n\nOptions:\n" + fs.FlagUsages()
}

func flagSet(c *Config) (fs *pflag.FlagSet, help, version *bool) {
	fs = pflag.NewFlagSet("virtiofsd-go", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	fs.StringVar(&c.SharedDir, "shared-dir", c.SharedDir, "host directory `DIR` that the guest sees")
	fs.StringVar(&c.SocketPath, "socket-path", c.SocketPath, "listen for the VMM on a unix socket at `PATH`")
	fs.Var(fdValue{&c.FD}, "fd", "listen on the inherited unix socket number `N` instead")
	fs.StringVar(&c.Tag, "tag", c.Tag, "`TAG` (1 to 36 bytes) to mount by; for VMMs that ask the daemon for it")
	fs.Var(choice[Cache]{&c.Cache}, "cache", "`POLICY` of caching, how long the guest trusts what it saw: "+list(caches))
	fs.BoolVar(&c.XAttr, "xattr", c.XAttr, "extended attributes")
	fs.BoolVar(&c.ReadOnly, "readonly", c.ReadOnly, "refuse every change with EROFS")
	fs.Var(faultValue{&c.Faults}, "fault", "for tests: make calls of the host fail by `RULE`, such as \"write nth=3 error=EIO\"; can be given several times")
	fs.Var(choice[LogLevel]{&c.LogLevel}, "log-level", "least `LEVEL` of messages to print: "+list(logLevels))
	fs.IntVar(&c.NumRequestQueues, "num-request-queues", c.NumRequestQueues, "request queues, `N` 1 to 64, for VMMs that ask the daemon for the number")
	help = fs.BoolP("help", "h", false, "print this text and exit")
	version = fs.BoolP("version", "V", false, "print the version and exit")
	return fs, help, version
}

// fdValue is the value of --fd. An own type, as "no file descriptor" shall not be printed as a
// default of -1.
type fdValue struct{ to *int }

func (v fdValue) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 {
		return errors.New("not a number from 0 up")
	}
	*v.to = int(n)
	return nil
}

func (v fdValue) String() string {
	if v.to == nil || *v.to < 0 {
		return ""
	}
	return strconv.Itoa(*v.to)
}

func (v fdValue) Type() string { return "int" }

// faultValue is the value of --fault, of which each one is added.
type faultValue struct{ to *[]fault.Rule }

func (v faultValue) Set(s string) error {
	r, err := fault.Parse(s)
	if err == nil {
		*v.to = append(*v.to, r)
	}
	return err
}

func (v faultValue) String() string {
	if v.to == nil {
		return ""
	}
	var rules []string
	for _, r := range *v.to {
		rules = append(rules, r.String())
	}
	return strings.Join(rules, "; ")
}

func (v faultValue) Type() string { return "rule" }

// otherOptions are options that the Rust virtiofsd 1.14 has and this daemon has not.
var otherOptions = []string{
	"allow-direct-io", "allow-mmap", "announce-submounts", "gid-map", "inode-file-handles",
	"killpriv-v2", "migration-confirm-paths", "migration-mode", "migration-on-error",
	"migration-verify-handles", "modcaps", "no-announce-submounts", "no-killpriv-v2",
	"no-readdirplus", "posix-acl", "preserve-noatime", "print-capabilities", "rlimit-nofile",
	"sandbox", "seccomp", "security-label", "socket", "socket-group", "syslog",
	"thread-pool-size", "translate-gid", "translate-uid", "uid-map", "writeback", "xattrmap",
}

// explain turns the parser's error into a line that says what to do.
func explain(err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && slices.Contains(otherOptions, unknown.GetSpecifiedName()) {
		return fmt.Errorf("--%s is an option of the Rust virtiofsd that virtiofsd-go does not have: leave it out", unknown.GetSpecifiedName())
	}
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
