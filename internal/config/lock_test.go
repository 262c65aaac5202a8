// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLocked(t *testing.T) {
	locked := func(before ...string) []string { return append(base(before...), "--locked") }
	for _, tt := range []struct {
		args []string
		want []string // nothing: it is taken
	}{
		{append(locked(), "--readonly", "--cache=always", "--log-level=debug", "--tag=t", "--page-cache-size=1M", "--thread-pool-size=1", "--inode-file-handles=never", "--fault=any hang", "--syslog"), nil},
		{append(locked("--sandbox=none", "--seccomp=log", "--xattr", "--flock"), "--sandbox=chroot", "--seccomp", "trap", "-o", "no_xattr,no_flock,sandbox=namespace"), nil},
		{append(locked("--modcaps=+sys_admin:-mknod"), "--modcaps=-mknod:-chown"), nil},
		{append(locked("--rlimit-nofile=5000"), "--rlimit-nofile=1000"), nil},
		{append(locked("--socket-group=kvm"), base()...), nil},
		{append([]string{"--locked"}, base("--socket-group=kvm")...), nil},
		{[]string{"--sandbox=namespace", "--locked", "--share=/a,fd=3,readonly", "--share=/b,fd=4"}, nil},

		{append(locked(), "--shared-dir=/"), []string{"--shared-dir cannot become /: it is locked at /srv, by --locked"}},
		{append(locked(), "-osource=/,sandbox=chroot"), []string{"--sandbox cannot become chroot: it is locked at namespace, the default, by --locked", "--shared-dir cannot become /..."}},
		{append(locked(), "--sandbox", "NONE", "--seccomp=none"), []string{"--sandbox cannot become none...", "--seccomp cannot become none: it is locked at kill, the default, by --locked"}},
		{append(locked("--sandbox=chroot"), "--sandbox=none"), []string{"--sandbox cannot become none: it is locked at chroot, by --locked"}},
		{append(locked("--readonly"), "--readonly=false"), []string{"--readonly cannot become false: it is locked at true, by --locked"}},
		{append(locked("--modcaps=-mknod"), "--modcaps=+sys_admin:-mknod"), []string{"--modcaps cannot become +sys_admin:-mknod: it is locked at -mknod, by --locked"}},
		{append(locked("--modcaps=-mknod"), "--modcaps=-chown"), []string{"--modcaps cannot become -chown..."}},
		{append(locked(), "--uid-map=:0:1:1:", "--gid-map=:0:1:1:"), []string{"--uid-map cannot become :0:1:1:: it is locked at nothing...", "--gid-map cannot..."}},
		{append(locked("--translate-uid=map:0:1:1"), "--translate-uid=map:1:0:1"), []string{"--translate-uid cannot become map:0:1:1 map:1:0:1: it is locked at map:0:1:1..."}},
		{append(locked(), "--rlimit-nofile=0"), []string{"--rlimit-nofile cannot become 0: it is locked at 1000000, the default, by --locked"}},
		{append(locked("--rlimit-nofile=0"), "--rlimit-nofile=10000"), []string{"--rlimit-nofile cannot become 10000..."}},
		{append(locked(), "--page-cache-size=1T", "--thread-pool-size=65"), []string{"--page-cache-size cannot become 1TiB: it is locked at 64MiB...", "--thread-pool-size cannot become 65: it is locked at 64..."}},
		{append(locked(), "--posix-acl=auto", "--posix-lock"), []string{"--xattr cannot become true: it is locked at false...", "--posix-acl cannot become auto...", "--posix-lock cannot become true..."}},
		{append(locked("--inode-file-handles=never"), "--inode-file-handles=prefer"), []string{"--inode-file-handles cannot become prefer..."}},
		{append(locked(), "--socket=/tmp/s"), []string{"--socket-path cannot become /tmp/s: it is locked at /run/fs.sock..."}},
		{[]string{"--shared-dir=/a", "--fd=3", "--locked", "--fd=4"}, []string{"--fd cannot become 4: it is locked at 3, by --locked"}},
		{append(locked(), "--socket-group=users"), []string{"--socket-group cannot become users: it is locked at nothing..."}},
		{append(locked("--readonly"), "--locked", "--locked", "-o", "source=/etc"), []string{"--shared-dir...", "--shared-dir...", "--shared-dir..."}},
		{append(locked(), "--locked=false"), []string{`--locked cannot be "false": it is given, or left out`}},
		{append(locked(), "--config=/etc/shadow"), []string{"--config /etc/shadow is given after --locked, when no more options are taken from files: leave it out"}},
		{[]string{"--share=/a,fd=3", "--locked", "--share=/,fd=4"}, []string{"--share / cannot be added: the shares are locked by --locked"}},
		{[]string{"--share=/a,fd=3,readonly", "--share=/b,fd=4", "--locked", "--xattr"}, []string{"--share /a: --xattr cannot become true...", "--share /b: --xattr cannot..."}},
		{[]string{"--readonly", "--locked", "--share=/a,fd=3", "--share=/b,fd=4,readonly=false"}, []string{"--share /b: --readonly cannot become false: it is locked at true, by --locked"}},
		{[]string{"--locked", "--shared-dir=/a", "--locked", "--fd=3", "--shared-dir=/b"}, []string{"--shared-dir cannot become /b: it is locked at /a, by --locked"}},
	} {
		_, err := Parse(tt.args, nil)
		if err == nil && tt.want != nil {
			t.Errorf("%q is taken", tt.args)
		} else if err != nil {
			wantLines(t, err, tt.want)
		}
	}
}

func TestLockedByFile(t *testing.T) {
	inFile(t, "locked", "sandbox = chroot", "[a]", "shared-dir = /a", "fd = 3", "readonly")
	for _, tt := range []struct{ args, want []string }{
		{[]string{"--sandbox=namespace", "--cache=never"}, nil},
		{[]string{"--sandbox=none"}, []string{"--sandbox cannot become none: it is locked at chroot, by vm.conf:2"}},
		{[]string{"--seccomp=none"}, []string{"--seccomp cannot become none: it is locked at kill, the default, by vm.conf:1"}},
		{[]string{"--share=/b,fd=4"}, []string{"--share /b cannot be added: the shares are locked by vm.conf:1"}},
		{[]string{"--config=vm.conf"}, []string{"--config vm.conf is given after --locked..."}},
		{[]string{"-o", "source=/"}, []string{"--shared-dir and --share exclude each other..."}},
	} {
		_, err := Parse(append([]string{"--config", "vm.conf"}, tt.args...), nil)
		if err == nil && tt.want != nil {
			t.Errorf("%q is taken", tt.args)
		} else if err != nil {
			wantLines(t, err, tt.want)
		}
	}
}

// The socket that a service manager has handed over for a share is given before all options.
func TestLockedHandedSocket(t *testing.T) {
	handed := []string{"x"}
	if _, err := Parse([]string{"--shared-dir=/a", "--locked", "--fd=3"}, handed); err != nil {
		t.Error(err)
	}
	_, err := Parse([]string{"--shared-dir=/a", "--locked", "--socket-path=s"}, handed)
	if err == nil || !strings.HasPrefix(err.Error(), "--socket-path cannot become s") {
		t.Errorf("another socket than the one of systemd: %v", err)
	}
}

// free are the fields of Config and Share that --locked leaves alone. A new field has to be here or in
// the table.
var free = []string{
	"Shares", "LogLevel", "Syslog", "Migration", "Notices",
	"Tag", "NumRequestQueues", "Cache", "Writeback", "AllowMMap", "AllowDirectIO", "NoReadDirPlus", "PreserveNoAtime",
	"KillPrivV2", "AnnounceSubmounts", "Faults",
}

// held are the fields that the table of locks holds, by its options.
var held = map[string]string{
	"sandbox": "Sandbox", "seccomp": "Seccomp", "modcaps": "ModCaps", "uid-map": "UIDMap", "gid-map": "GIDMap",
	"rlimit-nofile": "RLimitNoFile", "page-cache-size": "PageCacheSize", "thread-pool-size": "ThreadPoolSize",
	"shared-dir": "SharedDir", "socket-path": "SocketPath", "fd": "FD", "socket-group": "SocketGroup", "readonly": "ReadOnly",
	"xattr": "XAttr", "xattrmap": "XAttrMap", "posix-acl": "PosixACL", "security-label": "SecurityLabel", "posix-lock": "PosixLock",
	"flock": "Flock", "inode-file-handles": "FileHandles", "translate-uid": "TranslateUID", "translate-gid": "TranslateGID",
}

func TestEveryFieldIsHeldOrFree(t *testing.T) {
	fields := map[string]bool{}
	for _, typ := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Share]()} {
		for i := range typ.NumField() {
			fields[typ.Field(i).Name] = true
		}
	}
	all := slices.Clone(free)
	for _, rule := range Locks() {
		if held[rule[0]] == "" {
			t.Errorf("the field of %s is not known here", rule[0])
		}
		all = append(all, held[rule[0]])
	}
	for _, name := range all {
		if !fields[name] {
			t.Errorf("%s is no field, or is named twice", name)
		}
		delete(fields, name)
	}
	for name := range fields {
		t.Errorf("%s is neither held by --locked nor free: decide", name)
	}
}

// wider is what --locked is for, said once more and in another way: what the final configuration allows
// that the locked one did not.
func wider(locked, now Config, named bool) (all []string) {
	grow := func(what string, bad bool) {
		if bad {
			all = append(all, what)
		}
	}
	strength := map[string]int{"none": 0, "chroot": 1, "namespace": 2, "log": 1, "trap": 2, "kill": 3}
	grow("sandbox", strength[string(now.Sandbox)] < strength[string(locked.Sandbox)])
	grow("seccomp", strength[string(now.Seccomp)] < strength[string(locked.Seccomp)])
	for _, c := range strings.Fields(strings.NewReplacer(":", " ").Replace(now.ModCaps)) {
		grow("capability", c[0] == '+' && !strings.Contains(locked.ModCaps, c))
	}
	for _, c := range strings.Fields(strings.NewReplacer(":", " ").Replace(locked.ModCaps)) {
		grow("capability back", c[0] == '-' && !strings.Contains(now.ModCaps, c))
	}
	grow("maps", !slices.Equal(locked.UIDMap, now.UIDMap) || !slices.Equal(locked.GIDMap, now.GIDMap))
	grow("files", locked.RLimitNoFile != now.RLimitNoFile && (now.RLimitNoFile <= 0 || locked.RLimitNoFile == 0 ||
		locked.RLimitNoFile > 0 && now.RLimitNoFile > locked.RLimitNoFile || now.RLimitNoFile > 1e6))
	grow("memory", now.PageCacheSize > locked.PageCacheSize)
	grow("threads", now.ThreadPoolSize > locked.ThreadPoolSize && now.ThreadPoolSize > 64)
	grow("number of shares", named && len(now.Shares) != len(locked.Shares))
	for i, n := range now.Shares {
		l := locked.Shares[0]
		if named && i < len(locked.Shares) {
			l = locked.Shares[i]
		}
		grow("directory", l.SharedDir != "" && n.SharedDir != l.SharedDir)
		socket := l.SocketPath != "" || l.FD != -1
		grow("socket", socket && (n.SocketPath != l.SocketPath || n.FD != l.FD))
		grow("group", (socket || l.SocketGroup != "") && n.SocketGroup != "" && n.SocketGroup != l.SocketGroup)
		grow("writing", l.ReadOnly && !n.ReadOnly)
		grow("attributes", n.XAttr && !l.XAttr || n.XAttrMap != l.XAttrMap || n.PosixACL != l.PosixACL || n.SecurityLabel != l.SecurityLabel)
		grow("locks", n.PosixLock && !l.PosixLock || n.Flock && !l.Flock)
		grow("handles", l.FileHandles == FileHandlesNever && n.FileHandles != FileHandlesNever)
		grow("ids", !slices.Equal(n.TranslateUID, l.TranslateUID) || !slices.Equal(n.TranslateGID, l.TranslateGID))
	}
	return all
}

// someArgs draws options in all their forms, with values that matter.
func someArgs(t *rapid.T, label string, most int) (args []string) {
	forms := []string{
		"--sandbox=none", "--sandbox chroot", "--sandbox=namespace", "--seccomp=none", "--seccomp log", "--seccomp=kill", "--seccomp=trap",
		"--readonly", "--readonly=false", "--readonly=0", "--shared-dir=/a", "--shared-dir /b", "--socket-path=s", "--socket u", "--fd=3", "--fd 4",
		"--socket-group=kvm", "--socket-group users", "--modcaps=+sys_admin", "--modcaps=-mknod", "--modcaps -mknod:-chown", "--modcaps=-mknod:+sys_admin",
		"--uid-map=:0:1:1:", "--gid-map :0:1:1:", "--translate-uid=map:0:1:1", "--translate-uid=map:1:3:1", "--translate-gid forbid-guest:0:1",
		"--rlimit-nofile=0", "--rlimit-nofile=9000", "--rlimit-nofile 2000000", "--page-cache-size=0", "--page-cache-size=1G", "--thread-pool-size=8", "--thread-pool-size=900",
		"--xattr", "--xattr=false", "--xattrmap=:ok:all:::", "--posix-acl", "--posix-acl=never", "--security-label=auto", "--posix-lock", "--flock", "--posix-lock=false",
		"--inode-file-handles=never", "--inode-file-handles=mandatory", "--inode-file-handles=prefer", "-o source=/o", "-osource=/a,sandbox=none,xattr", "-o sandbox=namespace",
		"-o no_xattr,no_flock", "-o modcaps=+sys_admin", "--share=/a,fd=3", "--share=/b,socket=v,readonly", "--share /a,fd=3,readonly=false,xattr", "--share=/c,socket=w,inode-file-handles=never",
		"--cache=never", "--log-level=warn", "--tag=x", "--config=free.conf", "--config locked.conf", "--config=shares.conf", "--locked", "-d", "--syslog", "--migration-mode=file-handles",
	}
	for _, form := range rapid.SliceOfN(rapid.SampledFrom(forms), 0, most).Draw(t, label) {
		args = append(args, strings.Split(form, " ")...)
	}
	return args
}

// starts are what a launcher has said of the shares before it locks: one, several, those of a file, or none.
var starts = [][]string{base(), base(), {"--shared-dir=/a", "--fd=3"}, {"--share=/a,fd=3,readonly", "--share=/b,fd=4"}, {"--config=shares.conf"}, {}}

// Whatever follows a locked command line is refused, or widens nothing.
func TestNothingWidensWhatIsLocked(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"free.conf": "sandbox = none\nreadonly = no\n", "locked.conf": "sandbox = chroot\nreadonly\nlocked\n",
		"shares.conf": "locked\nflock\n[a]\nshared-dir = /a\nfd = 3\n[b]\nshared-dir = /b\nsocket-path = v\nreadonly\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.SampledFrom(starts).Draw(t, "start")
		before := append(slices.Clone(start), someArgs(t, "before", 3)...)
		locked, err := Parse(before, nil)
		named := slices.ContainsFunc(start, func(a string) bool { return strings.HasPrefix(a, "--share=") || a == "--config=shares.conf" })
		if len(start) == 0 { // locked is what it gives with a share, but for that
			share := []string{"--shared-dir=/z", "--socket-path=z"}
			if locked, err = Parse(append(slices.Clone(before), share...), nil); err == nil {
				locked.Shares[0].SharedDir, locked.Shares[0].SocketPath = "", ""
			}
		}
		if err != nil {
			return // mistakes
		}
		after := someArgs(t, "after", 3)
		if len(start) == 0 {
			after = append(after, base()...)
		}
		now, err := Parse(slices.Concat(before, []string{"--locked"}, after), nil)
		if err != nil {
			return
		}
		taken++
		if all := wider(locked, now, named); len(all) > 0 {
			t.Fatalf("wider by %v: %+v\nlocked %+v", all, now, locked)
		}
	})
	if taken == 0 {
		t.Error("every command line was refused: the test shows nothing")
	}
}
