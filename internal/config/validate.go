// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"strings"

	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/xattrmap"
	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
)

// Validate reports all that is wrong with c, one line each, joined; nil if it can be used.
func (c Config) Validate() error {
	return errors.Join(c.validateShares(), c.validateProcess(), c.Migration.validate())
}

func (c Config) validateProcess() error {
	var errs []error
	if c.ThreadPoolSize < 0 {
		errs = append(errs, wrong("thread-pool-size", "is %d: give a number from 0 up", c.ThreadPoolSize))
	}
	if c.PageCacheSize < 0 || c.PageCacheSize > maxPageCache {
		errs = append(errs, wrong("page-cache-size", "is %s: give a size from 0 to %s", formatSize(c.PageCacheSize), formatSize(maxPageCache)))
	}
	if len(c.UIDMap)+len(c.GIDMap) > 0 && c.Sandbox != SandboxNamespace {
		errs = append(errs, wrong("uid-map", "and --gid-map need --sandbox namespace, and it is %s: leave them out", c.Sandbox))
	}
	if _, err := idmap.ParseRanges(c.UIDMap); err != nil {
		errs = append(errs, wrong("uid-map", ": %v", err))
	}
	if _, err := idmap.ParseRanges(c.GIDMap); err != nil {
		errs = append(errs, wrong("gid-map", ": %v", err))
	}
	return errors.Join(append(errs,
		validateWord("sandbox", c.Sandbox, sandboxes), validateWord("seccomp", c.Seccomp, seccomps),
		c.validateModCaps(), validateWord("log-level", c.LogLevel, logLevels))...)
}

func (m Migration) validate() error {
	errs := []error{
		validateWord("migration-mode", m.Mode, migrationModes),
		validateWord("migration-on-error", m.OnError, migrationOnErrors),
	}
	if m.Mode == MigrateFileHandles && m.VerifyHandles {
		errs = append(errs, wrong("migration-verify-handles", "is for --migration-mode find-paths: with file-handles, handles are all that there is"))
	}
	if m.Mode == MigrateFileHandles && m.ConfirmPaths {
		errs = append(errs, wrong("migration-confirm-paths", "is for --migration-mode find-paths: with file-handles there are no paths"))
	}
	return errors.Join(errs...)
}

func (c Config) validateShares() error {
	if len(c.Shares) == 0 {
		return errors.New("there is nothing to share: give --shared-dir or --share")
	}
	if len(c.Shares) == 1 {
		return c.Shares[0].validate()
	}
	var errs []error
	paths, fds := map[string]bool{}, map[int]bool{}
	for i, s := range c.Shares {
		err := s.validate()
		if paths[s.SocketPath] || fds[s.FD] {
			err = errors.Join(err, wrong("", "another share has the same socket: give each its own"))
		}
		errs = append(errs, eachMistake(err, func(m *mistake) { m.share, m.dir = i, s.SharedDir }))
		paths[s.SocketPath], fds[s.FD] = s.SocketPath != "", s.FD != -1
	}
	return errors.Join(errs...)
}

func (s Share) validate() error {
	return errors.Join(s.validateDir(), s.validateSocket(), s.validateTag(), s.validateQueues(),
		validateWord("cache", s.Cache, caches), validateWord("posix-acl", s.PosixACL, negotiations),
		validateWord("security-label", s.SecurityLabel, negotiations),
		validateWord("inode-file-handles", s.FileHandles, fileHandles), s.validateMaps())
}

// validateMaps reads the rules by which attributes and ids are mapped.
func (s Share) validateMaps() error {
	var errs []error
	check := func(option string, err error) {
		if err != nil {
			errs = append(errs, wrong(option, ": %v", err))
		}
	}
	if s.XAttrMap != "" {
		_, err := xattrmap.Parse(s.XAttrMap)
		check("xattrmap", err)
	}
	_, err := idmap.Parse(s.TranslateUID)
	check("translate-uid", err)
	_, err = idmap.Parse(s.TranslateGID)
	check("translate-gid", err)
	return errors.Join(errs...)
}

func (s Share) validateDir() error {
	switch {
	case s.SharedDir == "":
		return wrong("shared-dir", "is missing: give the directory that the guest shall see")
	case strings.ContainsRune(s.SharedDir, 0):
		return wrong("shared-dir", "has a NUL byte in it: no path can")
	}
	return nil
}

func (s Share) validateSocket() error {
	switch {
	case s.SocketPath == "" && s.FD == -1:
		return wrong("socket-path", "is missing: say where to listen for the VMM (or hand over a listening socket by --fd)")
	case s.SocketPath != "" && s.FD != -1:
		return wrong("socket-path", "and --fd exclude each other: give one of them")
	case s.SocketGroup != "" && s.FD != -1:
		return wrong("socket-group", "and --fd exclude each other: who made the socket says who may connect")
	case s.FD != -1 && s.FD < firstFD:
		return wrong("fd", "%d is not possible, as 0 to 2 are standard input, output and error: hand the listening socket over as 3 or above", s.FD)
	case strings.ContainsRune(s.SocketPath, 0):
		return wrong("socket-path", "has a NUL byte in it: no path can")
	case len(s.SocketPath) > maxPath:
		return wrong("socket-path", "is %d bytes long, and Linux takes at most %d for a socket: choose a shorter path, or change into its directory and give a relative one",
			len(s.SocketPath), maxPath)
	}
	return nil
}

func (s Share) validateTag() error {
	switch {
	case len(s.Tag) > maxTag:
		return wrong("tag", "is %d bytes long, and the virtio-fs device has room for %d: choose a shorter one", len(s.Tag), maxTag)
	case strings.ContainsRune(s.Tag, 0):
		return wrong("tag", "has a NUL byte in it, where the guest would end it: leave it out")
	}
	return nil
}

func (s Share) validateQueues() error {
	if s.NumRequestQueues < 1 || s.NumRequestQueues > maxQueues {
		return wrong("num-request-queues", "is %d: give a number from 1 to %d", s.NumRequestQueues, maxQueues)
	}
	return nil
}
