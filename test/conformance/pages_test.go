// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/internal/fault"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

const (
	pagesFiles   = 3
	pagesClients = 3   // of each guest, each on a queue of its own
	pagesOps     = 180 // of each client
	pagesCells   = 160 // of a file, at first and mostly: 20 pages
)

// pagesWorld is two guests of one process and the host, which all change the same few files.
type pagesWorld struct {
	t      *testing.T
	seed   uint64
	dir    string
	clock  clock
	tags   atomic.Uint64
	files  [pagesFiles]*history
	guests []*pagesGuest
}

// pagesGuest is one of the guests.
type pagesGuest struct {
	*guest
	w      *pagesWorld
	mode   hostfs.CacheMode
	trust  time.Duration
	seen   [pagesFiles]atomic.Int64
	failed [pagesFiles]atomic.Bool // a WRITE: the file is marked
}

// pagesRound is one set of circumstances.
type pagesRound struct {
	pages   int64
	modes   [2]hostfs.CacheMode
	faults  bool // the second guest's host is a bad one
	foreign bool
	fds     int // that each guest's files may hold; 0: many
}

// badHost are rules by which the host fails, and takes its time.
var badHost = []string{
	"write p=0.06 error=EIO", "write p=0.06 seed=2 short=1536 error=ENOSPC", "write p=0.05 seed=3 short=512",
	"read p=0.03 seed=4 error=EIO", "read p=0.05 seed=5 short=2560", "truncate p=0.2 seed=6 error=EDQUOT",
	"fsync p=0.3 seed=7 error=EIO", "read,write p=0.05 seed=8 delay=1ms",
}

// TestPagesOfTwoGuests: two shares of one process on one directory, and a process of the host, change the
// same few files at random. No read brings a byte that the host did not hold meanwhile, or has refused;
// nothing is older than it may be, or than what the guest was shown; and after a failed write a new
// open lets the guest keep nothing. VIRTIOFSD_GO_FULL=1 does twenty times as much.
func TestPagesOfTwoGuests(t *testing.T) {
	times := 1
	if os.Getenv("VIRTIOFSD_GO_FULL") == "1" {
		times = 20
	}
	for range times {
		pagesRounds(t, uint64(time.Now().UnixNano()))
	}
}

// pagesRounds goes through all circumstances once.
func pagesRounds(t *testing.T, seed uint64) {
	auto, always, never, metadata := hostfs.CacheAuto, hostfs.CacheAlways, hostfs.CacheNever, hostfs.CacheMetadata
	for _, pages := range []int64{0, 16, 1 << 14} {
		for _, modes := range [][2]hostfs.CacheMode{{always, auto}, {always, always}, {auto, never}, {auto, metadata}} {
			for i := range 3 {
				r := pagesRound{pages: pages, modes: modes, faults: i == 1 || seed&1 != 0, foreign: i == 2, fds: i % 2}
				t.Run(fmt.Sprintf("%d pages, %s and %s, faults %v, foreign %v", pages, modes[0], modes[1], r.faults, r.foreign), func(t *testing.T) {
					seed++
					t.Logf("seed %d", seed)
					newPagesWorld(t, seed, r).run(r.foreign)
				})
			}
		}
	}
}

func newPagesWorld(t *testing.T, seed uint64, r pagesRound) *pagesWorld {
	t.Helper()
	w := &pagesWorld{t: t, seed: seed, dir: trustedDir(t)}
	w.tags.Store(seed & 0xffff << 16)
	for i := range w.files {
		w.files[i] = newHistory(&w.clock, w.tags.Add(1), pagesCells)
		write(t, w.path(i), string(w.files[i].changes[0].bytes()))
	}
	checkLeaks(t)
	pages, err := cache.New(cache.Options{Size: r.pages * cache.PageSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pages.Close(); err != nil {
			t.Error(err)
		}
	})
	for i, mode := range r.modes {
		c := hostfs.Config{Root: w.dir, Cache: mode, Pages: pages, FDBudget: r.fds}
		if r.faults && i == 1 {
			c.Faults = w.bad()
		}
		w.guests = append(w.guests, w.guest(c))
	}
	return w
}

// trustedDir is an empty directory where the page cache keeps pages.
func trustedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if cache.Trusted(int64(st.Type)) {
		return dir
	}
	dir, err := os.MkdirTemp("/dev/shm", "virtiofsd-go-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// bad is a host by the rules of badHost.
func (w *pagesWorld) bad() hostfs.Faults {
	var rules []fault.Rule
	for _, s := range badHost {
		r, err := fault.Parse(s)
		if err != nil {
			w.t.Fatal(err)
		}
		rules = append(rules, r)
	}
	j := fault.New(rules, zap.NewNop())
	w.t.Cleanup(j.Close)
	return j
}

func (w *pagesWorld) guest(c hostfs.Config) *pagesGuest {
	w.t.Helper()
	fs, err := hostfs.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := fs.Close(); err != nil {
			w.t.Error(err)
		}
	})
	g := &pagesGuest{w: w, mode: c.Cache, guest: attach(w.t, fs, frontend.Options{Queues: pagesClients})}
	if c.Cache == hostfs.CacheAuto || c.Cache == hostfs.CacheAlways {
		g.trust = time.Second
	}
	return g
}

func (w *pagesWorld) path(file int) string { return filepath.Join(w.dir, fmt.Sprint("file", file)) }

// run lets all loose, and then looks at what is left.
func (w *pagesWorld) run(foreign bool) {
	var guests, host sync.WaitGroup
	for i, g := range w.guests {
		for k := range pagesClients {
			guests.Go(func() { w.client(g, g.On(k), rand.New(rand.NewPCG(w.seed, uint64(i*pagesClients+k)))) })
		}
	}
	stop := make(chan struct{})
	if foreign {
		host.Go(func() { w.host(stop, rand.New(rand.NewPCG(w.seed, 99))) })
	}
	guests.Wait()
	close(stop)
	host.Wait()
	if w.t.Failed() {
		return
	}
	if foreign { // for that long nobody need have heard of it
		time.Sleep(time.Second + 10*time.Millisecond)
	}
	for _, g := range w.guests {
		g.atRest()
	}
}

// host changes the files as another process does.
func (w *pagesWorld) host(stop <-chan struct{}, r *rand.Rand) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(r.IntN(4000)) * time.Microsecond):
		}
		i := r.IntN(pagesFiles)
		f, err := os.OpenFile(w.path(i), os.O_RDWR, 0)
		if err != nil {
			w.t.Error(err)
			return
		}
		lo := r.Int64N(pagesCells)
		c := change{lo: lo, hi: lo + 1 + r.Int64N(20), tag: w.tags.Add(1)}
		if r.IntN(10) == 0 {
			c.hi, c.tag = math.MaxInt64, 0
		}
		w.files[i].foreign(c, func() bool {
			before := w.stamp(f)
			if c.tag == 0 {
				err = f.Truncate(lo * cellSize)
			} else {
				_, err = f.WriteAt(c.bytes(), lo*cellSize)
			}
			return w.stamp(f) != before
		})
		f.Close()
		if err != nil {
			w.t.Error(err)
			return
		}
	}
}

// stamp is what tells states of a file from each other.
func (w *pagesWorld) stamp(f *os.File) [4]int64 {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		w.t.Error(err)
	}
	return [4]int64{int64(st.Size), st.Mtime.Sec, int64(st.Mtime.Nsec), int64(st.Ctime.Nsec)}
}

// atRest holds what a guest reads through a new open against the host's file.
func (g *pagesGuest) atRest() {
	for i := range pagesFiles {
		node := g.lookup(root, filepath.Base(g.w.path(i)))
		out, errno := g.Open(node, unix.O_RDONLY)
		ok(g.t, "OPEN", errno)
		host := read(g.t, g.w.path(i))
		for off := 0; off <= len(host); off += 16 * cache.PageSize {
			buf := make([]byte, 16*cache.PageSize)
			n, errno := g.Read(node, out.Fh, uint64(off), buf)
			for errno == unix.EIO { // a fault
				n, errno = g.Read(node, out.Fh, uint64(off), buf)
			}
			ok(g.t, "READ", errno)
			if want := host[off:min(off+len(buf), len(host))]; string(buf[:n]) != want {
				g.t.Errorf("at rest %s reads other bytes at %d of file %d than the host has", g.mode, off, i)
			}
		}
		ok(g.t, "RELEASE", g.Release(node, out.Fh, unix.O_RDONLY))
		g.Forget(node, 1)
	}
}

// keeps checks an answer to OPEN against what has failed before it was asked for.
func (g *pagesGuest) keeps(file int, failed bool, flags uint32) {
	if g.mode == hostfs.CacheAlways && failed && flags&fuse.FOPEN_KEEP_CACHE != 0 {
		g.t.Errorf("file %d: after a failed WRITE an OPEN lets the guest keep its pages", file)
	}
}
