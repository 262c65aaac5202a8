// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// inFile writes a file of options, vm.conf, and changes into its directory.
func inFile(t *testing.T, lines ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("vm.conf", []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		args  []string // behind --config
		same  []string // the command line that means the same
	}{
		{"one share", []string{"# a comment", "", "shared-dir = /srv", "socket-path=/run/fs.sock", "\tcache =\talways ", "readonly", "posix-acl", "xattr = yes", "flock = Off\r"}, nil,
			base("--cache=always", "--readonly", "--posix-acl", "--xattr")},
		{"values with = and #", []string{"shared-dir = /a=b #c", "socket-path = /run/fs.sock"}, nil, []string{"--shared-dir=/a=b #c", "--socket-path=/run/fs.sock"}},
		{"bytes that are no UTF-8", []string{"shared-dir = /\xff", "socket-path = s"}, nil, []string{"--shared-dir=/\xff", "--socket-path=s"}},
		{"lists", []string{"shared-dir = /srv", "socket-path = /run/fs.sock", "translate-uid = map:0:1:1", "translate-uid = map:1:5:1", "fault = read short=1", "fault = any hang"},
			[]string{"--translate-uid=map:2:7:1"},
			base("--translate-uid=map:0:1:1", "--translate-uid=map:1:5:1", "--translate-uid=map:2:7:1", "--fault=read short=1", "--fault=any hang")},
		{"what follows counts over it", []string{"cache = never", "log-level = warn"}, base("--cache=always"), base("--log-level=warn", "--cache=always")},
		{"and it over what went before", []string{"cache = never"}, []string{"--shared-dir=/srv", "--socket-path=/run/fs.sock", "--config=vm.conf", "--cache=auto", "--config", "vm.conf"}, base("--cache=never")},
		{"several shares", []string{"cache = always", "translate-uid = map:0:1:1", "[a]", "shared-dir = /a", "socket-path = s", "[ b c ]", "socket-path = t", "shared-dir = /b,c", "cache = never", "translate-uid = host:1:2:3"}, nil,
			[]string{"--cache=always", "--translate-uid=map:0:1:1", "--share=/a,socket-path=s", "--share=/b,,c,socket-path=t,cache=never,translate-uid=host:1:2:3"}},
		{"and one more", []string{"[a]", "shared-dir = /a", "socket-path = s"}, []string{"--share=/b,fd=4", "--xattr"}, []string{"--xattr", "--share=/a,socket-path=s", "--share=/b,fd=4"}},
		{"none", nil, base(), base()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inFile(t, tt.lines...)
			got, err := Parse(append([]string{"--config", "vm.conf"}, tt.args...), nil)
			if err != nil {
				t.Fatal(err)
			}
			want, err := Parse(tt.same, nil)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v, %v", got, want, err)
			}
		})
	}
}

func TestFileMistakes(t *testing.T) {
	for _, tt := range []struct {
		lines, want []string // want: each line, to its end or to a "..."
	}{
		{[]string{"shared-dir = /a"}, []string{"--socket-path is missing..."}},
		{[]string{"nonsense = 1", "--cache = never", "cache"}, []string{
			`vm.conf:1: "nonsense" is not an option: see --help, and write it without dashes`, `vm.conf:2: "--cache" is not an option...`, "vm.conf:3: cache needs a value: write cache = VALUE"}},
		{[]string{"", "sandbox = jail", "tag = " + strings.Repeat("t", 40), "shared-dir=/", "socket-path=s"}, []string{
			"vm.conf:3: tag is 40 bytes long, and the virtio-fs device has room for 36: choose a shorter one", `vm.conf:2: sandbox "jail" is not known: give one of namespace, chroot, none`}},
		{[]string{"readonly = maybe", "fd = x", "page-cache-size = lots"}, []string{
			`vm.conf:1: readonly cannot be "maybe": invalid syntax (see --help)`, `vm.conf:2: fd cannot be "x": not a number from 0 up (see --help)`, `vm.conf:3: page-cache-size cannot be "lots"...`}},
		{[]string{"cache = never", "cache = auto"}, []string{"vm.conf:2: cache is given in line 1 already: leave one of them out"}},
		{[]string{"[a]", "cache = never", "[b]", "cache = auto", "cache = always"}, []string{"vm.conf:5: cache is given in line 4 already..."}},
		{[]string{"[a]", "sandbox = none", "locked"}, []string{"vm.conf:2: sandbox is not an option of a share: write it above the first [NAME]", "vm.conf:3: locked is not an option of a share..."}},
		{[]string{"[a"}, []string{`vm.conf:1: "[a" begins no share: write its name between [ and ]`}},
		{[]string{"[ ]"}, []string{`vm.conf:1: "[ ]" begins no share...`}},
		{[]string{"config = vm.conf", "share = /a", "help", "socket = s", "compat-options = xattr"}, []string{
			"vm.conf:1: config cannot be given in a file", "vm.conf:2: share cannot...", "vm.conf:3: help cannot...", "vm.conf:4: socket cannot...", "vm.conf:5: compat-options cannot..."}},
		{[]string{"tag = a\x00b", "tag = a\x1b[31mb"}, []string{"vm.conf:1: there is a control character in the line...", "vm.conf:2: there is a control character..."}},
		{[]string{"[a]", "shared-dir = /a", "[b]", "shared-dir=/b", "fd=3", "translate-uid = none"}, []string{
			"vm.conf:1: socket-path is missing...", `vm.conf:6: translate-uid: "none": this is no rule...`}},
		{[]string{"[a]", "socket-path = s", "shared-dir = /b", "[b]", "shared-dir = /a", "socket-path = s"}, []string{"vm.conf:4: another share has the same socket: give each its own"}},
		{[]string{"shared-dir = /a", "[a]", "shared-dir = /b", "fd = 3"}, []string{"vm.conf:1: shared-dir and --share exclude each other: --share DIR,socket=PATH says both, as does [NAME] in a file"}},
		{[]string{"[a]", "shared-dir = /b", "fd = 3", "tag ="}, []string{"vm.conf:4: tag is given an empty value: leave it out, or give it one"}},
		{[]string{"locked = false"}, []string{`vm.conf:1: locked cannot be "false": it is given, or left out`}},
	} {
		inFile(t, tt.lines...)
		_, err := Parse([]string{"--config=vm.conf"}, nil)
		if err == nil {
			t.Errorf("%q is taken", tt.lines)
			continue
		}
		wantLines(t, err, tt.want)
	}
}

// wantLines compares each line of err to its end, or to a "..." in what is wanted.
func wantLines(t *testing.T, err error, want []string) {
	t.Helper()
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Errorf("%q, want %d lines", lines, len(want))
		return
	}
	for i, w := range want {
		begin, cut := strings.CutSuffix(w, "...")
		if lines[i] != w && !(cut && strings.HasPrefix(lines[i], begin)) {
			t.Errorf("line %d is %q, want %q", i+1, lines[i], w)
		}
	}
}

func TestFileCannotBeRead(t *testing.T) {
	inFile(t, strings.Repeat("#", maxFile+1))
	for path, want := range map[string]string{
		"vm.conf":         "--config vm.conf is larger than 1 MiB: it is no file of options",
		"/no/such.conf":   "--config /no/such.conf cannot be read: no such file or directory",
		filepath.Dir("."): "--config . cannot be read: is a directory",
	} {
		_, err := Parse(base("--config", path), nil)
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The example that is installed is one.
func TestExampleFile(t *testing.T) {
	const example = "../../packaging/example.conf"
	c, err := Parse([]string{"--config=" + example}, nil)
	if err != nil || len(c.Shares) != 2 {
		t.Fatalf("%d shares, %v", len(c.Shares), err)
	}
	if _, err := Parse([]string{"--config=" + example, "--sandbox=none"}, nil); err == nil {
		t.Error("it does not lock the sandbox")
	}
}

// FuzzFile: any text is taken or refused line by line, and what is taken is valid.
func FuzzFile(f *testing.F) {
	example, err := os.ReadFile("../../packaging/example.conf")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(example), "shared-dir = /srv\nsocket-path = s\nreadonly\nlocked\n", "[a]\nshared-dir=/a\nfd=3\n[b]\nshared-dir=/b\nfd=4\nxattr = no\n",
		"fault = any hang\ntranslate-uid = map:0:1:1\r\ncache = \n", "[", "=", "#", "locked = 0", "posix-acl\nsecurity-label=auto",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		given := &commandLine{}
		given.err = given.addText("vm.conf", text)
		c, err := given.outcome(nil)
		if err == nil {
			if err := c.Validate(); err != nil {
				t.Fatalf("accepted, but not valid: %v", err)
			}
			return
		}
		for l := range strings.SplitSeq(err.Error(), "\n") {
			if strings.TrimSpace(l) == "" || strings.ContainsFunc(l, func(r rune) bool { return r < ' ' && r != '\t' }) {
				t.Errorf("a line that is none in %q", err)
			}
		}
	})
}
