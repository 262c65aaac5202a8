// SPDX-License-Identifier: Apache-2.0

// Package config holds the daemon's options: one struct, how it is parsed from a command line, and
// what values are possible. The options are those of the Rust virtiofsd 1.14, by their names, and
// some of our own. The package reads the files that --config names and touches no others; whether a
// directory exists is found out by the daemon when it starts.
package config

import "github.com/virtiofsd-go/virtiofsd-go/internal/fault"

// Version of the daemon, as --version prints it.
const Version = "0.1.0"

// Limits that come from elsewhere.
const (
	maxTag    = 36  // bytes; virtio 1.2 section 5.11.4, virtio_fs_config.tag
	maxPath   = 107 // bytes; sockaddr_un.sun_path has 108 with the closing NUL (unix(7))
	firstFD   = 3   // the first file descriptor after stdin, stdout and stderr
	maxQueues = 64  // request queues that the daemon can serve for one VM

	maxPageCache = 1 << 40 // bytes; package cache takes no more
)

// Config is everything that the user can choose.
type Config struct {
	// Shares are what is served, at least one: that of --shared-dir, or those of --share.
	Shares []Share

	// Sandbox keeps the process from the rest of the host. Default: SandboxNamespace.
	Sandbox Sandbox

	// Seccomp is what happens on a system call that the process has no use for. Default:
	// SeccompKill.
	Seccomp Seccomp

	// ModCaps changes the set of capabilities that the process keeps as root: +NAME or -NAME,
	// several with colons between them. Default: "", no change.
	ModCaps string

	// UIDMap and GIDMap are the ids of the sandbox's user namespace, for a daemon without
	// privileges: each :INSIDE:OUTSIDE:COUNT: with any delimiter. They need SandboxNamespace.
	// Default: none, which maps the own id.
	UIDMap, GIDMap []string

	// RLimitNoFile is the number of files that the process may have open (RLIMIT_NOFILE). 0 leaves
	// the limit as it is. Default: -1, 1,000,000 or what the host allows.
	RLimitNoFile int64

	// ThreadPoolSize is how many requests that wait for the host are carried out at once for one
	// VM, if it is more than 64. The Rust virtiofsd's 0, no pool, has no counterpart. Default: 0.
	ThreadPoolSize int

	// PageCacheSize is the memory in bytes, 0 to 1 TiB, for pages of files of all shares. 0 keeps
	// none. Default: 64 MiB.
	PageCacheSize int64

	// LogLevel is the least important kind of message to print. Default: LogInfo.
	LogLevel LogLevel

	// Syslog sends messages to the system's log instead of standard error. Default: false.
	Syslog bool

	// Migration says how a live migration goes.
	Migration Migration

	// Notices are what the user should be told at the start about the command line: options that
	// are old, or have no effect yet. One line each.
	Notices []string
}

// Migration says how a live migration goes.
type Migration struct {
	// Mode is how the source tells the guest's files to the destination. Default:
	// MigrateFindPaths.
	Mode MigrationMode

	// OnError is what the destination does with a file that it does not find. Default:
	// MigrationAbort.
	OnError MigrationOnError

	// VerifyHandles sends a handle with each path, which the destination compares. Not with
	// MigrateFileHandles. Default: false.
	VerifyHandles bool

	// ConfirmPaths checks all paths again when the VM has stopped. Not with MigrateFileHandles.
	// Default: false.
	ConfirmPaths bool
}

// Share is what the user can choose for each share.
type Share struct {
	// SharedDir is what the guest sees of the host. It must be given and exist.
	SharedDir string

	// SocketPath is where the daemon listens for the VMM. Its directory must exist. Either it or
	// FD must be given.
	SocketPath string

	// FD is the number, 3 or above, of an inherited, listening unix stream socket; -1: none.
	FD int

	// SocketGroup is the group, by its name or number, whose members may connect to SocketPath
	// beside the daemon's user. Default: "", none.
	SocketGroup string

	// Tag is the name, in bytes 1 to 36, under which the guest mounts the share. "" (default)
	// leaves it to the VMM: QEMU and cloud-hypervisor have a setting of their own. User-mode Linux,
	// crosvm and libkrun ask the daemon.
	Tag string

	// NumRequestQueues is the number of request queues, 1 to 64, that a VMM without a setting of its
	// own is told. A VMM with one (QEMU's num-request-queues) may use up to 64 whatever this says.
	// Default: 1. User-mode Linux 6.1 sets up as many as it is told, and runs out of interrupt
	// numbers long before 64.
	NumRequestQueues int

	// Cache says how long the guest may trust what it knows. Default: CacheAuto.
	Cache Cache

	// Writeback lets the guest's kernel keep written data back (FUSE_WRITEBACK_CACHE). Default:
	// false.
	Writeback bool

	// AllowMMap lets the guest map files shared whose contents it does not cache
	// (FUSE_DIRECT_IO_ALLOW_MMAP). Default: false.
	AllowMMap bool

	// AllowDirectIO opens the host's file with O_DIRECT where the guest asks for it. Default: false.
	AllowDirectIO bool

	// NoReadDirPlus keeps attributes from being sent with the names of a directory, which
	// CacheNever does in any case. Default: false.
	NoReadDirPlus bool

	// PreserveNoAtime opens the host's file with O_NOATIME where the guest asks for it. Default:
	// false.
	PreserveNoAtime bool

	// ReadOnly answers every change with EROFS. The guest's mount does not show it. Default: false.
	ReadOnly bool

	// XAttr lets the guest see and set extended attributes. Default: false. Parse turns it on for
	// XAttrMap, PosixACL and SecurityLabel.
	XAttr bool

	// XAttrMap are the rules by which names of extended attributes are changed. Default: "", none.
	XAttrMap string

	// PosixACL says whether POSIX ACLs are kept and obeyed. Default: NegotiateNever.
	PosixACL Negotiation

	// SecurityLabel says whether new files get the label that the guest sends
	// (FUSE_SECURITY_CTX). Default: NegotiateNever.
	SecurityLabel Negotiation

	// KillPrivV2 offers FUSE_HANDLE_KILLPRIV_V2: setuid and setgid bits are cleared when the guest
	// asks for it with a write, a truncation or an open. Default: false.
	KillPrivV2 bool

	// PosixLock and Flock make fcntl(2) and flock(2) locks of guests known to the host and to other
	// guests (FUSE_POSIX_LOCKS, FUSE_FLOCK_LOCKS). Default: false.
	PosixLock, Flock bool

	// AnnounceSubmounts shows file systems that are mounted below the share as mounts to the guest
	// (FUSE_SUBMOUNTS). Default: true.
	AnnounceSubmounts bool

	// FileHandles says whether files are known by file handles. Default: FileHandlesPrefer.
	FileHandles FileHandles

	// TranslateUID and TranslateGID are rules by which ids of the guest become ids of the host and
	// back. Default: none.
	TranslateUID, TranslateGID []string

	// Faults are the rules by which calls of the host fail on purpose, for tests of guests.
	// Default: none.
	Faults []fault.Rule
}

// Default returns the values of the options that are not given, and no share.
func Default() Config {
	return Config{
		Sandbox: SandboxNamespace, Seccomp: SeccompKill, RLimitNoFile: -1, PageCacheSize: 64 << 20, LogLevel: LogInfo,
		Migration: Migration{Mode: MigrateFindPaths, OnError: MigrationAbort},
	}
}

// DefaultShare returns the values of the options of a share that are not given.
func DefaultShare() Share {
	return Share{
		FD: -1, NumRequestQueues: 1, Cache: CacheAuto, PosixACL: NegotiateNever, SecurityLabel: NegotiateNever,
		AnnounceSubmounts: true, FileHandles: FileHandlesPrefer,
	}
}
