// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/internal/fault"
)

// base are the options that every command line needs.
func base(more ...string) []string {
	return append([]string{"--shared-dir", "/srv", "--socket-path", "/run/fs.sock"}, more...)
}

func with(change func(*Config)) Config {
	c := Default()
	c.SharedDir, c.SocketPath = "/srv", "/run/fs.sock"
	change(&c)
	return c
}

func rules(t *testing.T, texts ...string) (rs []fault.Rule) {
	t.Helper()
	for _, s := range texts {
		r, err := fault.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want Config
	}{
		{"defaults", base(), with(func(*Config) {})},
		{"equals sign", []string{"--shared-dir=/srv", "--socket-path=/run/fs.sock"}, with(func(*Config) {})},
		{"last wins", base("--shared-dir", "/a", "--cache=never", "--cache=always", "--shared-dir=/b"),
			with(func(c *Config) { c.SharedDir = "/b"; c.Cache = CacheAlways })},
		{"cache in capitals", base("--cache", "NeVeR"), with(func(c *Config) { c.Cache = CacheNever })},
		{"cache metadata", base("--cache", "metadata"), with(func(c *Config) { c.Cache = CacheMetadata })},
		{"log level", base("--log-level", "TRACE"), with(func(c *Config) { c.LogLevel = LogTrace })},
		{"switches", base("--xattr", "--readonly"), with(func(c *Config) { c.XAttr = true; c.ReadOnly = true })},
		{"longest tag", base("--tag", strings.Repeat("t", 36)), with(func(c *Config) { c.Tag = strings.Repeat("t", 36) })},
		{"most queues", base("--num-request-queues=64"), with(func(c *Config) { c.NumRequestQueues = 64 })},
		{"longest socket path", []string{"--shared-dir", "/srv", "--socket-path", strings.Repeat("p", 107)},
			with(func(c *Config) { c.SocketPath = strings.Repeat("p", 107) })},
		{"faults, each of which counts", base("--fault", "write nth=3 error=EIO", "--fault=any delay=1s"),
			with(func(c *Config) { c.Faults = rules(t, "write nth=3 error=EIO", "any delay=1s") })},
		{"fd", []string{"--shared-dir", "/srv", "--fd", "3"}, with(func(c *Config) { c.SocketPath = ""; c.FD = 3 })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.args)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}

func TestParseMistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want []string // a part of each line
	}{
		{"nothing", nil, []string{"--shared-dir is missing", "--socket-path is missing"}},
		{"empty values", []string{"--shared-dir=", "--socket-path="}, []string{
			"--shared-dir is given an empty value", "--socket-path is given an empty value",
			"--shared-dir is missing", "--socket-path is missing"}},
		{"both sockets", base("--fd=3"), []string{"--socket-path and --fd exclude each other"}},
		{"bad fd", base("--fd=x"), []string{`--fd cannot be "x": not a number from 0 up`}},
		{"negative fd", base("--fd=-2"), []string{`--fd cannot be "-2": not a number from 0 up`}},
		{"standard error as the socket", []string{"--shared-dir=/srv", "--fd=2"}, []string{"--fd 2 is not possible, as 0 to 2 are standard"}},
		{"huge fd", base("--fd=4294967299"), []string{`--fd cannot be "4294967299"`}},
		{"long path", []string{"--shared-dir=/srv", "--socket-path", strings.Repeat("p", 108)},
			[]string{"--socket-path is 108 bytes long, and Linux takes at most 107"}},
		{"long tag", base("--tag", strings.Repeat("t", 37)), []string{"--tag is 37 bytes long, and the virtio-fs device has room for 36"}},
		{"tag of two-byte letters", base("--tag", strings.Repeat("ä", 19)), []string{"--tag is 38 bytes long"}},
		{"empty tag", base("--tag="), []string{"--tag is given an empty value"}},
		{"NUL in tag", base("--tag=a\x00b"), []string{"--tag has a NUL byte"}},
		{"cache", base("--cache=none"), []string{`--cache "none" is not known: give one of never, metadata, auto, always`}},
		{"level", base("--log-level=loud"), []string{`--log-level "loud" is not known: give one of off, error, warn, info, debug, trace`}},
		{"no queue", base("--num-request-queues=0"), []string{"--num-request-queues is 0: give a number from 1 to 64"}},
		{"65 queues", base("--num-request-queues=65"), []string{"--num-request-queues is 65"}},
		{"queues in words", base("--num-request-queues=many"), []string{`--num-request-queues cannot be "many": invalid syntax`}},
		{"empty fault", base("--fault="), []string{`--fault cannot be "": the rule is empty; write nth=3 error=EIO is one, for instance (see --help)`}},
		{"second fault", base("--fault=any hang", "--fault=write error=EFOO:"), []string{`--fault cannot be "write error=EFOO:": error="EFOO:" is not the name of an errno, such as EIO or ENOSPC (see --help)`}},
		{"value missing", []string{"--shared-dir"}, []string{"--shared-dir needs a value after it"}},
		{"unknown", base("--frobnicate"), []string{"unknown flag: --frobnicate (see --help)"}},
		{"the Rust daemon's", base("--sandbox=none"), []string{"--sandbox is an option of the Rust virtiofsd that virtiofsd-go does not have: leave it out"}},
		{"legacy -o", base("-o", "source=/"), []string{"unknown shorthand flag: 'o' in -o (see --help)"}},
		{"a word", base("/srv"), []string{`"/srv" is not an option`}},
		{"three at once", []string{"--shared-dir=/srv", "--cache=x", "--log-level=y"},
			[]string{"--socket-path is missing", `--cache "x"`, `--log-level "y"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.args)
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("%d lines, want %d:\n%v", len(lines), len(tt.want), err)
			}
			for i, want := range tt.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %d is %q, want %q in it", i+1, lines[i], want)
				}
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want error
	}{
		{[]string{"-h"}, ErrHelp}, {[]string{"--help"}, ErrHelp}, {base("--help"), ErrHelp},
		{[]string{"-V"}, ErrVersion}, {[]string{"--version"}, ErrVersion}, {[]string{"-hV"}, ErrHelp},
	} {
		if _, err := Parse(tt.args); !errors.Is(err, tt.want) {
			t.Errorf("%v: %v, want %v", tt.args, err, tt.want)
		}
	}
}

// Programs that start the daemon look for option names in the help text.
func TestUsageNamesEveryOption(t *testing.T) {
	for _, want := range []string{"--shared-dir DIR", "--socket-path PATH", "--fd N", "--tag TAG", "--cache POLICY",
		"never, metadata, auto, always", "(default auto)", "--xattr", "--readonly", "--log-level LEVEL",
		"(default info)", "--fault RULE", "--num-request-queues N", "(default 1)", "-V, --version", "-h, --help"} {
		if !strings.Contains(Usage(), want) {
			t.Errorf("%q is not in the help text:\n%s", want, Usage())
		}
	}
}

// An option is either ours or in the list of those that we know we lack.
func TestOtherOptionsAreNotOurs(t *testing.T) {
	c := Default()
	fs, _, _ := flagSet(&c)
	for _, name := range otherOptions {
		if fs.Lookup(name) != nil {
			t.Errorf("--%s is in the list of options that we do not have", name)
		}
	}
}

// args writes c as a command line.
func (c Config) args() []string {
	a := []string{"--shared-dir=" + c.SharedDir, "--cache=" + string(c.Cache), "--log-level=" + string(c.LogLevel),
		"--num-request-queues=" + strconv.Itoa(c.NumRequestQueues),
		"--xattr=" + strconv.FormatBool(c.XAttr), "--readonly=" + strconv.FormatBool(c.ReadOnly)}
	if c.SocketPath != "" {
		a = append(a, "--socket-path="+c.SocketPath)
	}
	if c.FD != -1 {
		a = append(a, "--fd="+strconv.Itoa(c.FD))
	}
	for _, r := range c.Faults {
		a = append(a, "--fault="+r.String())
	}
	if c.Tag != "" {
		a = append(a, "--tag="+c.Tag)
	}
	return a
}

// FuzzFlags: whatever the command line (its words are the lines of the input), Parse either says
// what is wrong, or gives a configuration that is valid and that survives being written out.
func FuzzFlags(f *testing.F) {
	for _, seed := range []string{
		"", "-h", "--version", "--shared-dir\n/srv\n--socket-path\n/run/s", "--shared-dir=/srv\n--fd=3\n--xattr",
		"--shared-dir=/\n--socket-path=s\n--tag=t\n--cache=NEVER\n--readonly=false\n--log-level=off",
		"--shared-dir=/\n--socket-path=s\n--fault=write path=\"a b\" p=.5 error=EIO\n--fault=any hang",
		"--shared-dir=/\n--socket-path=s\n--num-request-queues=0x10", "--\n--shared-dir", "-o\nsource=/", "-Vh", "--=", "-\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := Parse(strings.Split(line, "\n"))
		if err != nil {
			for l := range strings.SplitSeq(err.Error(), "\n") {
				if strings.TrimSpace(l) == "" {
					t.Errorf("an empty line in %q", err)
				}
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("accepted, but not valid: %v", err)
		}
		again, err := Parse(c.args())
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%+v, written out and read again: %+v, %v", c, again, err)
		}
	})
}
