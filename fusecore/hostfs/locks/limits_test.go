// SPDX-License-Identifier: Apache-2.0

package locks

import (
	"math"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNewLock(t *testing.T) {
	tests := []struct {
		start, end uint64
		typ        uint32
		err        error
	}{
		{0, 0, unix.F_RDLCK, nil},
		{0, math.MaxInt64, unix.F_WRLCK, nil},
		{math.MaxInt64, math.MaxInt64, unix.F_UNLCK, nil},
		{1, 0, unix.F_RDLCK, unix.EINVAL},
		{0, math.MaxInt64 + 1, unix.F_RDLCK, unix.EINVAL},
		{math.MaxUint64, math.MaxUint64, unix.F_RDLCK, unix.EINVAL},
		{0, 0, 3, unix.EINVAL},
		{0, 0, 1 << 16, unix.EINVAL},
		{0, 0, math.MaxUint32, unix.EINVAL},
	}
	for _, tt := range tests {
		l, err := NewLock(tt.start, tt.end, tt.typ, 7)
		if err != tt.err || err == nil && l != (Lock{int64(tt.start), int64(tt.end), int16(tt.typ), 7}) {
			t.Errorf("%+v: %+v, %v", tt, l, err)
		}
	}
}

// TestMaxOwners: an owner that holds nothing gives way to another one; one that holds something
// does not, nor does one that waits.
func TestMaxOwners(t *testing.T) {
	s := quietSpace()
	g := s.NewGuest(Options{MaxOwners: 3, MaxRanges: 100, Reopen: reopen})
	other := newGuest(t, s)
	path := newFile(t)
	h, theirs := open(t, g, path, unix.O_RDWR), open(t, other, path, unix.O_RDWR)
	fds := openFDs(t)
	must(t, "the first", h.Set(1, part(unix.F_WRLCK, 1, 1)))
	for id := uint64(100); id < 200; id++ {
		must(t, "one of many", h.Set(id, part(unix.F_WRLCK, 2, 2)))
		must(t, "unlock", h.Set(id, part(unix.F_UNLCK, 0, 9)))
	}
	if n := openFDs(t); n != fds+3 {
		t.Errorf("%d fds more with 3 owners", n-fds)
	}
	must(t, "the second", h.Set(2, part(unix.F_WRLCK, 2, 2)))
	must(t, "another guest's", theirs.Set(1, part(unix.F_WRLCK, 3, 3)))
	_, got := waiting(t, h, ranges(h, 3, part(unix.F_WRLCK, 3, 3)))
	want(t, "one more", h.Set(4, part(unix.F_RDLCK, 9, 9)), unix.ENOLCK)
	want(t, "one more that would wait", h.Wait(nil, 4, part(unix.F_RDLCK, 9, 9)), unix.ENOLCK)
	if _, err := h.Get(4, writeAll); err != nil {
		t.Errorf("Get: %v", err)
	}
	must(t, "unlock of one that is not there", h.Set(4, freeAll))
	want(t, "the first still has its lock", theirs.Set(2, part(unix.F_RDLCK, 1, 1)), unix.EAGAIN)
	must(t, "unlock", theirs.Set(1, freeAll))
	come(t, "the third", got, nil)
	h.Flush(1)
	must(t, "one more after a FLUSH", h.Set(4, part(unix.F_RDLCK, 9, 9)))
	h.Drop()
	if n := openFDs(t); n != fds+2 { // the other guest's
		t.Errorf("%d fds more after RELEASE", n-fds)
	}
}

func openFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestMaxRanges: neither locking nor unlocking makes more ranges than allowed, and what is there
// can always be given up.
func TestMaxRanges(t *testing.T) {
	g := NewSpace().NewGuest(Options{MaxOwners: 10, MaxRanges: 10, Reopen: reopen})
	h := open(t, g, newFile(t), unix.O_RDWR)
	for i := range int64(10) {
		must(t, "a range", h.Set(1, part(unix.F_WRLCK, 10*i, 10*i+5)))
	}
	want(t, "one more", h.Set(1, part(unix.F_WRLCK, 8, 8)), unix.ENOLCK)
	want(t, "one more of another owner", h.Set(2, part(unix.F_RDLCK, 8, 8)), unix.ENOLCK)
	want(t, "a hole", h.Set(1, part(unix.F_UNLCK, 2, 3)), unix.ENOLCK)
	want(t, "a change inside", h.Set(1, part(unix.F_RDLCK, 2, 3)), unix.ENOLCK)
	must(t, "two become one", h.Set(1, part(unix.F_WRLCK, 6, 9)))
	must(t, "one more", h.Set(1, part(unix.F_WRLCK, 1000, 1001)))
	must(t, "unlock", h.Set(1, freeAll))
	must(t, "a hole, with room", h.Set(2, writeAll))
	must(t, "a hole, with room", h.Set(2, part(unix.F_UNLCK, 2, 3)))
	if g.ranges != 2 {
		t.Errorf("%d ranges are counted, not 2", g.ranges)
	}
}

// TestAccess: an owner may come through handles that are open for reading, for writing and for both;
// what it has stays while its description is changed for one that is open for more.
func TestAccess(t *testing.T) {
	s, path := NewSpace(), newFile(t)
	g := newGuest(t, s)
	r, w, rw := open(t, g, path, unix.O_RDONLY), open(t, g, path, unix.O_WRONLY), open(t, g, path, unix.O_RDWR)
	other := open(t, newGuest(t, s), path, unix.O_RDWR)
	want(t, "a write lock through one for reading", r.Set(1, writeAll), unix.EBADF)
	want(t, "a read lock through one for writing", w.Set(1, readAll), unix.EBADF)
	want(t, "waiting for it", w.Wait(nil, 1, readAll), unix.EBADF)

	must(t, "a read lock", r.Set(1, part(unix.F_RDLCK, 0, 1)))
	must(t, "a read lock", r.Set(1, part(unix.F_RDLCK, 5, 6)))
	if o := g.find(r.key, ownerID{g, posix, 1}); o.access != unix.O_RDONLY {
		t.Error("a file is opened for writing that is only read")
	} else {
		g.leave(o, false)
	}
	must(t, "a write lock through another handle", w.Set(1, part(unix.F_WRLCK, 6, 9)))
	for i, errno := range []error{unix.EAGAIN, unix.EAGAIN, nil, nil, nil, unix.EAGAIN, unix.EAGAIN, unix.EAGAIN, unix.EAGAIN, unix.EAGAIN, nil} {
		want(t, "another guest", other.Set(1, part(unix.F_WRLCK, int64(i), int64(i))), errno)
	}
	must(t, "unlock", other.Set(1, freeAll))
	must(t, "all, through the third", rw.Set(1, writeAll))
	want(t, "another owner", rw.Set(2, part(unix.F_RDLCK, 100, 100)), unix.EAGAIN)
	r.Flush(1)
	must(t, "after FLUSH through any", other.Set(1, writeAll))
}

// TestCannotReopen: a file that cannot be opened any more cannot be locked, and what one has stays.
func TestCannotReopen(t *testing.T) {
	allowed := 1
	g := NewSpace().NewGuest(Options{MaxOwners: 10, MaxRanges: 10, Reopen: func(fd, access int) (int, error) {
		if allowed--; allowed < 0 {
			return -1, unix.EACCES
		}
		return reopen(fd, access)
	}})
	path := newFile(t)
	r, rw := open(t, g, path, unix.O_RDONLY), open(t, g, path, unix.O_RDWR)
	must(t, "a read lock", r.Set(1, part(unix.F_RDLCK, 0, 0)))
	want(t, "a write lock of the same owner", rw.Set(1, part(unix.F_WRLCK, 5, 5)), unix.ENOLCK)
	want(t, "a lock of another", rw.Set(2, part(unix.F_RDLCK, 5, 5)), unix.ENOLCK)
	other := open(t, newGuest(t, NewSpace()), path, unix.O_RDWR)
	want(t, "the first still holds", other.Set(1, part(unix.F_WRLCK, 0, 0)), unix.EAGAIN)
	must(t, "nothing else", other.Set(1, part(unix.F_WRLCK, 1, 9)))
}

// TestOpenFileOwner: the locks of an open file, which no FLUSH names, go when it is released, and
// those of a process that has used several do not go with one of them.
func TestOpenFileOwner(t *testing.T) {
	s, path := NewSpace(), newFile(t)
	g := newGuest(t, s)
	a, b := open(t, g, path, unix.O_RDWR), open(t, g, path, unix.O_RDWR)
	other := open(t, newGuest(t, s), path, unix.O_RDWR)
	const file, process = 1, 2
	must(t, "an open file's lock", a.Set(file, part(unix.F_WRLCK, 0, 0)))
	must(t, "a process's lock", a.Set(process, part(unix.F_WRLCK, 1, 1)))
	a.Flush(process)
	must(t, "after it has closed one", b.Set(process, part(unix.F_WRLCK, 2, 2)))
	want(t, "the open file's", other.Set(1, part(unix.F_RDLCK, 0, 0)), unix.EAGAIN)
	a.Drop()
	must(t, "the open file's, after RELEASE", other.Set(1, part(unix.F_RDLCK, 0, 0)))
	must(t, "the process's old one", other.Set(1, part(unix.F_RDLCK, 1, 1)))
	want(t, "the process's new one", other.Set(1, part(unix.F_RDLCK, 2, 2)), unix.EAGAIN)
}

// TestNoAllocation: to lock and unlock costs no garbage.
func TestNoAllocation(t *testing.T) {
	g := newGuest(t, NewSpace())
	h := open(t, g, newFile(t), unix.O_RDWR)
	l, u := part(unix.F_WRLCK, 3, 4), part(unix.F_UNLCK, 3, 4)
	n := testing.AllocsPerRun(200, func() {
		if h.Set(1, l) != nil || h.Set(1, u) != nil || h.SetFlock(unix.F_RDLCK) != nil || h.SetFlock(unix.F_UNLCK) != nil {
			t.Error("a lock failed")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSet(b *testing.B) {
	g := newGuest(b, NewSpace())
	h := open(b, g, newFile(b), unix.O_RDWR)
	l, u := part(unix.F_WRLCK, 3, 4), part(unix.F_UNLCK, 3, 4)
	b.ReportAllocs()
	for b.Loop() {
		must(b, "lock", h.Set(1, l))
		must(b, "unlock", h.Set(1, u))
	}
}

// BenchmarkHandOver is a lock that two owners hand to each other.
func BenchmarkHandOver(b *testing.B) {
	g := newGuest(b, quietSpace())
	h := open(b, g, newFile(b), unix.O_RDWR)
	done := make(chan error)
	turn := func(id uint64) {
		var err error
		for range b.N {
			if err = h.Wait(nil, id, writeAll); err == nil {
				err = h.Set(id, freeAll)
			}
			if err != nil {
				break
			}
		}
		done <- err
	}
	go turn(1)
	go turn(2)
	for range 2 {
		must(b, "hand over", <-done)
	}
}
