// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/locks"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// defaultMaxLocks is MaxLocks if nothing is said.
const defaultMaxLocks = 1 << 16

// newLocks enters the share's guest into the space of locks.
func (fs *FS) newLocks() *locks.Guest {
	space := fs.cfg.Locks
	if space == nil {
		space = locks.NewSpace()
	}
	return space.NewGuest(locks.Options{
		MaxOwners: fs.cfg.MaxLockFDs,
		MaxRanges: fs.cfg.MaxLocks,
		Reopen: func(fd, access int) (int, error) {
			return fs.withFDs(func() (int, error) { return sys.Reopen(fs.host.proc, fd, access) })
		},
	})
}

// lockHandle is how package locks knows an open file.
func (fs *FS) lockHandle(h *handle) (*locks.Handle, error) {
	if l := h.lock.Load(); l != nil {
		return l, nil
	}
	l, err := fs.locks.Handle(h.id, h.fd)
	if err != nil {
		return nil, err
	}
	if !h.lock.CompareAndSwap(nil, l) {
		l = h.lock.Load()
	}
	return l, nil
}

// locking finds what a request for a lock is about. ENOSYS: the guest keeps locks of this kind itself.
func (fs *FS) locking(cancel <-chan struct{}, op string, in *fuse.LkIn) (h *handle, lh *locks.Handle, l locks.Lock, err error) {
	on := fs.cfg.PosixLocks
	if in.LkFlags&fuse.LK_FLOCK != 0 {
		on = fs.cfg.Flock
	}
	if !on {
		return nil, nil, l, unix.ENOSYS
	}
	if l, err = locks.NewLock(in.Lk.Start, in.Lk.End, in.Lk.Typ, in.Lk.Pid); err != nil {
		return nil, nil, l, err
	}
	if h, err = fs.open.file(in.Fh, in.NodeId); err != nil {
		return nil, nil, l, err
	}
	if err = fs.fault(cancel, op, at{h.fd, ""}); err == nil {
		lh, err = fs.lockHandle(h)
	}
	if err != nil {
		h.release()
		return nil, nil, l, err
	}
	return h, lh, l, nil
}

// GetLk tells who is in the way of a lock.
func (fs *FS) GetLk(cancel <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	h, lh, l, err := fs.locking(cancel, "getlk", in)
	if err != nil {
		return status(err)
	}
	defer h.release()
	got, err := lh.Get(in.Owner, l)
	out.Lk = fuse.FileLock{Start: uint64(got.Start), End: uint64(got.End), Typ: uint32(got.Type), Pid: got.Pid}
	return status(err)
}

// SetLk takes or gives up a lock, if that can be done at once. EAGAIN: it cannot.
func (fs *FS) SetLk(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	h, lh, l, err := fs.locking(cancel, "setlk", in)
	if err != nil {
		return status(err)
	}
	defer h.release()
	if in.LkFlags&fuse.LK_FLOCK != 0 {
		return status(fs.limited(limitLocks, lh.SetFlock(l.Type)))
	}
	return status(fs.limited(limitLocks, lh.Set(in.Owner, l)))
}

// SetLkw is SetLk that waits for others.
func (fs *FS) SetLkw(cancel <-chan struct{}, in *fuse.LkIn) fuse.Status {
	h, lh, l, err := fs.locking(cancel, "setlk", in)
	if err != nil {
		return status(err)
	}
	defer h.release()
	if in.LkFlags&fuse.LK_FLOCK != 0 {
		return status(fs.limited(limitLocks, lh.WaitFlock(cancel, l.Type)))
	}
	return status(fs.limited(limitLocks, lh.Wait(cancel, in.Owner, l)))
}

// flushLocks gives up the byte ranges of an owner in the guest that has closed a descriptor.
func (fs *FS) flushLocks(h *handle, owner uint64) {
	if !fs.locks.HasRanges() {
		return
	}
	// Without knowing the file there is nothing to give up: it could not be locked either.
	if l, err := fs.lockHandle(h); err == nil {
		l.Flush(owner)
	}
}

// dropLocks gives up the locks that go with an open file.
func (fs *FS) dropLocks(fh, node uint64) {
	h, err := fs.open.get(fh, node)
	if err != nil {
		return
	}
	defer h.release()
	if l := h.lock.Load(); l != nil {
		l.Drop()
	}
}
