// SPDX-License-Identifier: Apache-2.0

// Package creds runs file system calls with another user's ids, so that what they create belongs
// to that user from the first moment.
//
// Ids belong to a thread. While they are switched the goroutine is locked to its thread, only
// system calls are made on it, and a thread whose own ids cannot be restored ends the process:
// the Go runtime would hand it to other goroutines and clone new threads from it.
//
// The main thread must not come here: changing its ids clears the parent-death signal.
package creds

import (
	"fmt"
	"os"
	"runtime"

	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// Switcher knows what the process may switch to. It is immutable and safe for concurrent use.
type Switcher struct {
	uid, gid uint32           // the process's own effective ids
	groups   []uint32         // its supplementary groups
	grouped  bool             // they can be changed
	able     bool             // CAP_SETUID and CAP_SETGID are there
	own      sys.Capabilities // what a thread has while it is itself
	switched sys.Capabilities // what it has with another uid
	refill   bool             // the kernel does not give own back by itself
}

// Detect looks at the calling thread's capabilities, once, after the process has taken the ids
// and capabilities that it serves with.
func Detect() (*Switcher, error) {
	c, err := sys.Capget()
	if err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	const need = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	groups, err := ownGroups()
	if err != nil {
		return nil, err
	}
	s := &Switcher{
		groups: groups,
		uid:    uint32(os.Geteuid()),
		gid:    uint32(os.Getegid()),
		able:   c.Effective&need == need,
		own:    c,
	}
	s.grouped = s.able && canSetGroups(groups)
	// Only a way back to uid 0 makes what is permitted effective again (capabilities(7)).
	s.refill = s.uid != 0 || c.Effective != c.Permitted
	// A guest's user may create where only one of his further groups may write. The guest's
	// kernel has checked that; the host cannot, for it does not know the groups.
	s.switched = c
	s.switched.Effective = c.Permitted & (1 << unix.CAP_DAC_OVERRIDE)
	return s, nil
}

func ownGroups() (groups []uint32, err error) {
	own, err := os.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("read supplementary groups: %w", err)
	}
	for _, g := range own {
		groups = append(groups, uint32(g))
	}
	return groups, nil
}

// canSetGroups tries it with the groups that are there. A user namespace may forbid it, or not have
// them all (user_namespaces(7)).
func canSetGroups(own []uint32) bool {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return sys.SetGroups(own) == nil
}

// Able tells whether ids can be switched. Where not (a daemon without root's capabilities), Do
// leaves the ids alone, and what is created belongs to the daemon's user.
func (s *Switcher) Able() bool { return s.able }

// Do runs fn with uid and gid as effective and file system ids and, where uid is switched to, with
// groups, which may be empty, as supplementary groups. Root's ids, and the process's own, are not
// switched to: such a caller keeps the process's groups and capabilities. fn makes system calls
// only: it must not start goroutines, use channels or log. fn's error is returned as it is; an id
// that cannot be taken gives a syscall.Errno and fn is not run.
func (s *Switcher) Do(uid, gid uint32, groups []uint32, fn func() error) error {
	// To setresuid(2) this means no change, which would leave a privileged thread privileged.
	if s.able && (uid == noID || gid == noID) {
		return unix.EINVAL
	}
	setGID := s.able && gid != 0 && gid != s.gid
	setUID := s.able && uid != 0 && uid != s.uid
	if !setGID && !setUID {
		return fn()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The groups first: without uid 0 there is no changing them. Back in reverse.
	if setUID && s.grouped && (len(groups) > 0 || len(s.groups) > 0) {
		if err := sys.SetGroups(groups); err != nil {
			return err
		}
		defer s.mustRestore(func(uint32) error { return sys.SetGroups(s.groups) }, s.uid)
	}
	if setGID {
		if err := sys.SetEffectiveGID(gid); err != nil {
			return err
		}
		defer s.mustRestore(sys.SetEffectiveGID, s.gid)
	}
	if setUID {
		if err := sys.SetEffectiveUID(uid); err != nil {
			return err
		}
		defer s.mustRestore(s.restoreUID, s.uid)
		if s.switched.Effective != 0 {
			if err := sys.Capset(s.switched); err != nil {
				return err
			}
		}
	}
	return fn()
}

// noID is no user's and no group's id.
const noID = ^uint32(0)

// restoreUID goes back to the process's own uid and capabilities.
func (s *Switcher) restoreUID(uid uint32) error {
	err := sys.SetEffectiveUID(uid)
	if err == nil && s.refill {
		err = sys.Capset(s.own)
	}
	return err
}

func (s *Switcher) mustRestore(set func(uint32) error, id uint32) {
	if err := set(id); err != nil {
		fmt.Fprintf(os.Stderr, "fatal: a thread's id %d cannot be restored: %v\n", id, err)
		os.Exit(1)
	}
}
