// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestLegacyList(t *testing.T) {
	share := func(change func(*Share)) Config { return with(change) }
	for _, tt := range []struct {
		name string
		args []string
		want Config
	}{
		{"libvirt's", []string{"--socket-path=/run/fs.sock", "-o", "source=/srv,cache=auto,sandbox=chroot,xattr,flock,posix_lock"},
			process(func(c *Config) {
				c.Sandbox = SandboxChroot
				c.Shares[0].XAttr, c.Shares[0].Flock, c.Shares[0].PosixLock = true, true, true
			})},
		{"over the long options", base("-o", "cache=always,no_xattr", "--cache=never", "--xattr"), share(func(s *Share) { s.Cache = CacheAlways })},
		{"several", base("-o", "xattr", "-oreaddirplus,no_readdirplus", "-o", "no_xattr"), share(func(s *Share) { s.NoReadDirPlus = true })},
		{"older words", base("-o", "cache=none,loglevel=err"), process(func(c *Config) { c.Shares[0].Cache = CacheNever; c.LogLevel = LogError })},
		{"switches on", base("-o", "writeback,allow_direct_io,killpriv_v2,posix_acl,security_label,announce_submounts"),
			share(func(s *Share) {
				s.Writeback, s.AllowDirectIO, s.KillPrivV2, s.XAttr = true, true, true, true
				s.PosixACL, s.SecurityLabel = NegotiateAlways, NegotiateAlways
			})},
		{"switches off", base("--writeback", "--allow-direct-io", "--killpriv-v2", "--posix-acl", "--security-label", "--flock", "--posix-lock",
			"--no-readdirplus", "-o", "no_writeback,no_allow_direct_io,no_killpriv_v2,no_posix_acl,no_security_label,no_flock,no_posix_lock,readdirplus"),
			share(func(*Share) {})},
		{"commas", []string{"--socket-path=/run/fs.sock", "-o", "source=/a,,b=c,xattrmap=,,map,,a,,b,,,modcaps=-mknod"},
			process(func(c *Config) {
				c.Shares[0].SharedDir, c.Shares[0].XAttrMap, c.Shares[0].XAttr, c.ModCaps = "/a,b=c", ",map,a,b,", true, "-mknod"
			})},
		{"-d, -f", base("-d", "-f", "--log-level=warn"), process(func(c *Config) { c.LogLevel = LogDebug })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.args, nil)
			got.Notices = nil
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
	for _, bad := range []string{"timeout=1", "allow_root", "debug", "norace", "max_idle_threads=3", "xattr=1", "source", "", "xattr,", "cache=", "loglevel=loud"} {
		if _, err := Parse(base("-o", bad), nil); err == nil {
			t.Errorf("-o %q is taken", bad)
		}
	}
}

// Every -o leads to an option that is there.
func TestLegacyOptionsExist(t *testing.T) {
	for o := range legacyWords {
		if _, err := Parse(base("-o", o), nil); err != nil {
			t.Errorf("-o %s: %v", o, err)
		}
	}
	for o, long := range legacyValues {
		if newLine(nil).flags.Lookup(long) == nil {
			t.Errorf("-o %s=: there is no --%s", o, long)
		}
	}
}

func TestNotices(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want []string // a part of each
	}{
		{"none", base(), nil},
		{"older forms", base("-d", "-f", "-oxattr", "--socket=s"), []string{"-o is deprecated", "-d is deprecated", "-f is deprecated", "--socket is deprecated"}},
		{"what asks for nothing", base("--seccomp=none", "--migration-verify-handles=false"), nil},
		{"without effect", base("--migration-mode=file-handles", "--seccomp=kill"), []string{"--migration-mode has no effect yet"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(tt.args, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Notices) != len(tt.want) || !slices.EqualFunc(c.Notices, tt.want, strings.Contains) {
				t.Errorf("got %q, want %q", c.Notices, tt.want)
			}
		})
	}
}

// The table of options without effect names options that are there.
func TestMissingOptionsExist(t *testing.T) {
	flags := newLine(nil).flags
	for _, m := range missing {
		if flags.Lookup(m.option) == nil {
			t.Errorf("there is no --%s", m.option)
		}
	}
}

// Every option of the Rust virtiofsd 1.14, as its --help names them, is taken.
func TestEveryOptionOfTheRustVirtiofsd(t *testing.T) {
	for _, o := range []string{
		"--shared-dir=/", "--tag=t", "--socket=s", "--socket-path=s", "--socket-group=g", "--thread-pool-size=0", "--xattr",
		"--posix-acl", "--posix-acl=auto", "--xattrmap=:map::user.virtiofs.:", "--sandbox=namespace", "--sandbox=chroot",
		"--readonly", "--seccomp=none", "--seccomp=kill", "--seccomp=log", "--seccomp=trap", "--announce-submounts",
		"--no-announce-submounts", "--inode-file-handles=never", "--inode-file-handles=prefer",
		"--inode-file-handles=mandatory", "--inode-file-handles=fallback", "--cache=auto", "--cache=always", "--cache=never",
		"--cache=metadata", "--allow-mmap", "--no-readdirplus", "--writeback", "--allow-direct-io", "--modcaps=+sys_admin:-chown",
		"--log-level=off", "--syslog", "--rlimit-nofile=0", "-oxattr", "-d", "-f", "--no-killpriv-v2", "--killpriv-v2",
		"--security-label", "--security-label=never", "--uid-map=:0:1:1:", "--gid-map=:0:1:1:", "--translate-uid=map:0:1:1",
		"--translate-gid=map:0:1:1", "--preserve-noatime", "--migration-mode=find-paths", "--migration-mode=file-handles",
		"--migration-on-error=abort", "--migration-on-error=guest-error", "--migration-verify-handles", "--migration-confirm-paths",
	} {
		if _, err := Parse(base(o), nil); err != nil {
			t.Errorf("%s: %v", o, err)
		}
	}
	if _, err := Parse([]string{"--shared-dir=/", "--fd=3"}, nil); err != nil {
		t.Error(err)
	}
}
