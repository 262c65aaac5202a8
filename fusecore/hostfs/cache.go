// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"fmt"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/cache"
)

// CacheMode says what a guest may cache. The names and meanings are virtiofsd's --cache.
type CacheMode string

const (
	CacheNever    CacheMode = "never"    // nothing: for directories that others change at the same time
	CacheMetadata CacheMode = "metadata" // names and attributes for long, no data
	CacheAuto     CacheMode = "auto"     // all, names and attributes for a second
	CacheAlways   CacheMode = "always"   // all for long: for directories that the guest has for itself
)

// cachePolicy is what a mode means in FUSE.
type cachePolicy struct {
	pages       cache.Mode    // of the daemon's own pages
	timeout     time.Duration // of entries and attributes
	open        uint32        // FOPEN_* of OPEN and CREATE
	openDir     uint32        // FOPEN_* of OPENDIR
	readDirPlus bool          // attributes with names are worth sending
}

// negative is how long the guest may trust that a name is not there: never longer than a second, as
// a name that comes into being is waited for more often than a file is expected to stay.
func (p *cachePolicy) negative() time.Duration { return min(p.timeout, time.Second) }

// cacheSymlinks tells whether the guest may keep what symbolic links say for as long as it knows
// them. It never looks again, and those of procfs change.
func (p *cachePolicy) cacheSymlinks() bool { return p.timeout == day }

const day = 24 * time.Hour

// directIO keeps data out of the guest's page cache. Writes to a file may come at the same time then;
// overlapping ones wait for each other in the page cache here.
const directIO = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES

var cachePolicies = map[CacheMode]*cachePolicy{
	CacheNever:    {pages: cache.ModeNever, timeout: 0, open: directIO},
	CacheMetadata: {pages: cache.ModeMetadata, timeout: day, open: directIO, openDir: fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, readDirPlus: true},
	CacheAuto:     {pages: cache.ModeAuto, timeout: time.Second, readDirPlus: true},
	CacheAlways:   {pages: cache.ModeAlways, timeout: day, open: fuse.FOPEN_KEEP_CACHE, openDir: fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, readDirPlus: true},
}

func (m CacheMode) policy() (*cachePolicy, error) {
	if m == "" {
		m = CacheAuto
	}
	p, ok := cachePolicies[m]
	if !ok {
		return nil, fmt.Errorf("unknown cache mode %q", string(m))
	}
	return p, nil
}
