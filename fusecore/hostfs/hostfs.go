// SPDX-License-Identifier: Apache-2.0

// Package hostfs is a directory of the host as a fuse.RawFileSystem.
//
// Nothing outside the directory can be reached, with or without a sandbox around the process:
// every name is one checked component, opened relative to an fd, never through a link. Devices,
// fifos and sockets are made and looked at but never opened. File data goes through package cache.
// Every errno of the host reaches the guest as it is.
//
// The package changes nothing process-wide. Its user sets the umask to 0 before serving (the mode
// that FUSE brings is masked already) and does not serve from the main thread (see internal/creds).
package hostfs

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/locks"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/xattrmap"
	"github.com/virtiofsd-go/virtiofsd-go/internal/creds"
	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// Config says what is shared and how. It is copied by New.
type Config struct {
	// Root is the directory to share, or a regular file, which is the guest's root then. A link
	// here is followed.
	Root string
	// RootFD is an O_PATH fd of Root, for a process that cannot reach it by a path any more. It stays
	// the caller's, who may close it after New. 0: Root is opened.
	RootFD int
	// WorkingProc tells that /proc/self/fd, through which files are opened again, is the working directory of
	// the process, which may have no path to it. Else it is opened.
	WorkingProc bool
	// Cache says what the guest may keep and for how long. Zero: CacheAuto.
	Cache CacheMode
	// NoReadDirPlus keeps attributes from being sent with the names of a directory.
	NoReadDirPlus bool
	// AllowMMap lets the guest map files shared also if it does not cache them
	// (FUSE_DIRECT_IO_ALLOW_MMAP).
	AllowMMap bool
	// Pages is the page cache of the process, which its owner closes after the last FS. nil: the FS
	// has one of its own, without pages, which keeps every other rule of package cache.
	Pages *cache.Cache
	// AllowDirectIO opens the host's file with O_DIRECT, too, where the guest asks for that. Else
	// only the page cache here is left out.
	AllowDirectIO bool
	// PreserveNoAtime opens the host's file with O_NOATIME where the guest asks for that and the
	// host allows it.
	PreserveNoAtime bool
	// Writeback lets the guest's kernel keep what programs write (FUSE_WRITEBACK_CACHE).
	Writeback bool
	// XAttr turns extended attributes on. Without it the guest is told that there are none.
	XAttr bool
	// XAttrMap renames extended attributes between guest and host. nil: they keep their names.
	XAttrMap *xattrmap.Map
	// UIDs and GIDs translate user and group ids between guest and host. nil: they are the same.
	UIDs, GIDs *idmap.Map
	// ACL says whether POSIX ACLs are kept for the guest, which obeys them; it turns XAttr on.
	// Zero: NegotiateNever.
	ACL Negotiation
	// SecurityLabel says whether what the guest creates gets the label (security.selinux, for one)
	// that the guest sends along; it turns XAttr on. Zero: NegotiateNever.
	SecurityLabel Negotiation
	// ReadOnly refuses with EROFS whatever would change the share.
	ReadOnly bool
	// KillPrivV2 has the guest leave it to the host to clear setuid and setgid bits and
	// security.capability of files that are written to (FUSE_HANDLE_KILLPRIV_V2), which saves
	// it requests. They are cleared without it, too.
	KillPrivV2 bool
	// AnnounceSubmounts has the guest mount file systems that are mounted below Root by itself, so
	// that they have device numbers of their own there (FUSE_SUBMOUNTS).
	AnnounceSubmounts bool
	// Handles says whether file handles are used. Zero: HandlesPrefer.
	Handles HandleMode
	// Faults is asked before each call of the host, for tests of guests. Files are then known by
	// name, as with HandlesNever, and every operation counts as one that may block. nil: none.
	Faults Faults
	// FDBudget is how many O_PATH fds known files may hold; the ones used least are closed
	// beyond it and opened again when needed. 0: four fifths of MaxFDs. Each fd pins about 1.5 KB of
	// kernel memory.
	FDBudget int
	// MaxFDs is how many they may hold in all: some cannot be opened again, as those of files that
	// were removed are their last. Of these, files that the guest has never opened are given up, and are
	// ESTALE to it. LOOKUP and what makes files fail with ENFILE beyond it. 0: half of
	// RLIMIT_NOFILE after a reserve for the rest of the process.
	MaxFDs int
	// PosixLocks and Flock make the guest's fcntl(2) and flock(2) locks hold on the host and between
	// guests, instead of within the guest only.
	PosixLocks, Flock bool
	// Locks is where this share's guest and others wait for each other; the caller may give it to
	// several shares. nil: a space of its own.
	Locks *locks.Space
	// MaxLockFDs is how many fds PosixLocks may take: one for each owner of locks and file. ENOLCK
	// beyond it. 0: a quarter of MaxHandles, which has so many less.
	MaxLockFDs int
	// MaxLocks is how many byte ranges the guest may have locked. ENOLCK beyond it. 0: 1<<16.
	MaxLocks int
	// MaxHandles is how many fds the files and directories that the guest has open may take: two for
	// a file with O_DIRECT and AllowDirectIO. OPEN fails with ENFILE beyond it. 0: the other half.
	MaxHandles int
	// MaxInodes is how many files the guest may know; LOOKUP fails with ENFILE beyond it.
	// 0: 1<<26. Address space for all of them is reserved at once: 144 bytes each.
	MaxInodes uint32
	// OnLimit, if not nil, is called for each request that is refused because the guest has come to a
	// limit of its own, which it names. It comes from any goroutine and must not block.
	OnLimit func(limit string)
}

// FS is the shared directory. It implements fuse.RawFileSystem and the optional interfaces of
// package fusecore. It is safe for concurrent use.
type FS struct {
	fuse.RawFileSystem // ENOSYS for what is not there

	cfg     Config
	policy  *cachePolicy
	pages   *cache.Cache
	tenant  *cache.Tenant // in pages
	host    *host
	nodes   *inodes.Table
	open    handles
	below   submounts
	locks   *locks.Guest
	creds   *creds.Switcher
	capName string // what security.capability is called on the host; empty: its own name
	closed  atomic.Bool

	// What INIT has agreed upon with the guest.
	killPrivV2, export, acl, writeback atomic.Bool
}

// New opens the directory. The process has its final ids, capabilities and limits by then.
func New(c Config) (*FS, error) {
	policy, err := c.Cache.policy()
	if err != nil {
		return nil, err
	}
	if err := c.limits(); err != nil {
		return nil, err
	}
	if err := errors.Join(c.ACL.check("ACL"), c.SecurityLabel.check("SecurityLabel")); err != nil {
		return nil, err
	}
	c.XAttr = c.XAttr || c.ACL.wants() || c.SecurityLabel.wants()
	useHandles, err := c.useHandles()
	if err != nil {
		return nil, err
	}
	ids, err := creds.Detect()
	if err != nil {
		return nil, err
	}
	fs := &FS{RawFileSystem: fuse.NewDefaultRawFileSystem(), cfg: c, policy: policy, creds: ids, pages: c.Pages, capName: c.capabilities()}
	if fs.pages == nil {
		if fs.pages, err = cache.New(cache.Options{}); err != nil {
			return nil, err
		}
	}
	host, root, rootFD, err := openHost(c, useHandles, fs.pages)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("share %s: %w", c.Root, err), fs.closePages())
	}
	if c.Handles == HandlesMandatory && !host.handles {
		host.close()
		_ = sys.Close(rootFD)
		return nil, errors.Join(fmt.Errorf("share %s: %w", c.Root, ErrNoHandles), fs.closePages())
	}
	fs.host = host
	fs.nodes, err = inodes.New(host, inodes.Options{MaxInodes: c.MaxInodes, Budget: c.FDBudget, MaxFDs: c.MaxFDs}, root, rootFD)
	if err != nil {
		host.close()
		return nil, errors.Join(err, fs.closePages())
	}
	fs.open.init(c.MaxHandles)
	fs.locks = fs.newLocks()
	fs.tenant = fs.pages.Join()
	return fs, nil
}

// Close closes everything that the FS has open. No request may be under way or come later.
// A second call does nothing.
func (fs *FS) Close() error {
	if fs.closed.Swap(true) {
		return nil
	}
	fs.locks.Reset()
	fs.open.closeAll()
	fs.nodes.Close()
	fs.host.close()
	fs.pages.Leave(fs.tenant)
	return fs.closePages()
}

// closePages closes the FS's own page cache.
func (fs *FS) closePages() error {
	if fs.cfg.Pages != nil {
		return nil
	}
	return fs.pages.Close()
}

// Reset forgets all files but the root and closes all handles, as for a guest that starts anew.
// Requests under way finish with what they hold.
func (fs *FS) Reset() {
	fs.locks.Reset()
	fs.open.closeAll()
	fs.nodes.Reset()
}

// String names the file system in messages.
func (fs *FS) String() string { return "hostfs:" + fs.cfg.Root }

// node pins the file of a node id from the guest. ESTALE for one that means nothing, which makes
// the guest's kernel walk the path again.
func (fs *FS) node(id uint64) (inodes.Node, error) {
	return fs.pin(id, fs.nodes.Get)
}

func (fs *FS) pin(id uint64, get func(inodes.ID) (inodes.Node, error)) (inodes.Node, error) {
	n, err := get(inodes.ID(id))
	if outOfFDs(err) && fs.nodes.Relieve(relief) > 0 {
		n, err = get(inodes.ID(id))
	}
	return n, err
}

// relief is how many fds are given up when the process has none left.
const relief = 64

func outOfFDs(err error) bool { return err == unix.EMFILE || err == unix.ENFILE }

// withFDs runs open, which yields an fd, once more with fewer cached fds if there was none left.
func (fs *FS) withFDs(open func() (int, error)) (int, error) {
	fd, err := open()
	if outOfFDs(err) && fs.nodes.Relieve(relief) > 0 {
		fd, err = open()
	}
	return fd, err
}

// reopen opens a pinned regular file or directory for use; never anything else, as opening a
// device or a fifo has effects on the host.
func (fs *FS) reopen(n inodes.Node, flags int) (int, error) {
	if t := n.Type(); t != unix.S_IFREG && t != unix.S_IFDIR {
		return -1, unix.EBADF
	}
	return fs.withFDs(func() (int, error) { return sys.Reopen(fs.host.proc, n.FD(), flags) })
}
