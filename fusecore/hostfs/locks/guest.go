// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Options are the limits of one guest's locks, and how its files are opened.
type Options struct {
	// MaxOwners is how many owners of byte ranges may be known, each of which has an fd; an owner
	// on two files counts twice. One that holds nothing gives way. ENOLCK beyond it.
	MaxOwners int
	// MaxRanges is how many ranges they may hold, each of which is memory in the host's kernel.
	// ENOLCK beyond it.
	MaxRanges int
	// Reopen opens the file of an fd once more, with access O_RDONLY or O_RDWR, or O_WRONLY. The
	// package closes what it gets.
	Reopen func(fd, access int) (int, error)
}

// Guest is the locks of one guest. It is safe for concurrent use.
type Guest struct {
	space *Space
	opts  Options

	posixOwners atomic.Int64 // written with Space.mu

	// Guarded by Space.mu.
	owners map[*owner]struct{}
	spare  map[*owner]struct{} // those of ranges that are idle
	ranges int
}

// NewGuest enters a guest without locks. Reset ends them all.
func (s *Space) NewGuest(o Options) *Guest {
	return &Guest{space: s, opts: o, owners: map[*owner]struct{}{}, spare: map[*owner]struct{}{}}
}

// add enters a new owner. Space.mu is held.
func (g *Guest) add(o *owner, k key) {
	o.file = g.space.file(k)
	o.file.owners[o.id] = o
	g.owners[o] = struct{}{}
	if o.id.kind == posix {
		g.posixOwners.Add(1)
	}
}

// remove forgets an idle owner, and returns the fd that the caller closes when it does not hold
// Space.mu any more, or -1.
func (g *Guest) remove(o *owner) (unused int) {
	delete(o.file.owners, o.id)
	delete(g.owners, o)
	delete(g.spare, o)
	g.space.settle(o.file)
	if o.id.kind == flock {
		return -1
	}
	g.posixOwners.Add(-1)
	return o.fd
}

// makeRoom removes an owner of ranges that is idle, if there is no room for another. It returns as
// remove does. Space.mu is held.
func (g *Guest) makeRoom() (unused int) {
	if g.posixOwners.Load() < int64(g.opts.MaxOwners) {
		return -1
	}
	for o := range g.spare {
		return g.remove(o)
	}
	return -1
}

// admit is asked before the host. h is nil when locks are only given up.
func (g *Guest) admit(h *Handle, growth int) error {
	g.space.mu.Lock()
	defer g.space.mu.Unlock()
	switch {
	case h != nil && h.dropped: // since h was entered; what is taken now nobody would give up
		return unix.EBADF
	case growth > 0 && g.ranges+growth > g.opts.MaxRanges:
		return unix.ENOLCK
	}
	return nil
}

// HasRanges tells whether Handle.Flush may have anything to do: without a system call or a lock.
func (g *Guest) HasRanges() bool { return g.posixOwners.Load() > 0 }

// Reset gives up all locks. Requests of the guest must not be under way.
func (g *Guest) Reset() {
	g.space.mu.Lock()
	all := make([]*owner, 0, len(g.owners))
	for o := range g.owners {
		o.use()
		all = append(all, o)
	}
	g.space.mu.Unlock()
	g.release(all)
}

// release gives up all locks of owners in use, and ends the use.
func (g *Guest) release(owners []*owner) {
	for _, o := range owners {
		// It cannot fail: no span is split, so the kernel needs no memory. A network file system's
		// errors, such as EIO, leave the close to do it.
		if err := o.set(nil, unlocked, 0); err != nil {
			o.forget()
		}
		g.leave(o, true)
	}
}

// Handle is an open file of the guest's that lock requests come through.
type Handle struct {
	guest  *Guest
	id     uint64
	fd     int
	access int // O_ACCMODE of fd
	key    key

	dropped bool // guarded by Space.mu
}

// Handle looks at an open file. id is its own in the guest, fd its own description on the host,
// which stays open until Drop has returned. The caller may forget a Handle that no lock was
// asked for through without Drop.
func (g *Guest) Handle(id uint64, fd int) (*Handle, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, err
	}
	h := &Handle{guest: g, id: id, fd: fd, access: flags & unix.O_ACCMODE}
	h.key, err = keyOf(fd)
	return h, err
}

// Drop gives up what belongs to a handle that is closed in the guest: its flock lock, and the ranges
// of the owner that is the open file itself. Those of a process were given up by Flush before, as a
// process closes a file before it is closed for good. Requests that wait through it get EBADF.
func (h *Handle) Drop() {
	s := h.guest.space
	s.mu.Lock()
	h.dropped = true
	var mine []*owner
	if f := s.files[h.key]; f != nil {
		for _, o := range f.owners {
			if o.via == h {
				o.use()
				mine = append(mine, o)
			}
		}
		for w := f.line.first; w != nil; w = w.next {
			if w.h == h {
				w.wake()
			}
		}
	}
	s.mu.Unlock()
	h.guest.release(mine)
}

// Flush gives up all ranges of an owner on the handle's file, as a process of the guest has closed a
// descriptor of it (fcntl(2)).
func (h *Handle) Flush(id uint64) {
	if o := h.guest.find(h.key, ownerID{h.guest, posix, id}); o != nil {
		h.guest.release([]*owner{o})
	}
}
