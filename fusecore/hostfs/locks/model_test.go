// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// world is one file with owners of several guests in several processes, and what each has.
type world struct {
	path    string
	probe   int // a description that never has locks
	host    *hostProcess
	handles []*Handle // two of each guest
	model   map[actor]*table
	pids    map[actor]uint32
}

// actor is an owner in the model.
type actor struct {
	guest *Guest // nil: the host's process
	id    uint64
}

// newWorld has two guests in one space, and one in another, as in another process: they share
// nothing but the host's kernel.
func newWorld(t testing.TB) *world {
	w := &world{path: newFile(t)}
	w.host = startHostProcess(t, w.path)
	var err error
	if w.probe, err = unix.Open(w.path, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFD(w.probe) })
	one := NewSpace()
	for _, s := range []*Space{one, one, NewSpace()} {
		g := newGuest(t, s)
		w.handles = append(w.handles, open(t, g, w.path, unix.O_RDWR), open(t, g, w.path, unix.O_RDONLY))
	}
	return w
}

// reset frees all.
func (w *world) reset(t rapid.TB) {
	for _, h := range w.handles {
		h.guest.Reset()
	}
	if err := w.host.set(unlocked); err != nil {
		t.Fatal(err)
	}
	w.model, w.pids = map[actor]*table{}, map[actor]uint32{}
}

func (w *world) of(a actor) *table {
	if w.model[a] == nil {
		m := newTable()
		w.model[a] = &m
	}
	return w.model[a]
}

// conflict tells whether somebody else than a has what does not go with it.
func (w *world) conflict(a actor, from, to int, typ int16) bool {
	for other, m := range w.model {
		if other != a && m.conflicts(from, to, typ) {
			return true
		}
	}
	return false
}

// step does one random thing, here and in the model.
func (w *world) step(t *rapid.T) {
	h := rapid.SampledFrom(w.handles).Draw(t, "handle")
	a := actor{h.guest, rapid.Uint64Range(1, 3).Draw(t, "owner")}
	from, to, l := drawSpan(t)
	switch rapid.IntRange(0, 19).Draw(t, "what") {
	case 0:
		h.Flush(a.id)
		delete(w.model, a)
	case 1:
		h.guest.Reset()
		for id := uint64(1); id <= 3; id++ {
			delete(w.model, actor{h.guest, id})
		}
	case 2, 3, 4:
		w.get(t, h, a, from, to, l)
	case 5, 6, 7:
		w.set(t, actor{}, from, to, l, w.host.set(l), 0)
	default:
		if l.typ == unix.F_WRLCK && h.access == unix.O_RDONLY {
			if err := h.Set(a.id, Lock{l.start, l.end, l.typ, 0}); err != unix.EBADF {
				t.Fatalf("a write lock through a handle for reading: %v", err)
			}
			return
		}
		pid := rapid.Uint32Range(1, 9).Draw(t, "pid")
		w.set(t, a, from, to, l, h.Set(a.id, Lock{l.start, l.end, l.typ, pid}), pid)
	}
}

func (w *world) set(t *rapid.T, a actor, from, to int, l span, got error, pid uint32) {
	var want error
	if w.conflict(a, from, to, l.typ) {
		want = unix.EAGAIN
	}
	if got != want {
		t.Fatalf("%v by %v: %v, want %v", l, a, got, want)
	}
	if got == nil {
		w.of(a).set(from, to, l.typ)
		w.pids[a] = pid
	}
}

// get asks who is in the way, and checks that somebody is who has just that.
func (w *world) get(t *rapid.T, h *Handle, a actor, from, to int, l span) {
	if l.typ == unix.F_UNLCK {
		l.typ = unix.F_WRLCK
	}
	got, err := h.Get(a.id, Lock{l.start, l.end, l.typ, 0})
	if err != nil {
		t.Fatalf("Get %v: %v", l, err)
	}
	conflict := w.conflict(a, from, to, l.typ)
	if conflict != (got.Type != unix.F_UNLCK) {
		t.Fatalf("Get %v: %v, but a conflict is %v", l, got, conflict)
	}
	if !conflict {
		return
	}
	if !got.span().conflicts(l) {
		t.Fatalf("Get %v: %v is not in the way", l, got)
	}
	for other, m := range w.model {
		if other == a || !m.has(got.span()) {
			continue
		}
		if got.Pid == 0 && other.guest != h.guest || got.Pid == w.pids[other] && other.guest == h.guest {
			return
		}
	}
	t.Fatalf("Get %v: nobody has %v", l, got)
}

// has tells whether l is a whole lock of the owner.
func (m *table) has(l span) bool {
	for i, typ := range m {
		inside := l.start <= first(i) && last(i) <= l.end
		beside := last(i) == l.start-1 || first(i)-1 == l.end
		if inside && typ != l.typ || beside && typ == l.typ {
			return false
		}
	}
	return true
}

// check holds the host's kernel, asked from outside, against the model, point by point.
func (w *world) check(t *rapid.T) {
	for i := range points {
		for _, typ := range []int16{unix.F_RDLCK, unix.F_WRLCK} {
			got, err := getLock(w.probe, span{first(i), last(i), typ})
			if err != nil {
				t.Fatal(err)
			}
			if taken := got.typ != unix.F_UNLCK; taken != w.conflict(actor{nil, 1}, i, i, typ) {
				t.Fatalf("offset %d: the host says %v to type %d", first(i), got, typ)
			}
		}
	}
	for _, h := range w.handles[0:len(w.handles):len(w.handles)] {
		s := h.guest.space
		s.mu.Lock()
		if f := s.files[h.key]; f != nil {
			for id, o := range f.owners {
				checkSpans(t, o.held, *w.of(actor{id.guest, id.id}))
			}
		}
		s.mu.Unlock()
	}
}

// TestModel has owners of three guests in two processes' worth of spaces, and a process of the
// host, lock and unlock at random, and compares each answer and the state with a model.
func TestModel(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(t *rapid.T) {
		w.reset(t)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			w.step(t)
		}
		w.check(t)
	})
}

func (a actor) String() string { return fmt.Sprintf("owner %d of guest %p", a.id, a.guest) }
