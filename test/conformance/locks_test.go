// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"math"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/locks"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// lockConfig is a share whose locks are the host's.
func lockConfig(dir string, space *locks.Space) hostfs.Config {
	return hostfs.Config{Root: dir, PosixLocks: true, Flock: true, Locks: space}
}

// newLockGuest boots a guest whose locks are the host's, on a directory that others may have, too.
func newLockGuest(t testing.TB, dir string, space *locks.Space, o frontend.Options) *guest {
	t.Helper()
	fs := shareFS(t, lockConfig(dir, space))
	t.Cleanup(func() {
		if err := fs.Close(); err != nil {
			t.Errorf("close of the file system: %v", err)
		}
	})
	g := attach(t, fs, o)
	g.dir = dir
	return g
}

// openRW looks a file up and opens it.
func (g *guest) openRW(name string) (node, fh uint64) {
	g.t.Helper()
	node = g.lookup(root, name)
	out, errno := g.Open(node, unix.O_RDWR)
	ok(g.t, "OPEN", errno)
	return node, out.Fh
}

// lock is a lock request by an owner, of bytes from a to b.
func lock(fh, owner uint64, typ uint32, a, b uint64) frontend.Lock {
	return frontend.Lock{Fh: fh, Owner: owner, Lock: fuse.FileLock{Start: a, End: b, Typ: typ, Pid: uint32(owner)}}
}

// wholeFile is an flock request.
func wholeFile(fh uint64, typ uint32) frontend.Lock {
	l := lock(fh, 1, typ, 0, math.MaxInt64)
	l.Flock = true
	return l
}

// sendWait starts a SETLKW; it has been tried when sendWait returns.
func (g *guest) sendWait(c *frontend.Client, node uint64, l frontend.Lock) *frontend.Pending {
	g.t.Helper()
	p := c.Send(frontend.LockMessage(frontend.OpSetlkw, node, l))
	_, errno := c.GetAttr(root) // behind it in the ring
	ok(g.t, "GETATTR", errno)
	return p
}

// answer waits for the reply of a request.
func answer(t testing.TB, what string, p *frontend.Pending, wanted syscall.Errno) {
	t.Helper()
	_, errno, err := p.Reply()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	want(t, what, errno, wanted)
	p.Free()
}

// inOneSpaceAndTwo runs a test with two guests in one process, and as in two.
func inOneSpaceAndTwo(t *testing.T, test func(t *testing.T, a, b *guest)) {
	for name, one := range map[string]bool{"one space": true, "two spaces": false} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			dir, sa := t.TempDir(), locks.NewSpace()
			sb := sa
			if !one {
				sb = locks.NewSpace()
			}
			write(t, dir+"/f", "data")
			test(t, newLockGuest(t, dir, sa, frontend.Options{Queues: 2}), newLockGuest(t, dir, sb, frontend.Options{Queues: 2}))
		})
	}
}

// INIT has the flags of the locks that are asked for, and only these.
func TestLockFlags(t *testing.T) {
	for _, c := range []hostfs.Config{{}, {PosixLocks: true}, {Flock: true}, {PosixLocks: true, Flock: true}} {
		c.Root = t.TempDir()
		fs := shareFS(t, c)
		defer fs.Close()
		write(t, c.Root+"/f", "")
		g := attach(t, fs, frontend.Options{})
		out, errno := g.Init()
		ok(t, "INIT", errno)
		flags := out.Flags64()
		if got := flags&fuse.CAP_POSIX_LOCKS != 0; got != c.PosixLocks {
			t.Errorf("FUSE_POSIX_LOCKS is %v with %+v", got, c)
		}
		if got := flags&fuse.CAP_FLOCK_LOCKS != 0; got != c.Flock {
			t.Errorf("FUSE_FLOCK_LOCKS is %v with %+v", got, c)
		}
		no := map[bool]syscall.Errno{false: syscall.ENOSYS}
		node, fh := g.openRW("f")
		want(t, "SETLK", g.SetLk(node, lock(fh, 1, unix.F_RDLCK, 0, 0)), no[c.PosixLocks])
		want(t, "SETLKW", g.SetLkw(node, lock(fh, 1, unix.F_WRLCK, 0, 0)), no[c.PosixLocks])
		want(t, "SETLK of flock", g.SetLk(node, wholeFile(fh, unix.F_WRLCK)), no[c.Flock])
		g.powerOff()
	}
}

// Locks hold between guests and the host, and GETLK tells who has them.
func TestLocksBetweenGuests(t *testing.T) {
	inOneSpaceAndTwo(t, func(t *testing.T, a, b *guest) {
		an, af := a.openRW("f")
		bn, bf := b.openRW("f")
		ok(t, "SETLK", a.SetLk(an, lock(af, 7, unix.F_WRLCK, 10, 19)))
		want(t, "another owner", a.SetLk(an, lock(af, 8, unix.F_RDLCK, 19, 30)), syscall.EAGAIN)
		want(t, "another guest", b.SetLk(bn, lock(bf, 7, unix.F_RDLCK, 0, 10)), syscall.EAGAIN)
		ok(t, "beside it", b.SetLk(bn, lock(bf, 7, unix.F_WRLCK, 20, math.MaxInt64)))
		checkGetLk(t, "own", a, an, lock(af, 7, unix.F_WRLCK, 0, 19), fuse.FileLock{Typ: unix.F_UNLCK})
		checkGetLk(t, "another owner's", a, an, lock(af, 8, unix.F_WRLCK, 0, 12), fuse.FileLock{Start: 10, End: 19, Typ: unix.F_WRLCK, Pid: 7})
		checkGetLk(t, "another guest's", a, an, lock(af, 7, unix.F_WRLCK, 25, 26), fuse.FileLock{Start: 20, End: math.MaxInt64, Typ: unix.F_WRLCK})

		host, err := unix.Open(a.path("f"), unix.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(host)
		l := unix.Flock_t{Type: unix.F_WRLCK, Start: 5, Len: 6}
		if err := unix.FcntlFlock(uintptr(host), unix.F_SETLK, &l); err != unix.EAGAIN {
			t.Errorf("a lock of the host's: %v", err)
		}
		l.Len = 5
		if err := unix.FcntlFlock(uintptr(host), unix.F_SETLK, &l); err != nil {
			t.Errorf("a lock of the host's beside the guest's: %v", err)
		}
		want(t, "beside the host's", a.SetLk(an, lock(af, 7, unix.F_WRLCK, 9, 10)), syscall.EAGAIN)
		ok(t, "FLUSH", a.Flush(an, af, 7))
		ok(t, "after FLUSH", b.SetLk(bn, lock(bf, 9, unix.F_WRLCK, 10, 19)))

		ok(t, "LOCK_SH", a.SetLk(an, wholeFile(af, unix.F_RDLCK)))
		ok(t, "LOCK_SH", b.SetLkw(bn, wholeFile(bf, unix.F_RDLCK)))
		want(t, "LOCK_EX beside LOCK_SH", b.SetLk(bn, wholeFile(bf, unix.F_WRLCK)), syscall.EAGAIN)
		if err := unix.Flock(host, unix.LOCK_EX|unix.LOCK_NB); err != unix.EAGAIN {
			t.Errorf("LOCK_EX of the host beside LOCK_SH: %v", err)
		}
		ok(t, "RELEASE", a.Release(an, af, unix.O_RDWR))
		ok(t, "LOCK_EX", b.SetLk(bn, wholeFile(bf, unix.F_WRLCK)))
	})
}

func checkGetLk(t testing.TB, what string, g *guest, node uint64, l frontend.Lock, wanted fuse.FileLock) {
	t.Helper()
	got, errno := g.GetLk(node, l)
	ok(t, "GETLK of "+what, errno)
	if got != wanted {
		t.Errorf("GETLK of %s: %+v, want %+v", what, got, wanted)
	}
}

// Requests that make no sense get an error.
func TestBadLocks(t *testing.T) {
	checkLeaks(t)
	dir := t.TempDir()
	write(t, dir+"/f", "")
	g := newLockGuest(t, dir, nil, frontend.Options{})
	node, fh := g.openRW("f")
	for name, l := range map[string]frontend.Lock{
		"type":          lock(fh, 1, 3, 0, 1),
		"big type":      lock(fh, 1, 1<<16, 0, 1),
		"end":           lock(fh, 1, unix.F_WRLCK, 0, 1<<63),
		"start":         lock(fh, 1, unix.F_WRLCK, 1<<63, 1<<63+1),
		"end and start": lock(fh, 1, unix.F_WRLCK, 2, 1),
	} {
		want(t, "SETLK with a bad "+name, g.SetLk(node, l), syscall.EINVAL)
		want(t, "SETLKW with a bad "+name, g.SetLkw(node, l), syscall.EINVAL)
		want(t, "GETLK with a bad "+name, second(g.GetLk(node, l)), syscall.EINVAL)
	}
	want(t, "SETLK of no handle", g.SetLk(node, lock(fh+1, 1, unix.F_WRLCK, 0, 1)), syscall.EBADF)
	want(t, "SETLK of another node", g.SetLk(root, lock(fh, 1, unix.F_WRLCK, 0, 1)), syscall.EBADF)
	out, errno := g.Open(node, unix.O_RDONLY)
	ok(t, "OPEN", errno)
	want(t, "a write lock on a file open for reading", g.SetLk(node, lock(out.Fh, 1, unix.F_WRLCK, 0, 1)), syscall.EBADF)
	ok(t, "a read lock", g.SetLk(node, lock(out.Fh, 1, unix.F_RDLCK, 0, 1)))
	out, errno = g.Open(node, unix.O_WRONLY)
	ok(t, "OPEN", errno)
	want(t, "a read lock on a file open for writing", g.SetLk(node, lock(out.Fh, 1, unix.F_RDLCK, 0, 1)), syscall.EBADF)
	ok(t, "a write lock", g.SetLk(node, lock(out.Fh, 1, unix.F_WRLCK, 0, 1)))
	dirOut, errno := g.OpenDir(root)
	ok(t, "OPENDIR", errno)
	want(t, "a directory", g.SetLk(root, lock(dirOut.Fh, 1, unix.F_RDLCK, 0, 1)), syscall.EISDIR)
	g.alive()
}

// What a guest has goes with it, at once, also when others wait for it.
func TestLocksGoWithTheGuest(t *testing.T) {
	ends := map[string]func(g *guest){
		"reset":     func(g *guest) { g.vm.Reset(); g.boot() },
		"INIT":      func(g *guest) { g.MustInit() },
		"power off": (*guest).powerOff,
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			inOneSpaceAndTwo(t, func(t *testing.T, a, b *guest) {
				an, af := a.openRW("f")
				bn, bf := b.openRW("f")
				ok(t, "SETLK", a.SetLk(an, lock(af, 1, unix.F_WRLCK, 0, 9)))
				ok(t, "LOCK_EX", a.SetLk(an, wholeFile(af, unix.F_WRLCK)))
				bytes := b.sendWait(b.Client, bn, lock(bf, 1, unix.F_WRLCK, 9, 10))
				file := b.sendWait(b.Client, bn, wholeFile(bf, unix.F_RDLCK))
				if bytes.Done() || file.Done() {
					t.Error("SETLKW did not wait")
				}
				end(a)
				answer(t, "SETLKW of the other guest", bytes, 0)
				answer(t, "SETLKW of the other guest, flock", file, 0)
			})
		})
	}
}

// Requests that wait for a lock take no worker, and leave room in the ring: others are served, also
// the one that ends their waiting. Beyond the bound there are no more.
func TestManyWait(t *testing.T) {
	tests := map[string]struct {
		o     frontend.Options
		waits int
	}{
		"indirect": {frontend.Options{RingSize: 512}, 256},
		"direct":   {frontend.Options{RingSize: 256, Direct: true}, 256 / 2 / 3}, // header, arguments, reply
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			dir := t.TempDir()
			write(t, dir+"/f", "data")
			g := newLockGuest(t, dir, nil, tt.o)
			node, fh := g.openRW("f")
			ok(t, "SETLK", g.SetLk(node, lock(fh, 0, unix.F_WRLCK, 0, 9)))
			var pending []*frontend.Pending
			for i := range tt.waits {
				pending = append(pending, g.sendWait(g.Client, node, lock(fh, uint64(i+1), unix.F_RDLCK, 0, 9)))
			}
			for i, p := range pending {
				if p.Done() {
					t.Fatalf("SETLKW %d did not wait", i)
				}
			}
			want(t, "SETLKW beyond the bound", g.SetLkw(node, lock(fh, 9999, unix.F_RDLCK, 0, 9)), syscall.ENOLCK)
			ok(t, "FSYNC, which needs a worker", g.Fsync(node, fh, false))
			g.alive()
			ok(t, "unlock", g.SetLk(node, lock(fh, 0, unix.F_UNLCK, 0, 9)))
			for _, p := range pending {
				answer(t, "SETLKW", p, 0)
			}
			ok(t, "SETLKW, now that there is room again", g.SetLkw(node, lock(fh, 9999, unix.F_RDLCK, 0, 9)))
		})
	}
}

// INTERRUPT ends one that waits, and no other.
func TestInterruptedLock(t *testing.T) {
	checkLeaks(t)
	dir := t.TempDir()
	write(t, dir+"/f", "data")
	g := newLockGuest(t, dir, nil, frontend.Options{})
	node, fh := g.openRW("f")
	ok(t, "SETLK", g.SetLk(node, lock(fh, 1, unix.F_WRLCK, 0, 9)))
	ok(t, "LOCK_EX", g.SetLk(node, wholeFile(fh, unix.F_WRLCK)))
	out, errno := g.Open(node, unix.O_RDWR)
	ok(t, "OPEN", errno)
	for _, l := range []frontend.Lock{lock(fh, 2, unix.F_WRLCK, 5, 5), wholeFile(out.Fh, unix.F_WRLCK)} {
		first, second := g.sendWait(g.Client, node, l), g.sendWait(g.Client, node, l)
		g.Interrupt(first.Unique())
		answer(t, "the interrupted SETLKW", first, syscall.EINTR)
		if second.Done() {
			t.Error("the other SETLKW has ended, too")
		}
		g.Interrupt(second.Unique())
		answer(t, "the other SETLKW", second, syscall.EINTR)
	}
}

// A pause of the VM, its reset and its end do not wait for locks.
func TestStopWithWaiters(t *testing.T) {
	inOneSpaceAndTwo(t, func(t *testing.T, a, b *guest) {
		an, af := a.openRW("f")
		bn, bf := b.openRW("f")
		ok(t, "SETLK", a.SetLk(an, lock(af, 1, unix.F_WRLCK, 0, 9)))
		p := b.sendWait(b.Client, bn, lock(bf, 1, unix.F_WRLCK, 9, 10))
		q := b.sendWait(b.On(1), bn, lock(bf, 2, unix.F_WRLCK, 9, 10))
		b.vm.Stop()
		b.vm.Cont()
		for _, p := range []*frontend.Pending{p, q} {
			answer(t, "SETLKW over a pause", p, syscall.ENOLCK)
		}
		b.alive()
		b.sendWait(b.Client, bn, lock(bf, 3, unix.F_WRLCK, 9, 10))
		b.vm.Reset()
		b.boot()
		b.alive()
		bn, bf = b.openRW("f")
		b.sendWait(b.Client, bn, lock(bf, 4, unix.F_WRLCK, 9, 10))
		b.powerOff()
		ok(t, "unlock", a.SetLk(an, lock(af, 1, unix.F_UNLCK, 0, 9)))
		ok(t, "nobody of the dead has it", a.SetLk(an, lock(af, 1, unix.F_WRLCK, 0, 99)))
	})
}
