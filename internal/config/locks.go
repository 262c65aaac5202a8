// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strconv"
	"strings"
)

// processLocks and shareLocks are all options that --locked holds, and how. They are those by which
// more of the host can be reached, changed or used up. Others can be changed freely: how long a guest
// caches, or what is logged, is no right.
var processLocks = []lock[Config]{
	inOrder("sandbox", func(c *Config) string { return string(c.Sandbox) }, "none", "chroot", "namespace"),
	inOrder("seccomp", func(c *Config) string { return string(c.Seccomp) }, "none", "log", "trap", "kill"),
	{"modcaps", "only to fewer capabilities", func(c *Config) string { return c.ModCaps }, fewerCaps},
	fixed("uid-map", func(c *Config) string { return strings.Join(c.UIDMap, " ") }),
	fixed("gid-map", func(c *Config) string { return strings.Join(c.GIDMap, " ") }),
	{"rlimit-nofile", "only down; 0 not at all", func(c *Config) string { return strconv.FormatInt(openFiles(c), 10) }, fewerFiles},
	atMost("page-cache-size", func(c *Config) int64 { return c.PageCacheSize }, formatSize),
	atMost("thread-pool-size", func(c *Config) int64 { return int64(max(c.ThreadPoolSize, leastPool)) }, decimal),
}

var shareLocks = []lock[Share]{
	once("shared-dir", func(s *Share) string { return s.SharedDir }, func(s *Share) bool { return s.SharedDir != "" }),
	once("socket-path", func(s *Share) string { return s.SocketPath }, func(s *Share) bool { return !s.unnamedSocket() }),
	once("fd", func(s *Share) string { return fdValue{to: &s.FD}.String() }, func(s *Share) bool { return !s.unnamedSocket() }),
	{"socket-group", "only to none, if it or the socket was given", func(s *Share) string { return s.SocketGroup }, sameGroup},
	onlyOn("readonly", func(s *Share) bool { return s.ReadOnly }),
	onlyOff("xattr", func(s *Share) bool { return s.XAttr }),
	fixed("xattrmap", func(s *Share) string { return s.XAttrMap }),
	fixed("posix-acl", func(s *Share) string { return string(s.PosixACL) }),
	fixed("security-label", func(s *Share) string { return string(s.SecurityLabel) }),
	onlyOff("posix-lock", func(s *Share) bool { return s.PosixLock }),
	onlyOff("flock", func(s *Share) bool { return s.Flock }),
	inOrder("inode-file-handles", func(s *Share) string { return string(s.FileHandles) }, "prefer|mandatory", "never"),
	fixed("translate-uid", func(s *Share) string { return strings.Join(s.TranslateUID, " ") }),
	fixed("translate-gid", func(s *Share) string { return strings.Join(s.TranslateGID, " ") }),
}

// Locks are the options that --locked holds, and in words how they can be changed after it.
func Locks() (rules [][2]string) {
	for _, k := range shareLocks {
		rules = append(rules, [2]string{k.option, k.rule})
	}
	for _, k := range processLocks {
		rules = append(rules, [2]string{k.option, k.rule})
	}
	return rules
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// leastPool is the size of the pool of workers without --thread-pool-size.
const leastPool = 64

func (s *Share) unnamedSocket() bool { return s.SocketPath == "" && s.FD == -1 }

func sameGroup(locked, now *Share) bool {
	free := locked.SocketGroup == "" && locked.unnamedSocket()
	return free || now.SocketGroup == "" || now.SocketGroup == locked.SocketGroup
}

// openFiles is the limit of open files; 0 is the limit as it is, which nothing can be compared with.
func openFiles(c *Config) int64 {
	if c.RLimitNoFile == -1 {
		return 1_000_000
	}
	return c.RLimitNoFile
}

func fewerFiles(locked, now *Config) bool {
	was, is := openFiles(locked), openFiles(now)
	return was == is || is != 0 && is < was && was != 0
}

// fewerCaps tells whether no capability is kept now that was not before.
func fewerCaps(locked, now *Config) bool {
	was, is := capLevels(locked.ModCaps), capLevels(now.ModCaps)
	for i := range was {
		if is[i] > was[i] {
			return false
		}
	}
	return true
}

// capLevels is for each capability whether --modcaps adds it (1), takes it away (-1), or leaves it.
func capLevels(modCaps string) []int {
	levels := make([]int, len(capabilities))
	changes, _ := ParseModCaps(modCaps) // it was checked, and none is "", which is no change
	for _, c := range changes {
		levels[c.Cap] = -1
		if c.Add {
			levels[c.Cap] = 1
		}
	}
	return levels
}
