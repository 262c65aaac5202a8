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

// with is what base gives, with a change to its share.
func with(change func(*Share)) Config {
	s := DefaultShare()
	s.SharedDir, s.SocketPath = "/srv", "/run/fs.sock"
	change(&s)
	c := Default()
	c.Shares = []Share{s}
	return c
}

// process is what base gives, with a change beside the share.
func process(change func(*Config)) Config {
	c := with(func(*Share) {})
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
		{"defaults", base(), with(func(*Share) {})},
		{"equals sign", []string{"--shared-dir=/srv", "--socket-path=/run/fs.sock"}, with(func(*Share) {})},
		{"last wins", base("--shared-dir", "/a", "--cache=never", "--cache=always", "--shared-dir=/b"),
			with(func(s *Share) { s.SharedDir = "/b"; s.Cache = CacheAlways })},
		{"cache in capitals", base("--cache", "NeVeR"), with(func(s *Share) { s.Cache = CacheNever })},
		{"cache metadata", base("--cache", "metadata"), with(func(s *Share) { s.Cache = CacheMetadata })},
		{"log level", base("--log-level", "TRACE"), process(func(c *Config) { c.LogLevel = LogTrace })},
		{"switches", base("--xattr", "--readonly", "--writeback", "--allow-mmap", "--allow-direct-io", "--no-readdirplus",
			"--preserve-noatime", "--killpriv-v2", "--posix-lock", "--flock"),
			with(func(s *Share) {
				s.XAttr, s.ReadOnly, s.Writeback, s.AllowMMap, s.AllowDirectIO, s.NoReadDirPlus = true, true, true, true, true, true
				s.PreserveNoAtime, s.KillPrivV2, s.PosixLock, s.Flock = true, true, true, true
			})},
		{"switches of the process", base("--syslog", "--migration-verify-handles", "--migration-confirm-paths"),
			process(func(c *Config) { c.Syslog, c.Migration.VerifyHandles, c.Migration.ConfirmPaths = true, true, true })},
		{"no killpriv last", base("--killpriv-v2", "--no-killpriv-v2"), with(func(*Share) {})},
		{"killpriv last", base("--no-killpriv-v2", "--killpriv-v2"), with(func(s *Share) { s.KillPrivV2 = true })},
		{"announce", base("--announce-submounts"), with(func(*Share) {})},
		{"no announce wins", base("--no-announce-submounts", "--announce-submounts"), with(func(s *Share) { s.AnnounceSubmounts = false })},
		{"ACLs imply xattrs", base("--posix-acl"), with(func(s *Share) { s.PosixACL, s.XAttr = NegotiateAlways, true })},
		{"ACLs if the guest knows them", base("--posix-acl=auto"), with(func(s *Share) { s.PosixACL, s.XAttr = NegotiateAuto, true })},
		{"no ACLs", base("--posix-acl", "--posix-acl=never"), with(func(*Share) {})},
		{"labels imply xattrs", base("--security-label"), with(func(s *Share) { s.SecurityLabel, s.XAttr = NegotiateAlways, true })},
		{"xattrmap implies xattrs", base("--xattrmap", ":map::user.virtiofs.:"), with(func(s *Share) { s.XAttrMap, s.XAttr = ":map::user.virtiofs.:", true })},
		{"file handles", base("--inode-file-handles=mandatory"), with(func(s *Share) { s.FileHandles = FileHandlesMandatory })},
		{"file handles, older word", base("--inode-file-handles=never", "--inode-file-handles=fallback"), with(func(*Share) {})},
		{"ids, each of which counts", base("--translate-uid=map:0:1000:1", "--translate-gid", "host:1:2:3", "--translate-uid", "forbid-guest:1:9"),
			with(func(s *Share) {
				s.TranslateUID, s.TranslateGID = []string{"map:0:1000:1", "forbid-guest:1:9"}, []string{"host:1:2:3"}
			})},
		{"ids with commas", base("--translate-uid=map,0,1000,1"), with(func(s *Share) { s.TranslateUID = []string{"map,0,1000,1"} })},
		{"rights", base("--sandbox=namespace", "--seccomp=LOG", "--modcaps=+sys_admin:-MKNOD", "--uid-map=:0:1000:1:", "--uid-map=:1:100000:65536:", "--gid-map=:0:100:1:"),
			process(func(c *Config) {
				c.Seccomp, c.ModCaps = SeccompLog, "+sys_admin:-MKNOD"
				c.UIDMap, c.GIDMap = []string{":0:1000:1:", ":1:100000:65536:"}, []string{":0:100:1:"}
			})},
		{"limits", base("--rlimit-nofile=0", "--thread-pool-size", "8"), process(func(c *Config) { c.RLimitNoFile, c.ThreadPoolSize = 0, 8 })},
		{"migration", base("--migration-mode=file-handles", "--migration-on-error=guest-error"),
			process(func(c *Config) { c.Migration.Mode, c.Migration.OnError = MigrateFileHandles, MigrationGuestError })},
		{"page cache", base("--page-cache-size=256MiB"), process(func(c *Config) { c.PageCacheSize = 256 << 20 })},
		{"no page cache", base("--page-cache-size", "0"), process(func(c *Config) { c.PageCacheSize = 0 })},
		{"largest page cache", base("--page-cache-size", "1t"), process(func(c *Config) { c.PageCacheSize = 1 << 40 })},
		{"longest tag", base("--tag", strings.Repeat("t", 36)), with(func(s *Share) { s.Tag = strings.Repeat("t", 36) })},
		{"most queues", base("--num-request-queues=64"), with(func(s *Share) { s.NumRequestQueues = 64 })},
		{"socket for a group", base("--socket-group", "kvm"), with(func(s *Share) { s.SocketGroup = "kvm" })},
		{"older name of the socket", []string{"--shared-dir=/srv", "--socket=/run/fs.sock"}, with(func(*Share) {})},
		{"longest socket path", []string{"--shared-dir", "/srv", "--socket-path", strings.Repeat("p", 107)},
			with(func(s *Share) { s.SocketPath = strings.Repeat("p", 107) })},
		{"faults, each of which counts", base("--fault", "write nth=3 error=EIO", "--fault=any delay=1s"),
			with(func(s *Share) { s.Faults = rules(t, "write nth=3 error=EIO", "any delay=1s") })},
		{"fd", []string{"--shared-dir", "/srv", "--fd", "3"}, with(func(s *Share) { s.SocketPath = ""; s.FD = 3 })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.args, nil)
			got.Notices = nil
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
		{"a word behind a switch", base("--posix-acl", "auto"), []string{`"auto" is not an option`}},
		{"ACLs, bad word", base("--posix-acl=maybe"), []string{`--posix-acl "maybe" is not known: give one of never, auto, always`}},
		{"labels, bad word", base("--security-label=1"), []string{`--security-label "1" is not known`}},
		{"file handles, bad word", base("--inode-file-handles=sometimes"), []string{`--inode-file-handles "sometimes" is not known: give one of never, prefer, mandatory`}},
		{"sandbox, bad word", base("--sandbox=jail"), []string{`--sandbox "jail" is not known: give one of namespace, chroot, none`}},
		{"seccomp, bad word", base("--seccomp=errno"), []string{`--seccomp "errno" is not known: give one of kill, log, trap, none`}},
		{"capability", base("--modcaps=+mknod:-fly"), []string{`--modcaps "+mknod:-fly": there is no capability "fly"`}},
		{"capability without sign", base("--modcaps=mknod"), []string{`has neither + nor - before "mknod"`}},
		{"empty capability", base("--modcaps=+mknod:"), []string{`has neither + nor - before ""`}},
		{"needed capability", base("--modcaps=-dac_read_search", "--inode-file-handles=mandatory"), []string{"--modcaps takes away dac_read_search, which --inode-file-handles mandatory needs"}},
		{"id map without a namespace", base("--uid-map=:0:1:1:", "--sandbox=chroot"), []string{"--uid-map and --gid-map need --sandbox namespace, and it is chroot"}},
		{"socket group of an inherited socket", []string{"--shared-dir=/", "--fd=3", "--socket-group=kvm"}, []string{"--socket-group and --fd exclude each other"}},
		{"empty group", base("--socket-group="), []string{"--socket-group is given an empty value"}},
		{"negative limit", base("--rlimit-nofile=-1"), []string{`--rlimit-nofile cannot be "-1": not a number from 0 up`}},
		{"page cache in words", base("--page-cache-size=much"), []string{`--page-cache-size cannot be "much": not a size in bytes, such as 0, 256M or 1GiB`}},
		{"negative page cache", base("--page-cache-size=-1"), []string{`--page-cache-size cannot be "-1": not a size`}},
		{"huge page cache", base("--page-cache-size=1025G"), []string{"--page-cache-size is 1025GiB: give a size from 0 to 1TiB"}},
		{"negative pool", base("--thread-pool-size=-1"), []string{"--thread-pool-size is -1: give a number from 0 up"}},
		{"migration, bad words", base("--migration-mode=x", "--migration-on-error=y"), []string{`--migration-mode "x" is not known`, `--migration-on-error "y" is not known`}},
		{"migration by handles only", base("--migration-mode=file-handles", "--migration-verify-handles", "--migration-confirm-paths"),
			[]string{"--migration-verify-handles is for --migration-mode find-paths", "--migration-confirm-paths is for"}},
		{"a word", base("/srv"), []string{`"/srv" is not an option`}},
		{"xattrmap", base("--xattrmap=:ok:all:"), []string{`--xattrmap: rule 1: there is no ":" behind its key`}},
		{"translated ids", base("--translate-uid=map:0:1:5", "--translate-uid=map:4:9:1", "--translate-gid=map:0:1"), []string{
			`--translate-uid: "map:0:1:5" and "map:4:9:1" both speak of the guest's id 4`, `--translate-gid: "map:0:1": map needs 3 numbers`}},
		{"namespace ids", base("--uid-map=0:1:2", "--gid-map=:0:1:0:"), []string{`--uid-map: "0:1:2": this is no range`, "--gid-map: \":0:1:0:\": it is about 0 ids"}},
		{"three at once", []string{"--shared-dir=/srv", "--cache=x", "--log-level=y"},
			[]string{"--socket-path is missing", `--cache "x"`, `--log-level "y"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.args, nil)
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
		{[]string{"--print-capabilities"}, ErrCapabilities}, {[]string{"-V"}, ErrVersion}, {[]string{"--version"}, ErrVersion}, {[]string{"-hV"}, ErrHelp},
	} {
		if _, err := Parse(tt.args, nil); !errors.Is(err, tt.want) {
			t.Errorf("%v: %v, want %v", tt.args, err, tt.want)
		}
	}
}

// Programs that start the daemon look for option names in the help text.
func TestUsageNamesEveryOption(t *testing.T) {
	for _, want := range []string{"--shared-dir DIR", "--socket-path PATH", "--fd N", "--tag TAG", "--cache POLICY",
		"never, metadata, auto, always", "(default auto)", "--xattr", "--readonly", "--log-level LEVEL",
		"(default info)", "--page-cache-size SIZE", "(default 64MiB)", "--fault RULE", "--num-request-queues N", "(default 1)", "-V, --version", "-h, --help"} {
		if !strings.Contains(Usage(), want) {
			t.Errorf("%q is not in the help text:\n%s", want, Usage())
		}
	}
}

// args writes s as options without their dashes, but for the directory.
func (s Share) args() []string {
	a := []string{"cache=" + string(s.Cache), "posix-acl=" + string(s.PosixACL), "security-label=" + string(s.SecurityLabel),
		"inode-file-handles=" + string(s.FileHandles), "num-request-queues=" + strconv.Itoa(s.NumRequestQueues)}
	for name, on := range map[string]bool{
		"xattr": s.XAttr, "readonly": s.ReadOnly, "writeback": s.Writeback, "allow-mmap": s.AllowMMap,
		"allow-direct-io": s.AllowDirectIO, "no-readdirplus": s.NoReadDirPlus, "preserve-noatime": s.PreserveNoAtime,
		"killpriv-v2": s.KillPrivV2, "posix-lock": s.PosixLock, "flock": s.Flock,
		"no-announce-submounts": !s.AnnounceSubmounts,
	} {
		a = append(a, name+"="+strconv.FormatBool(on))
	}
	for name, v := range map[string]string{"socket-path": s.SocketPath, "socket-group": s.SocketGroup, "tag": s.Tag, "xattrmap": s.XAttrMap} {
		if v != "" {
			a = append(a, name+"="+v)
		}
	}
	for name, vs := range map[string][]string{"translate-uid": s.TranslateUID, "translate-gid": s.TranslateGID} {
		for _, v := range vs {
			a = append(a, name+"="+v)
		}
	}
	for _, r := range s.Faults {
		a = append(a, "fault="+r.String())
	}
	if s.FD != -1 {
		a = append(a, "fd="+strconv.Itoa(s.FD))
	}
	return a
}

// args writes c as a command line.
func (c Config) args() []string {
	m := c.Migration
	a := []string{"--log-level=" + string(c.LogLevel), "--sandbox=" + string(c.Sandbox), "--seccomp=" + string(c.Seccomp),
		"--migration-mode=" + string(m.Mode), "--migration-on-error=" + string(m.OnError),
		"--thread-pool-size=" + strconv.Itoa(c.ThreadPoolSize), "--page-cache-size=" + formatSize(c.PageCacheSize), "--syslog=" + strconv.FormatBool(c.Syslog),
		"--migration-verify-handles=" + strconv.FormatBool(m.VerifyHandles),
		"--migration-confirm-paths=" + strconv.FormatBool(m.ConfirmPaths)}
	if c.ModCaps != "" {
		a = append(a, "--modcaps="+c.ModCaps)
	}
	for _, v := range c.UIDMap {
		a = append(a, "--uid-map="+v)
	}
	for _, v := range c.GIDMap {
		a = append(a, "--gid-map="+v)
	}
	if c.RLimitNoFile != -1 {
		a = append(a, "--rlimit-nofile="+strconv.FormatInt(c.RLimitNoFile, 10))
	}
	if len(c.Shares) == 1 {
		a = append(a, "--shared-dir="+c.Shares[0].SharedDir)
		for _, o := range c.Shares[0].args() {
			a = append(a, "--"+o)
		}
		return a
	}
	for _, s := range c.Shares {
		items := append([]string{s.SharedDir}, s.args()...)
		for i := range items {
			items[i] = strings.ReplaceAll(items[i], ",", ",,")
		}
		a = append(a, "--share="+strings.Join(items, ","))
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
		"--socket-path=s\n-o\nsource=/,cache=none,sandbox=chroot,xattr,no_flock,posix_lock,loglevel=err\n-d\n-f",
		"--socket-path=s\n-osource=/a,,b,xattrmap=:map::a,,:,modcaps=-mknod\n--posix-acl\n--security-label=auto",
		"--shared-dir=/\n--socket-path=s\n--uid-map=:0:1:1:\n--gid-map=/0/1/1/\n--translate-uid=map:0:1:2\n--rlimit-nofile=0\n--thread-pool-size=3",
		"--share\n/a,socket=s,tag=t,readonly,cache=never\n--share=/b,,c,fd=3,xattrmap=,,ok,,all,,,,,fault=any hang,posix-acl\n--cache=always\n--xattr",
		"--share=/a,socket=s\n--share=/a,socket=s", "--share=,\n--share=a,tag", "--share=/a,socket=s\n--translate-uid=a,b\n--fault=any hang",
		"--shared-dir=/\n--socket-path=s\n--no-announce-submounts\n--announce-submounts\n--killpriv-v2\n--no-killpriv-v2\n--modcaps=+mknod:-Fly",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := Parse(strings.Split(line, "\n"), nil)
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
		again, err := Parse(c.args(), nil)
		c.Notices, again.Notices = nil, nil
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%+v, written out and read again: %+v, %v", c, again, err)
		}
	})
}
