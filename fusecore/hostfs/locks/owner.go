// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"sync"

	"golang.org/x/sys/unix"
)

// kind is a kind of lock. The two do not see each other.
type kind uint8

const (
	posix kind = iota // byte ranges
	flock             // whole files
)

// ownerID tells owners apart: of kind posix by the guest's lock owner, of kind flock by the handle.
type ownerID struct {
	guest *Guest
	kind  kind
	id    uint64
}

// owner is who may hold locks on one file.
type owner struct {
	id   ownerID
	file *file

	// call is held over calls of the host for this owner and until what they did is remembered.
	call   sync.Mutex
	fd     int // the description that has the locks; -1: not opened yet. Of kind flock: the handle's
	access int // what fd is open for: O_RDONLY, O_WRONLY or O_RDWR

	held spans // written with both call and Space.mu, so either is enough to read it

	// Guarded by Space.mu.
	via   *Handle // of the last request
	pid   uint32  // of the last request that was granted
	users int     // requests at work with it, and those that wait
}

// enter finds the owner of a request that comes through h, or makes one. Guest.leave ends the use.
// EBADF: the handle is closed. ENOLCK: the guest has too many owners.
func (h *Handle) enter(id ownerID) (*owner, error) {
	g := h.guest
	evicted := -1
	defer func() { closeFD(evicted) }()
	g.space.mu.Lock()
	defer g.space.mu.Unlock()
	if h.dropped {
		return nil, unix.EBADF
	}
	o := g.space.file(h.key).owners[id]
	if o == nil {
		o = &owner{id: id, fd: -1, access: -1}
		if id.kind == flock {
			o.fd = h.fd
		} else if evicted = g.makeRoom(); g.posixOwners.Load() >= int64(g.opts.MaxOwners) {
			g.space.settle(g.space.file(h.key))
			return nil, unix.ENOLCK
		}
		g.add(o, h.key)
	}
	o.use()
	o.via = h
	return o, nil
}

// find is enter for an owner that is there already; nil: it is not.
func (g *Guest) find(k key, id ownerID) *owner {
	g.space.mu.Lock()
	defer g.space.mu.Unlock()
	f := g.space.files[k]
	if f == nil || f.owners[id] == nil {
		return nil
	}
	o := f.owners[id]
	o.use()
	return o
}

// leave ends a use. With last, or when its handle is closed, the owner goes if it is idle then; else
// it keeps its description for its next lock.
func (g *Guest) leave(o *owner, last bool) {
	unused := -1
	defer func() { closeFD(unused) }()
	g.space.mu.Lock()
	defer g.space.mu.Unlock()
	o.users--
	switch {
	case !o.idle():
	case last || o.via.dropped:
		unused = g.remove(o)
	case o.id.kind == posix:
		g.spare[o] = struct{}{}
	}
}

// use begins a use. Space.mu is held.
func (o *owner) use() {
	o.users++
	delete(o.id.guest.spare, o)
}

// idle tells whether o can go. Space.mu is held.
func (o *owner) idle() bool { return o.users == 0 && len(o.held) == 0 }

// set does one request on the host and remembers what came of it. EAGAIN: somebody has a lock that
// conflicts. The caller uses o, and, unless it is to unlock, has entered it through h.
func (o *owner) set(h *Handle, l span, pid uint32) error {
	o.call.Lock()
	defer o.call.Unlock()
	g := o.id.guest
	c := o.held.plan(l)
	if err := g.admit(h, c.growth()); err != nil {
		return err
	}
	err := o.host(h, l)
	switch {
	case err == nil:
	case err == unix.EAGAIN && o.id.kind == flock:
		// A change of type that fails has given the old lock up (flock(2)).
		c = o.held.plan(unlocked)
	default:
		return err
	}
	g.space.mu.Lock()
	defer g.space.mu.Unlock()
	if err == nil {
		o.pid = pid
	}
	gave := len(o.held) > 0 && (err != nil || l.typ != unix.F_WRLCK)
	g.ranges += c.growth()
	o.hold(o.held.apply(&c))
	if gave {
		o.file.released()
	}
	return err
}

// hold remembers what o has now. call and Space.mu are held.
func (o *owner) hold(now spans) {
	o.held = now
	if len(now) > 0 {
		o.file.holders[o] = struct{}{}
	} else {
		delete(o.file.holders, o)
	}
}

// host asks the host's kernel. call is held.
func (o *owner) host(h *Handle, l span) error {
	if o.id.kind == flock {
		return flockFD(o.fd, l.typ)
	}
	if l.typ == unix.F_UNLCK {
		if o.fd < 0 {
			return nil
		}
		return setLock(o.fd, l)
	}
	if l.typ == unix.F_RDLCK && h.access == unix.O_WRONLY || l.typ == unix.F_WRLCK && h.access == unix.O_RDONLY {
		return unix.EBADF
	}
	if o.fd < 0 || o.access != h.access && o.access != unix.O_RDWR {
		if err := o.open(h); err != nil {
			return err
		}
	}
	return setLock(o.fd, l)
}

// open opens the file for o: for no more than the handle that the request came through, as others
// on the host notice who has a file open for writing, or, when o has come through handles of
// several kinds, for both. call is held. ENOLCK: the file cannot be opened so any more.
func (o *owner) open(h *Handle) error {
	access := h.access
	if access == unix.O_WRONLY || o.fd >= 0 {
		access = unix.O_RDWR
	}
	fd, err := h.guest.opts.Reopen(h.fd, access)
	if err != nil && access != h.access && o.fd < 0 {
		access = h.access
		fd, err = h.guest.opts.Reopen(h.fd, access)
	}
	switch err {
	case nil:
	case unix.EIO, unix.ESTALE:
		return err
	default:
		return unix.ENOLCK
	}
	// What o has moves along: read locks, as it was not open for writing, and they can be had twice.
	for _, l := range o.held {
		if setLock(fd, l) != nil {
			closeFD(fd)
			return unix.ENOLCK
		}
	}
	closeFD(o.fd)
	o.fd, o.access = fd, access
	return nil
}

// forget is for an owner whose host cannot be made to give its locks up: it closes the description.
func (o *owner) forget() {
	o.call.Lock()
	defer o.call.Unlock()
	if o.id.kind == posix {
		closeFD(o.fd)
		o.fd, o.access = -1, -1
	}
	g := o.id.guest
	g.space.mu.Lock()
	defer g.space.mu.Unlock()
	g.ranges -= len(o.held)
	o.hold(nil)
	o.file.released()
}
