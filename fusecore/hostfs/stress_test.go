// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// client is one guest process in a directory of its own. model is what it should find there.
type client struct {
	*share
	rnd   *rand.Rand
	dir   uint64
	model map[string]*clientFile
	count int
}

type clientFile struct {
	node, lookups uint64
	data          string
}

// TestStress lets clients work at the same time with hardly any fds; each must find exactly what
// it made. Another one lists their directories all the while.
func TestStress(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, pages := range []int64{0, 1, 64} {
		t.Run(fmt.Sprint(pages, " pages"), func(t *testing.T) {
			bothWays(t, func(t *testing.T, c Config) {
				c.Pages, c.Cache = newPages(t, pages), CacheAlways
				stress(t, c, seed)
			})
		})
	}
}

func stress(t *testing.T, c Config, seed uint64) {
	const clients, steps = 6, 300
	c.FDBudget = 10
	s := newShare(t, c)
	dirs := make([]uint64, clients)
	for i := range dirs {
		dirs[i] = s.mkdir(1, fmt.Sprint("dir", i))
	}
	done := make(chan struct{})
	var workers, lister sync.WaitGroup
	for i, dir := range dirs {
		cl := &client{share: s, rnd: rand.New(rand.NewPCG(seed, uint64(i))), dir: dir, model: map[string]*clientFile{}}
		workers.Go(func() {
			for range steps {
				cl.step()
			}
			cl.finish()
		})
	}
	lister.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
				s.listAndForget(dirs[n%clients])
			}
		}
	})
	workers.Wait()
	close(done)
	lister.Wait()
	if got := s.nodes.Len(); got != 1+clients {
		t.Errorf("%d nodes are left", got-1-clients)
	}
}

func (s *share) listAndForget(dir uint64) {
	var open fuse.OpenOut
	if st := s.OpenDir(nil, &fuse.OpenIn{InHeader: header(dir)}, &open); !st.Ok() {
		s.t.Errorf("opendir: %v", st)
		return
	}
	list := fuse.NewDirEntryList(make([]byte, 8192), 0)
	in := &fuse.ReadIn{InHeader: header(dir), Fh: open.Fh, Size: 8192}
	if st := s.ReadDirPlus(nil, in, list); !st.Ok() {
		s.t.Errorf("readdirplus: %v", st)
	}
	_, outs, err := fuse.ParseDirLookupEntries(list.Bytes())
	if err != nil {
		s.t.Error(err)
	}
	for _, o := range outs {
		s.Forget(o.NodeId, 1)
	}
	s.ReleaseDir(&fuse.ReleaseIn{InHeader: header(dir), Fh: open.Fh})
}

func (c *client) step() {
	name := fmt.Sprint("f", c.rnd.IntN(30))
	f := c.model[name]
	switch op := c.rnd.IntN(6); {
	case f == nil:
		c.create(name)
	case op == 0:
		h := header(c.dir)
		c.check("unlink", c.Unlink(nil, &h, name))
		c.read(f) // the node is still known
		c.Forget(f.node, f.lookups)
		delete(c.model, name)
	case op == 1:
		c.rename(name)
	case op == 2:
		var e fuse.EntryOut
		h := header(c.dir)
		c.check("lookup", c.Lookup(nil, &h, name, &e))
		if f.lookups++; e.NodeId != f.node {
			c.t.Errorf("%s is node %d, was %d", name, e.NodeId, f.node)
		}
	default:
		c.read(f)
	}
}

func (c *client) check(what string, st fuse.Status) {
	if !st.Ok() {
		c.t.Errorf("%s: %v", what, st)
	}
}

func (c *client) create(name string) {
	var out fuse.CreateOut
	in := &fuse.CreateIn{InHeader: header(c.dir), Flags: unix.O_RDWR | unix.O_EXCL, Mode: 0o600}
	c.check("create", c.Create(nil, in, name, &out))
	c.count++
	f := &clientFile{node: out.NodeId, lookups: 1, data: fmt.Sprint(c.dir, " ", c.count)}
	_, st := c.Write(nil, &fuse.WriteIn{InHeader: header(f.node), Fh: out.Fh}, []byte(f.data))
	c.check("write", st)
	c.Release(nil, &fuse.ReleaseIn{InHeader: header(f.node), Fh: out.Fh})
	c.model[name] = f
}

// read opens and reads a file, which may be unlinked and known by its node only.
func (c *client) read(f *clientFile) {
	var open fuse.OpenOut
	st := c.Open(nil, &fuse.OpenIn{InHeader: header(f.node)}, &open)
	if st == fuse.Status(unix.ESTALE) && c.gone(f) {
		return
	}
	c.check("open", st)
	buf := make([]byte, 100)
	n, st := c.Readv(nil, &fuse.ReadIn{InHeader: header(f.node), Fh: open.Fh, Size: 100}, [][]byte{buf})
	if c.check("read", st); string(buf[:n]) != f.data {
		c.t.Errorf("node %d reads %q, want %q", f.node, buf[:n], f.data)
	}
	c.Release(nil, &fuse.ReleaseIn{InHeader: header(f.node), Fh: open.Fh})
}

// gone allows for a file that was removed while only its handle was left to know it by.
func (c *client) gone(f *clientFile) bool {
	if !c.host.handles {
		return false
	}
	for name, other := range c.model {
		if other == f {
			h := header(c.dir)
			var e fuse.EntryOut
			return c.Lookup(nil, &h, name, &e).Ok() && e.NodeId == 0
		}
	}
	return true
}

func (c *client) rename(name string) {
	to := fmt.Sprint("f", c.rnd.IntN(30))
	if to == name {
		return
	}
	c.check("rename", c.Rename(nil, &fuse.RenameIn{InHeader: header(c.dir), Newdir: c.dir}, name, to))
	if old := c.model[to]; old != nil {
		c.Forget(old.node, old.lookups)
	}
	c.model[to] = c.model[name]
	delete(c.model, name)
}

func (c *client) finish() {
	for name, f := range c.model {
		c.read(f)
		h := header(c.dir)
		c.check("unlink "+name, c.Unlink(nil, &h, name))
		c.Forget(f.node, f.lookups)
	}
}

// TestHandlesAtOnce opens, uses and closes from many goroutines; no handle serves another's file.
func TestHandlesAtOnce(t *testing.T) {
	s := newShare(t, Config{MaxHandles: 20})
	s.put("f", "x")
	node := s.nodeOf("f")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 300 {
				var out fuse.OpenOut
				if st := s.Open(nil, &fuse.OpenIn{InHeader: header(node)}, &out); !st.Ok() {
					t.Errorf("open: %v", st)
					return
				}
				var closers sync.WaitGroup
				for range 2 { // a guest that closes twice at the same time
					closers.Go(func() { s.Release(nil, &fuse.ReleaseIn{InHeader: header(node), Fh: out.Fh}) })
				}
				n, st := s.Readv(nil, &fuse.ReadIn{InHeader: header(node), Fh: out.Fh, Size: 1}, [][]byte{make([]byte, 1)})
				if st != fuse.EBADF && (n != 1 || !st.Ok()) {
					t.Errorf("read %d, %v", n, st)
				}
				closers.Wait()
			}
		})
	}
	wg.Wait()
	if s.open.used != 0 {
		t.Errorf("%d handles are left", s.open.used)
	}
}

// TestOutOfFDs: a process without free fds gives cached ones up and goes on.
func TestOutOfFDs(t *testing.T) {
	bothWays(t, func(t *testing.T, c Config) {
		c.FDBudget = 1 << 20
		s := newShare(t, c)
		var was unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			s.put(fmt.Sprint(i), "x")
		}
		limit := unix.Rlimit{Cur: uint64(fdCount(t) + 100), Max: was.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
				t.Error(err)
			}
		}()
		for i := range 300 {
			name := fmt.Sprint(i)
			node := s.nodeOf(name)
			if got := s.readAll(node); got != "x" {
				t.Errorf("%s reads %q", name, got)
			}
			s.createFile("new"+name, unix.O_RDWR|unix.O_EXCL)
			if i >= 40 {
				break
			}
		}
		// Now open files hold what there is, and that the guest is told.
		var st fuse.Status
		for st.Ok() {
			st = s.Open(nil, &fuse.OpenIn{InHeader: header(s.nodeOf("1"))}, &fuse.OpenOut{})
		}
		want(t, "open", st, unix.EMFILE)
		s.open.closeAll()
		for i := range 300 {
			s.nodeOf(fmt.Sprint(i))
		}
	})
}

// TestFlushOutOfFDs: a guest's close(2) does not fail for want of fds.
func TestFlushOutOfFDs(t *testing.T) {
	s := newShare(t, Config{})
	s.put("known", "x")
	s.nodeOf("known")
	f := s.createFile("f", unix.O_RDWR)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(fdCount(t) + 10), Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}()
	for {
		fd, err := unix.Dup(2)
		if err == unix.EMFILE {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	s.ok("flush", s.Flush(nil, &fuse.FlushIn{InHeader: header(f.NodeId), Fh: f.Fh}))
}

// TestMountsBelow: mounts below the share are crossed, and their files come back after eviction.
func TestMountsBelow(t *testing.T) {
	s := newShare(t, Config{Root: "/", ReadOnly: true, FDBudget: 1})
	proc := s.nodeOf("proc")
	e := s.lookupAt(proc, "version")
	root, _ := s.attrOf(1)
	if e.Mode&unix.S_IFMT != unix.S_IFREG || e.Ino == root.Ino {
		t.Errorf("/proc/version: %+v", e)
	}
	for range 4 {
		s.nodes.Relieve(10)
	}
	if n := s.nodes.FDs(); n != 0 {
		t.Fatalf("%d fds are left", n)
	}
	if got := s.readAll(e.NodeId); len(got) == 0 {
		t.Error("/proc/version is empty")
	}
}
