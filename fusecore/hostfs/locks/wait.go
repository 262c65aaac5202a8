// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Sleep between tries for what nobody of ours holds.
const (
	pollFirst = time.Millisecond
	pollLast  = 50 * time.Millisecond
)

func pollTime(tries int) time.Duration { return min(pollFirst<<min(tries, 10), pollLast) }

// waiter is a request that waits, in its file's line. lined, next and prev are guarded by Space.mu,
// the others do not change.
type waiter struct {
	h     *Handle
	id    ownerID
	want  span
	owner *owner        // in use, so that it keeps its description
	woken chan struct{} // has one value when w shall look around

	lined      bool
	next, prev *waiter
}

func (w *waiter) wake() {
	select {
	case w.woken <- struct{}{}:
	default: // it has been told already
	}
}

// line is the requests that wait for one file, in order of arrival. Space.mu guards it.
//
// When something of ours is given up, the first whom nothing of ours is in the way of any more gets
// the turn: it tries, and then the turn goes to the next such one, until the end of the line. There
// is one turn, so that they have it in order. Who lines up looks around once in line, and so misses
// nothing.
type line struct {
	first, last *waiter
	turn        *waiter // has the turn; nil: nobody
	again       bool    // something was given up meanwhile: the turn goes to the first next
}

// maxLook bounds how much is looked at to find who gets the turn. Beyond it the next in
// line gets it, maybe in vain.
const maxLook = 4096

// released tells the line that something was given up.
func (f *file) released() {
	if f.line.turn != nil {
		f.line.again = true
		return
	}
	f.giveTurn(f.line.first)
}

// giveTurn gives the turn to w or to one behind it, if there is somebody.
func (f *file) giveTurn(w *waiter) {
	if f.line.again {
		f.line.again, w = false, f.line.first
	}
	looked := 0
	for ; w != nil && looked < maxLook && f.conflict(w.id, w.want) != nil; w = w.next {
		looked += 1 + len(f.holders)
	}
	if f.line.turn = w; w != nil {
		w.wake()
	}
}

// lineUp puts a request at the end of its file's line, and tells what it can hope for.
func (h *Handle) lineUp(id ownerID, l span) (*waiter, outlook, error) {
	o, err := h.enter(id)
	if err != nil {
		return nil, 0, err
	}
	w := &waiter{h: h, id: id, want: l, owner: o, woken: make(chan struct{}, 1), lined: true}
	s := h.guest.space
	s.mu.Lock()
	defer s.mu.Unlock()
	o.file.line.add(w)
	if id.kind == posix {
		s.waiting[id] = append(s.waiting[id], w)
	}
	return w, w.look(), nil
}

// leave ends the wait.
func (w *waiter) leave() {
	g := w.id.guest
	g.space.mu.Lock()
	w.unline()
	g.space.mu.Unlock()
	g.leave(w.owner, false)
}

// unline takes w out of the line. Space.mu is held.
func (w *waiter) unline() {
	if !w.lined {
		return
	}
	w.lined = false
	f := w.owner.file
	next, turn := w.next, f.line.turn == w
	f.line.remove(w)
	if turn {
		f.giveTurn(next)
	}
	if w.id.kind == posix {
		s := w.id.guest.space
		s.waiting[w.id] = slices.DeleteFunc(s.waiting[w.id], func(v *waiter) bool { return v == w })
		if len(s.waiting[w.id]) == 0 {
			delete(s.waiting, w.id)
		}
	}
}

func (l *line) add(w *waiter) {
	if w.prev = l.last; w.prev != nil {
		w.prev.next = w
	} else {
		l.first = w
	}
	l.last = w
}

func (l *line) remove(w *waiter) {
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.last = w.prev
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.first = w.next
	}
}

// wait waits for a lock and takes it.
func (h *Handle) wait(cancel <-chan struct{}, id ownerID, l span, pid uint32) error {
	if l.typ == unix.F_UNLCK {
		return h.try(id, l, pid)
	}
	w, view, err := h.lineUp(id, l)
	if err != nil {
		return err
	}
	defer w.leave()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for tries := 0; ; view = w.lookAgain() {
		var soon <-chan time.Time
		switch view {
		case inCircle:
			return unix.EDEADLK
		case held:
			tries = 0
		case free:
			if err := h.try(id, l, pid); err != unix.EAGAIN {
				return err
			}
			timer.Reset(h.guest.space.poll(tries))
			tries, soon = tries+1, timer.C
		}
		w.endTurn()
		select {
		case <-w.woken:
		case <-soon:
		case <-cancel:
			return unix.EINTR
		}
	}
}

// outlook is what one who waits can hope for.
type outlook uint8

const (
	free     outlook = iota // nothing of ours is in the way: a try may do
	held                    // an owner of ours is, who will wake it
	inCircle                // one who waits for it
)

// look finds w's outlook. In a circle w leaves the line, so that only one is told. Space.mu is held.
func (w *waiter) look() outlook {
	switch {
	case w.h.dropped, w.owner.file.conflict(w.id, w.want) == nil:
		return free
	case w.id.kind == posix && w.id.guest.space.circle(w):
		w.unline()
		return inCircle
	}
	return held
}

func (w *waiter) lookAgain() outlook {
	w.id.guest.space.mu.Lock()
	defer w.id.guest.space.mu.Unlock()
	return w.look()
}

// endTurn passes the turn on, if w has it.
func (w *waiter) endTurn() {
	w.id.guest.space.mu.Lock()
	defer w.id.guest.space.mu.Unlock()
	if f := w.owner.file; f.line.turn == w {
		f.giveTurn(w.next)
	}
}

// maxCircle bounds the search for a circle, in requests that wait.
const maxCircle = 256

// circle tells whether an owner that w waits for waits for w's, maybe by way of others. As in Linux
// (posix_locks_deadlock of fs/locks.c) an owner with several threads counts as waiting when one of
// them waits. Space.mu is held.
func (s *Space) circle(w *waiter) (found bool) {
	line := []*waiter{w}
	for i := 0; i < len(line) && i < maxCircle && !found; i++ {
		v := line[i]
		v.owner.file.conflicts(v.id, v.want, func(o *owner, _ span) bool {
			found = o.id == w.id
			for _, next := range s.waiting[o.id] {
				if !slices.Contains(line, next) {
					line = append(line, next)
				}
			}
			return !found && len(line) <= maxCircle
		})
	}
	return found
}
