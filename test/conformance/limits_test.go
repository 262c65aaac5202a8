// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/locks"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// neighbours are two guests, each with a share of its own of one process, which have in common what
// the shares of a daemon do.
type neighbours struct {
	bad, good *guest
	told      sync.Map // limits that bad was said to have come to: *atomic.Int64
}

// newNeighbours boots the two. Both have the limits of c.
func newNeighbours(t *testing.T, c hostfs.Config, o frontend.Options) *neighbours {
	t.Helper()
	checkLeaks(t)
	pages, err := cache.New(cache.Options{Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pages.Close() })
	c.Pages, c.Locks = pages, locks.NewSpace()
	ns := &neighbours{}
	boot := func(tell func(string)) *guest {
		c := c
		c.Root, c.OnLimit = t.TempDir(), tell
		write(t, c.Root+"/f", "data")
		fs, err := hostfs.New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { fs.Close() })
		g := attach(t, fs, o)
		g.dir = c.Root
		return g
	}
	ns.bad = boot(func(limit string) {
		n, _ := ns.told.LoadOrStore(limit, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
	})
	ns.good = boot(func(limit string) { t.Errorf("the neighbour comes to a limit of %s", limit) })
	return ns
}

// toldOf is how often bad was said to have come to a limit.
func (ns *neighbours) toldOf(limit string) int64 {
	n, found := ns.told.Load(limit)
	if !found {
		return 0
	}
	return n.(*atomic.Int64).Load()
}

// served uses a bit of everything on the neighbour.
func (ns *neighbours) served(what string) {
	g := ns.good
	g.t.Helper()
	node, fh := g.create("new")
	_, errno := g.Write(node, fh, 0, []byte("bytes"))
	ok(g.t, "WRITE of the neighbour, "+what, errno)
	ok(g.t, "SETLK of the neighbour, "+what, g.SetLk(node, lock(fh, 1, unix.F_WRLCK, 0, 9)))
	ok(g.t, "RELEASE", g.Release(node, fh, 0))
	ok(g.t, "UNLINK of the neighbour, "+what, g.Unlink(root, "new"))
	g.Forget(node, 1)
}

// limitTest is how a guest comes to one of its limits. take takes the i-th of what is limited, and give
// gives it back.
type limitTest struct {
	config hostfs.Config
	most   int // how many there are
	errno  syscall.Errno
	told   string
	take   func(g *guest, i int) (give func(), errno syscall.Errno)
}

func takeOpen(flags uint32) func(g *guest, i int) (func(), syscall.Errno) {
	return func(g *guest, i int) (func(), syscall.Errno) {
		node := g.lookup(root, "f")
		out, errno := g.Open(node, flags)
		return func() { ok(g.t, "RELEASE", g.Release(node, out.Fh, 0)) }, errno
	}
}

// takeRemoved makes a file and removes it: only its fd keeps it.
func takeRemoved(g *guest, i int) (func(), syscall.Errno) {
	name := fmt.Sprint("removed", i)
	out, errno := g.Create(root, name, unix.O_RDWR, 0o600, 0)
	if errno == 0 {
		ok(g.t, "RELEASE", g.Release(out.NodeId, out.Fh, unix.O_RDWR))
		ok(g.t, "UNLINK", g.Unlink(root, name))
	}
	return func() { g.Forget(out.NodeId, 1) }, errno
}

func takeKnown(g *guest, i int) (func(), syscall.Errno) {
	name := fmt.Sprint("d", i)
	out, errno := g.Mkdir(root, name, 0o700, 0)
	return func() {
		ok(g.t, "RMDIR", g.Rmdir(root, name))
		g.Forget(out.NodeId, 1)
	}, errno
}

// takeLock takes a lock of another range, or by another owner.
func takeLock(owners bool) func(g *guest, i int) (func(), syscall.Errno) {
	var node, fh uint64
	return func(g *guest, i int) (func(), syscall.Errno) {
		if fh == 0 && node == 0 {
			node, fh = g.openRW("f")
		}
		l := lock(fh, 1, unix.F_RDLCK, uint64(2*i), uint64(2*i))
		if owners {
			l = lock(fh, uint64(i+1), unix.F_RDLCK, 0, 0)
		}
		free := l
		free.Lock.Typ = unix.F_UNLCK
		return func() { ok(g.t, "unlock", g.SetLk(node, free)) }, g.SetLk(node, l)
	}
}

// TestLimits: a guest takes as much as it gets of each thing that is limited. It gets the error that POSIX
// has for that, its neighbour in the same process notices nothing, and when it has given something back
// it gets as much again.
func TestLimits(t *testing.T) {
	const most = 12
	for name, tt := range map[string]limitTest{
		"open files":       {hostfs.Config{MaxHandles: most}, most, syscall.ENFILE, "open files", takeOpen(0)},
		"open with direct": {hostfs.Config{MaxHandles: most, AllowDirectIO: true}, most / 2, syscall.ENFILE, "open files", takeOpen(unix.O_DIRECT)},
		"removed files":    {hostfs.Config{MaxFDs: most, FDBudget: 8, Handles: hostfs.HandlesNever}, most, syscall.ENFILE, "known files", takeRemoved},
		"known files":      {hostfs.Config{MaxInodes: most}, most, syscall.ENFILE, "known files", takeKnown},
		"locked ranges":    {hostfs.Config{PosixLocks: true, MaxLocks: most}, most, syscall.ENOLCK, "file locks", takeLock(false)},
		"owners of locks":  {hostfs.Config{PosixLocks: true, MaxLockFDs: most}, most, syscall.ENOLCK, "file locks", takeLock(true)},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.config.PosixLocks = true; tt.config.MaxLockFDs == 0 {
				tt.config.MaxLockFDs = most // and none of MaxHandles
			}
			ns := newNeighbours(t, tt.config, frontend.Options{})
			var give []func()
			fill := func() {
				for i := range tt.most {
					back, errno := tt.take(ns.bad, i)
					ok(t, fmt.Sprintf("%d of %d", i+1, tt.most), errno)
					give = append(give, back)
				}
				for range 100 {
					_, errno := tt.take(ns.bad, tt.most)
					want(t, "one too many", errno, tt.errno)
				}
				ns.served("beside a guest at its limit")
			}
			fill()
			if n := ns.toldOf(tt.told); n != 100 {
				t.Errorf("told %d times of the limit of %s, want 100", n, tt.told)
			}
			for _, back := range give {
				back()
			}
			give = nil
			fill()
		})
	}
}
