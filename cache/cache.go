// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a cache.
type Options struct {
	// Size is the memory for pages in bytes, rounded down to whole pages. With 0 no page is
	// kept; every other rule holds.
	Size int64
	// Idle is for how long a cache that nobody uses keeps its memory. 0: 30 seconds.
	Idle time.Duration
	// Now is the clock, nil for the system's. Its wall clock must be that of the host's file
	// systems.
	Now func() time.Time
}

// Cache is the pages of all files that a process serves. Its methods may be called at the same time.
type Cache struct {
	now    func() time.Time
	idle   time.Duration
	frames int // number of frames; they are counted from 1
	mem    []byte
	pages  []page // by frame

	down      chan struct{} // closed by Shutdown
	shutdown  sync.Once
	planted   planted
	eager     bool // for tests: a write makes pages also in a mapping that has none, and all are worth it
	hashStart uint64
	common    *Tenant // of files without one

	table    sync.RWMutex
	mappings map[Key]*mapping

	mu     sync.Mutex // guards what follows
	links  []link     // by frame
	owners []*mapping // by mapping.slot
	spare  []uint32   // slots of owners that are free
	lost   []*mapping // each once: they have lost pages since they were last looked at
	unused queue      // frames without a page
	all    []*Tenant  // by link.tenant; the first is that of files without one
	ghosts ghosts
	born   uint64 // mappings made so far
	trim   trim
}

// planted are faults for the tests, each of which has to be found. All are false in life.
type planted struct {
	keepRefused, endEarly, noTruncateLock, noWriteLock, noDirectLock, keepSpoiled, waitFrame bool
	overwritePinned, dropLate, shortAnswer, trustStamps, keepAfterSync, noSplit              bool
}

// New makes a cache. The caller closes it.
func New(o Options) (*Cache, error) {
	c := &Cache{now: o.Now, idle: o.Idle, frames: int(o.Size / PageSize), down: make(chan struct{}), mappings: map[Key]*mapping{}, hashStart: rand.Uint64()}
	if c.now == nil {
		c.now = time.Now
	}
	if c.idle == 0 {
		c.idle = 30 * time.Second
	}
	if o.Size < 0 || o.Size/PageSize > maxFrames {
		return nil, fmt.Errorf("page cache of %d bytes: %w", o.Size, unix.EINVAL)
	}
	if c.frames > 0 {
		var err error
		if c.mem, err = unix.Mmap(-1, 0, c.frames*PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE); err != nil {
			return nil, fmt.Errorf("memory for a page cache of %d bytes: %w", o.Size, err)
		}
	}
	c.initFrames()
	return c, nil
}

// Now is the cache's clock, in nanoseconds since 1970: for the Taken of stamps.
func (c *Cache) Now() int64 { return c.now().UnixNano() }

// Shutdown ends all waits for range locks, now and later, with EINTR.
func (c *Cache) Shutdown() { c.shutdown.Do(func() { close(c.down) }) }

// Close gives the memory back. No other call may be under way or come later.
func (c *Cache) Close() error {
	c.Shutdown()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trim.stop()
	if c.mem == nil {
		return nil
	}
	mem := c.mem
	c.mem, c.frames = nil, 0
	return unix.Munmap(mem)
}

// Handle is what a File needs to know.
type Handle struct {
	// Host is the open file. It stays the caller's, who closes it after the File.
	Host HostFile
	// Buffered is another one for fills and the guest's page cache, open for reading and
	// writing as far as the handle is, without O_DIRECT. nil: Host is.
	Buffered HostFile
	// Mode is the policy of the share.
	Mode Mode
	// Tenant is who pays for the pages, if the file has none of another one yet. nil: one that all
	// have in common.
	Tenant *Tenant
	// Untrusted: the file system's identities or times cannot be relied on (see Trusted).
	Untrusted bool
}

// File is an open file, seen through the cache. Its methods, but for Close, may be called at the
// same time.
type File struct {
	m        *mapping
	host     HostFile
	buffered HostFile
	mode     Mode
}

// Open begins the use of a file. The caller promises that the inode cannot go away before the File
// is closed and, if it was not forgotten, before Forget.
func (c *Cache) Open(k Key, h Handle) *File {
	f := &File{host: h.Host, buffered: h.Buffered, mode: h.Mode}
	if f.buffered == nil {
		f.buffered = h.Host
	}
	if h.Untrusted {
		f.mode = ModeNever
	}
	c.table.Lock()
	defer c.table.Unlock()
	if f.m = c.mappings[k]; f.m == nil {
		c.reap()
		f.m = c.newMapping(k, h.Tenant)
		c.mappings[k] = f.m
	}
	f.m.refs++
	f.m.forgotten = false
	return f
}

// Close ends the use. No other call may be under way or come later.
func (f *File) Close() {
	c, m := f.m.c, f.m
	c.table.Lock()
	defer c.table.Unlock()
	m.refs--
	if m.refs == 0 && (m.forgotten || m.empty()) {
		c.removeMapping(m)
	}
}

// Forget says that nothing but open Files keeps the inode from being reused by the host.
func (c *Cache) Forget(k Key) {
	c.table.Lock()
	defer c.table.Unlock()
	m := c.mappings[k]
	if m == nil {
		return
	}
	m.forgotten = true
	if m.refs == 0 {
		c.removeMapping(m)
	}
}

// find returns the mapping of a file, or nil.
func (c *Cache) find(k Key) *mapping {
	c.table.RLock()
	defer c.table.RUnlock()
	return c.mappings[k]
}

// Observe is told what a statx of a file said before anybody else is. opened: the guest opens it
// under ModeAuto.
func (c *Cache) Observe(k Key, st Stamp, opened bool) {
	if m := c.find(k); m != nil {
		m.mu.Lock()
		m.observe(st, opened)
		m.unlock()
	}
}

// Blank tells that there are no pages of the file, nor any on their way: all that its reads will find is
// newer than whatever was seen of the file until now, so that nothing is to be gained from an Observe.
func (f *File) Blank() bool {
	m := f.m
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pages) == 0 && m.fills == nil && m.changing == 0
}

// Observe is Cache.Observe for an open file.
func (f *File) Observe(st Stamp, opened bool) {
	f.m.mu.Lock()
	f.m.observe(st, opened)
	f.m.unlock()
}

// DropAll drops all pages: a syncfs failed. Which files it was about is not known for sure, as one
// file system may have several device numbers.
func (c *Cache) DropAll() {
	c.table.RLock()
	defer c.table.RUnlock()
	for _, m := range c.mappings {
		m.mu.Lock()
		m.dropAll()
		m.unlock()
	}
}

// Map says that the file is mapped writably into a guest, past the cache, until Unmap. It keeps
// no pages meanwhile.
func (f *File) Map() {
	f.m.mu.Lock()
	f.m.mapped++
	f.m.dropAll()
	f.m.unlock()
}

// Unmap ends a Map.
func (f *File) Unmap() {
	f.m.mu.Lock()
	f.m.mapped--
	f.m.unlock()
}

// Refused tells whether the outcome of a write of want bytes means that the host refused bytes, so
// that the guest's own page cache may hold some that the host does not have.
func Refused(n, want int, err error) bool {
	switch {
	case err == nil:
		return n < want
	case errors.Is(err, unix.EBADF), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EFAULT), errors.Is(err, unix.EINTR):
		return false
	}
	return true
}
