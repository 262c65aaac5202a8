// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"golang.org/x/sys/unix"
)

// The page cache sees every statx of a file before the guest does, so that a guest that was told of
// a change never reads older data. Only files that the guest has opened count (inodes.Opened), as it
// cannot read others: OPEN sets the mark first, then looks itself, if there are pages of the file. So
// whoever has found a file without the mark has looked before OPEN did, or before the first page came.
//
// A file is marked as inodes.Refused when the host has refused bytes of a WRITE, or has lost some as
// an FSYNC says. Until the guest has forgotten it, its attributes have no lifetime, and it is opened
// without FOPEN_KEEP_CACHE: upon that a Linux guest drops the pages that it has of the file
// (fs/fuse/file.c, fuse_finish_open).

// seen is what a statx says, and by the page cache's clock when it was begun.
type seen struct {
	unix.Statx_t
	taken int64
}

// look makes a statx of the file that fd refers to.
func (fs *FS) look(fd int, s *seen) error {
	s.taken = fs.pages.Now()
	return statFD(fd, &s.Statx_t)
}

func (s *seen) key() cache.Key { return key(identity(&s.Statx_t)) }

func (s *seen) stamp() cache.Stamp {
	c := stamp(&s.Statx_t)
	c.Taken = s.taken
	return c
}

func key(i inodes.Identity) cache.Key { return cache.Key{Dev: i.Dev, Ino: i.Ino, Born: i.Birth} }

func stamp(st *unix.Statx_t) cache.Stamp {
	return cache.Stamp{Size: int64(st.Size), Mtime: nanoseconds(st.Mtime), Ctime: nanoseconds(st.Ctime)}
}

func nanoseconds(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// publish is the last step before the guest gets to know what s says of a node. It returns the
// attributes' lifetime.
func (fs *FS) publish(id uint64, s *seen) time.Duration {
	m := fs.nodes.Marks(inodes.ID(id))
	if m&inodes.Opened != 0 {
		fs.pages.Observe(s.key(), s.stamp(), false)
	}
	if m&inodes.Refused != 0 || losesBits(&s.Statx_t) {
		return 0
	}
	return fs.policy.timeout
}

// describe fills in the answer that names a node.
func (fs *FS) describe(id uint64, s *seen, out *fuse.EntryOut) {
	out.NodeId = id
	out.Generation = 0 // node ids are never used again
	out.SetEntryTimeout(fs.policy.timeout)
	out.SetAttrTimeout(fs.publish(id, s))
	fs.fillAttr(&out.Attr, &s.Statx_t)
}

// fopen is the FOPEN_* of the answer that opens a node.
func (fs *FS) fopen(id uint64) uint32 {
	if fs.nodes.Marks(inodes.ID(id))&inodes.Refused != 0 {
		return fs.policy.open &^ fuse.FOPEN_KEEP_CACHE
	}
	return fs.policy.open
}

// refused marks a node if the outcome of a WRITE of want bytes, or of an FSYNC of 1, says that the
// host has refused some.
func (fs *FS) refused(id uint64, n, want int, err error) {
	if cache.Refused(n, want, err) {
		fs.nodes.Mark(inodes.ID(id), inodes.Refused)
	}
}

// attributes makes a change of a file's attributes by a call of change. Pages of the file outlive
// the stamp that it moves.
func (fs *FS) attributes(t target, change func() error) error {
	if fs.nodes.Marks(inodes.ID(t.id))&inodes.Opened == 0 {
		return change()
	}
	return fs.pages.Metadata(t.key(), func() (cache.Stamp, error) {
		var s seen
		err := fs.look(t.fd, &s)
		return s.stamp(), err
	}, change)
}
