// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"

	"github.com/spf13/pflag"
)

// group is a part of the options with a heading in the help text.
type group struct {
	title string
	set   *pflag.FlagSet
}

// groups is what the options of a command line, or of one --share, are parsed with.
type groups []group

func (gs *groups) add(title string, define func(*pflag.FlagSet)) {
	set := pflag.NewFlagSet(title, pflag.ContinueOnError)
	set.SortFlags = false
	define(set)
	*gs = append(*gs, group{title, set})
}

// all returns one set with the options of all groups.
func (gs groups) all() *pflag.FlagSet {
	all := pflag.NewFlagSet("virtiofsd-go", pflag.ContinueOnError)
	all.SortFlags = false
	all.Usage = func() {}
	for _, g := range gs {
		all.AddFlagSet(g.set)
	}
	return all
}

// helpWidth is where lines of the help text are broken.
const helpWidth = 120

func (gs groups) usage() string {
	var b strings.Builder
	for _, g := range gs {
		b.WriteString("\n" + g.title + ":\n" + g.set.FlagUsagesWrapped(helpWidth))
	}
	// An optional value is given behind a "=" only.
	return strings.ReplaceAll(b.String(), " MODE[=always] ", "[=MODE]        ")
}

// shareGroups are the options that each share can have. handed are the names of the sockets that the
// service manager has handed over.
func shareGroups(s *Share, handed []string) (gs groups) {
	gs.add("What is shared, and where", func(fs *pflag.FlagSet) { s.placeFlags(fs, handed) })
	gs.add("Caching and data", s.cacheFlags)
	gs.add("Files and attributes", s.fileFlags)
	gs.add("For tests", s.testFlags)
	return gs
}

func (s *Share) placeFlags(fs *pflag.FlagSet, handed []string) {
	fs.StringVar(&s.SharedDir, "shared-dir", s.SharedDir, "host directory `DIR` that the guest sees")
	fs.StringVar(&s.SocketPath, "socket-path", s.SocketPath, "listen for the VMM on a unix socket at `PATH`")
	fs.StringVar(&s.SocketPath, "socket", s.SocketPath, "older name of --socket-path")
	fs.Lookup("socket").Hidden = true
	fs.Var(fdValue{&s.FD, handed}, "fd", "listen on the inherited unix socket number `N` instead, or on the one of that name from systemd")
	fs.StringVar(&s.SocketGroup, "socket-group", s.SocketGroup, "`GROUP` whose members may connect to the socket")
	fs.StringVar(&s.Tag, "tag", s.Tag, "`TAG` (1 to 36 bytes) to mount by; for VMMs that ask the daemon for it")
	fs.IntVar(&s.NumRequestQueues, "num-request-queues", s.NumRequestQueues, "request queues, `N` 1 to 64, for VMMs that ask the daemon for the number")
}

func (s *Share) cacheFlags(fs *pflag.FlagSet) {
	fs.Var(word[Cache]{&s.Cache}, "cache", "`POLICY` of caching, how long the guest trusts what it saw: "+list(caches))
	fs.BoolVar(&s.Writeback, "writeback", s.Writeback, "the guest's kernel may keep written data back")
	fs.BoolVar(&s.AllowMMap, "allow-mmap", s.AllowMMap, "shared mmap also with --cache never and metadata")
	fs.BoolVar(&s.AllowDirectIO, "allow-direct-io", s.AllowDirectIO, "a guest's O_DIRECT goes past the host's page cache too")
	fs.BoolVar(&s.NoReadDirPlus, "no-readdirplus", s.NoReadDirPlus, "send no attributes with the names of a directory")
	fs.BoolVar(&s.PreserveNoAtime, "preserve-noatime", s.PreserveNoAtime, "a guest's O_NOATIME counts on the host")
}

func (s *Share) fileFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&s.ReadOnly, "readonly", s.ReadOnly, "refuse every change with EROFS")
	fs.BoolVar(&s.XAttr, "xattr", s.XAttr, "extended attributes")
	fs.StringVar(&s.XAttrMap, "xattrmap", s.XAttrMap, "change names of extended attributes by `RULES`; turns --xattr on")
	negotiated(fs, &s.PosixACL, "posix-acl", "POSIX ACLs, `MODE` "+list(negotiations)+"; turns --xattr on")
	negotiated(fs, &s.SecurityLabel, "security-label", "new files get the security label that the guest sends, `MODE` "+list(negotiations)+"; turns --xattr on")
	fs.BoolVar(&s.KillPrivV2, "killpriv-v2", s.KillPrivV2, "clear setuid and setgid bits when the guest asks (FUSE_HANDLE_KILLPRIV_V2)")
	flag(fs, off{&s.KillPrivV2}, "no-killpriv-v2", "the opposite; the last one counts")
	fs.BoolVar(&s.PosixLock, "posix-lock", s.PosixLock, "fcntl locks count on the host and between guests")
	fs.BoolVar(&s.Flock, "flock", s.Flock, "flock locks count on the host and between guests")
	flag(fs, already{&s.AnnounceSubmounts}, "announce-submounts", "show mounts below the directory as mounts to the guest (the default)")
	flag(fs, off{&s.AnnounceSubmounts}, "no-announce-submounts", "do not; wins over --announce-submounts")
	fs.Var(handlesValue{word[FileHandles]{&s.FileHandles}}, "inode-file-handles", "know files by the host's file handles, `USE` "+list(fileHandles))
	fs.StringArrayVar(&s.TranslateUID, "translate-uid", s.TranslateUID, "`RULE` for user ids, such as map:0:1000:1; can be given several times")
	fs.StringArrayVar(&s.TranslateGID, "translate-gid", s.TranslateGID, "`RULE` for group ids; can be given several times")
}

func (s *Share) testFlags(fs *pflag.FlagSet) {
	fs.Var(newFaultValue(&s.Faults), "fault", "make calls of the host fail by `RULE`, such as \"write nth=3 error=EIO\"; can be given several times")
}

// flag defines a switch with a value of its own kind.
func flag(fs *pflag.FlagSet, v pflag.Value, name, usage string) {
	fs.VarPF(v, name, "", usage).NoOptDefVal = "true"
}

// negotiated defines an option that means "always" if no word follows, behind a "=".
func negotiated(fs *pflag.FlagSet, to *Negotiation, name, usage string) {
	fs.VarPF(word[Negotiation]{to}, name, "", usage).NoOptDefVal = string(NegotiateAlways)
}

func (c *Config) rightsFlags(fs *pflag.FlagSet) {
	fs.Var(word[Sandbox]{&c.Sandbox}, "sandbox", "what keeps the daemon from the rest of the host, `KIND` "+list(sandboxes))
	fs.Var(word[Seccomp]{&c.Seccomp}, "seccomp", "on a system call that the daemon has no use for, `ACTION` "+list(seccomps))
	fs.StringVar(&c.ModCaps, "modcaps", c.ModCaps, "capabilities to keep or give up beside the usual, `LIST` such as +sys_admin:-mknod")
	fs.StringArrayVar(&c.UIDMap, "uid-map", nil, "user ids of the sandbox, `MAP` :INSIDE:OUTSIDE:COUNT:; can be given several times")
	fs.StringArrayVar(&c.GIDMap, "gid-map", nil, "group ids of the sandbox, likewise `MAP`")
	fs.Var(limitValue{&c.RLimitNoFile}, "rlimit-nofile", "files that may be open at once, `N`; 0 leaves the limit as it is")
	fs.Var(sizeValue{&c.PageCacheSize}, "page-cache-size", "memory of `SIZE` for the daemon's own cache of file contents, such as 256M or 1GiB; 0 keeps none")
	fs.IntVar(&c.ThreadPoolSize, "thread-pool-size", c.ThreadPoolSize, "requests that may wait for the host at once, `N` if above 64")
}

func (c *Config) migrationFlags(fs *pflag.FlagSet) {
	m := &c.Migration
	fs.Var(word[MigrationMode]{&m.Mode}, "migration-mode", "how the destination learns of the guest's files, `MODE` "+list(migrationModes))
	fs.Var(word[MigrationOnError]{&m.OnError}, "migration-on-error", "when a file is not found there, `ACTION` "+list(migrationOnErrors))
	fs.BoolVar(&m.VerifyHandles, "migration-verify-handles", m.VerifyHandles, "compare file handles there")
	fs.BoolVar(&m.ConfirmPaths, "migration-confirm-paths", m.ConfirmPaths, "check paths again when the VM has stopped")
}

func (c *Config) messageFlags(fs *pflag.FlagSet) {
	fs.Var(word[LogLevel]{&c.LogLevel}, "log-level", "least `LEVEL` of messages to print: "+list(logLevels))
	fs.BoolVar(&c.Syslog, "syslog", c.Syslog, "messages go to the system's log")
}
