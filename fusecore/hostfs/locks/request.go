// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"golang.org/x/sys/unix"
)

// Set takes, changes or gives up a range of bytes for an owner, without waiting. EAGAIN: somebody
// has a lock that conflicts. EBADF: the handle is not open for it. ENOLCK: a limit is reached.
func (h *Handle) Set(owner uint64, l Lock) error {
	return h.try(ownerID{h.guest, posix, owner}, l.span(), l.Pid)
}

// Wait is Set that waits for others. EINTR: cancel was closed. EDEADLK: it would wait for owners of
// byte ranges that wait for this one.
func (h *Handle) Wait(cancel <-chan struct{}, owner uint64, l Lock) error {
	return h.wait(cancel, ownerID{h.guest, posix, owner}, l.span(), l.Pid)
}

// SetFlock takes, changes or gives up the lock of the handle by typ, F_RDLCK for LOCK_SH and so on,
// without waiting. A change is not atomic, as flock(2) has it: with EAGAIN the old lock is lost.
func (h *Handle) SetFlock(typ int16) error {
	return h.try(ownerID{h.guest, flock, h.id}, span{0, maxOffset, typ}, 0)
}

// WaitFlock is SetFlock that waits for others. EINTR: cancel was closed.
func (h *Handle) WaitFlock(cancel <-chan struct{}, typ int16) error {
	return h.wait(cancel, ownerID{h.guest, flock, h.id}, span{0, maxOffset, typ}, 0)
}

// try does a request once.
func (h *Handle) try(id ownerID, l span, pid uint32) error {
	g := h.guest
	if l.typ == unix.F_UNLCK {
		o := g.find(h.key, id)
		if o == nil {
			return nil
		}
		defer g.leave(o, false)
		return o.set(h, l, pid)
	}
	o, err := h.enter(id)
	if err != nil {
		return err
	}
	defer g.leave(o, false)
	return o.set(h, l, pid)
}

// Get tells which lock keeps the owner from having l, or a Lock of type F_UNLCK if none does. Pid
// is that of the guest's process that has it, 0 for one of other guests and of the host.
func (h *Handle) Get(owner uint64, l Lock) (Lock, error) {
	g, id, fd := h.guest, ownerID{h.guest, posix, owner}, h.fd // which never has ranges
	if o := g.find(h.key, id); o != nil {
		defer g.leave(o, false)
		o.call.Lock()
		defer o.call.Unlock()
		if o.fd >= 0 {
			fd = o.fd
		}
	}
	got, err := getLock(fd, l.span())
	if err != nil || got.typ == unix.F_UNLCK {
		return Lock{Type: unix.F_UNLCK}, err
	}
	return Lock{Start: got.start, End: got.end, Type: got.typ, Pid: g.space.pidOf(h.key, id, l.span(), got)}, nil
}
