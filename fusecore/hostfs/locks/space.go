// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Space knows the locks of all guests that a process serves, so that they can wait for each other.
// It is safe for concurrent use, and has nothing to close.
type Space struct {
	poll func(tries int) time.Duration // sleep before another try for what nobody of ours holds

	mu      sync.Mutex // guards all that is remembered, see the package comment
	files   map[key]*file
	waiting map[ownerID][]*waiter // for byte ranges
}

// NewSpace returns a space without locks.
func NewSpace() *Space {
	return &Space{poll: pollTime, files: map[key]*file{}, waiting: map[ownerID][]*waiter{}}
}

// key tells host files apart.
type key struct{ dev, ino uint64 }

// file is a host file on which guests have locks or wait for them.
type file struct {
	key     key
	owners  map[ownerID]*owner
	holders map[*owner]struct{} // those of them that hold something
	line    line
}

// file finds a file, or makes it. Space.mu is held.
func (s *Space) file(k key) *file {
	f := s.files[k]
	if f == nil {
		f = &file{key: k, owners: map[ownerID]*owner{}, holders: map[*owner]struct{}{}}
		s.files[k] = f
	}
	return f
}

// settle forgets a file that is of no interest any more. Space.mu is held.
func (s *Space) settle(f *file) {
	if len(f.owners) == 0 && f.line.first == nil {
		delete(s.files, f.key)
	}
}

// conflict finds what keeps id from having l: a lock of another owner of ours, if there is one.
// Space.mu is held.
func (f *file) conflict(id ownerID, l span) (holder *owner) {
	f.conflicts(id, l, func(o *owner, _ span) bool {
		holder = o
		return false
	})
	return holder
}

// conflicts calls each, until it returns false, for every other owner of ours that keeps id from
// having l, with its first lock that does. Space.mu is held.
func (f *file) conflicts(id ownerID, l span, each func(*owner, span) bool) {
	for o := range f.holders {
		if o.id == id || o.id.kind != id.kind {
			continue
		}
		if at, ok := o.held.conflict(l); ok && !each(o, at) {
			return
		}
	}
}

// pidOf is the guest's process that has the lock got, which keeps id from having l, on f; 0 if it
// is none of this guest's.
func (s *Space) pidOf(k key, id ownerID, l, got span) (pid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[k]
	if f == nil {
		return 0
	}
	f.conflicts(id, l, func(o *owner, at span) bool {
		if o.id.guest != id.guest || at != got {
			return true
		}
		pid = o.pid
		return false
	})
	return pid
}

// Lock is a request for a lock, or a lock.
type Lock struct {
	Start, End int64  // first and last byte; End math.MaxInt64: to the end of the file for good
	Type       int16  // unix.F_RDLCK, unix.F_WRLCK or unix.F_UNLCK
	Pid        uint32 // the process in the guest; 0: not known
}

// NewLock checks the fields of FUSE's struct fuse_file_lock (Linux linux/fuse.h). EINVAL: they make
// no sense.
func NewLock(start, end uint64, typ, pid uint32) (Lock, error) {
	switch typ {
	case unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK:
	default:
		return Lock{}, unix.EINVAL
	}
	if start > end || end > maxOffset {
		return Lock{}, unix.EINVAL
	}
	return Lock{Start: int64(start), End: int64(end), Type: int16(typ), Pid: pid}, nil
}

func (l Lock) span() span { return span{l.Start, l.End, l.Type} }
