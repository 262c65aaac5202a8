// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/inodes"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// dirPosition is where the fd of a directory's handle stands. Offsets are the host's own and mean
// nothing to us; the guest gets them with each entry and may come back to any of them.
type dirPosition struct {
	mu   sync.Mutex
	off  uint64
	lost bool // the fd stands somewhere else

	// Of the entries read lately: how many, and their bytes on the host and in replies.
	entries, host, guest int
}

// listing is one READDIR or READDIRPLUS.
type listing struct {
	fs   *FS
	h    *handle
	dir  inodes.Node // the directory, for lookups of READDIRPLUS
	size int         // of the guest's buffer
	plus bool
	out  *fuse.DirEntryList
}

const listBuf = 32 << 10

var listBufs = sync.Pool{New: func() any { return new([listBuf]byte) }}

// ReadDir lists a directory from an offset on.
func (fs *FS) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return fs.list(cancel, in, out, false)
}

// ReadDirPlus lists a directory and looks each entry up. An entry whose lookup fails, be it for
// want of fds, goes without: the guest will look it up itself.
func (fs *FS) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return fs.list(cancel, in, out, true)
}

func (fs *FS) list(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList, plus bool) fuse.Status {
	h, err := fs.open.directory(in.Fh, in.NodeId)
	if err != nil {
		return status(err)
	}
	defer h.release()
	if err := fs.fault(cancel, "readdir", at{h.fd, ""}); err != nil {
		return status(err)
	}
	l := listing{fs: fs, h: h, size: int(in.Size), plus: plus, out: out}
	if plus {
		if l.dir, err = fs.node(in.NodeId); err != nil {
			return status(err)
		}
		defer l.dir.Release()
	}
	buf := listBufs.Get().(*[listBuf]byte)
	defer listBufs.Put(buf)

	h.dir.mu.Lock()
	defer h.dir.mu.Unlock()
	if err := h.seek(in.Offset, buf[:]); err != nil {
		return status(err)
	}
	return status(l.fill(buf[:]))
}

// fill reads entries until the guest's buffer is full or the directory ends.
func (l *listing) fill(buf []byte) error {
	for {
		want := l.want()
		if want == 0 {
			return nil
		}
		n, err := sys.Getdents(l.h.fd, buf[:min(want, len(buf))])
		if err == unix.EINVAL && len(l.out.Bytes()) == 0 {
			n, err = sys.Getdents(l.h.fd, buf) // a long name: it may fit the guest's buffer nevertheless
		} else if err != nil && len(l.out.Bytes()) > 0 {
			// Full, or an error, which comes again with the next call: what is in the guest's
			// buffer counts as looked up and must get there.
			return nil
		}
		if err != nil || n == 0 {
			return err
		}
		if !l.addAll(buf[:n]) {
			l.h.dir.lost = true
			if len(l.out.Bytes()) == 0 {
				return unix.EINVAL // too small for a single entry, as getdents(2) says
			}
			return nil
		}
	}
}

// Sizes in bytes of an entry with the shortest names: struct linux_dirent64, struct fuse_dirent and
// struct fuse_direntplus, all in units of 8.
const (
	leastHost  = 24
	leastGuest = 32
	leastPlus  = 160
)

// want is how many bytes to read from the host: no more than the guest's buffer takes, as far as one can
// know, so that the fd stands where the guest goes on. Entries are taken to be like those before them, an
// eighth less of them than would fit, or as short as can be, which most of all grow on their way. 0: the
// guest's buffer is full.
func (l *listing) want() int {
	d, left := &l.h.dir, l.size-len(l.out.Bytes())
	least := leastGuest
	if l.plus {
		least = leastPlus
	}
	switch fit := left * d.entries / max(d.guest, 1); {
	case fit > 0:
		return ((fit-fit/8)*d.host/d.entries + 7) &^ 7 // as all entries are
	case d.entries == 0 && left >= least || len(l.out.Bytes()) == 0:
		return max(left*leastHost/least, 1)
	}
	return 0
}

// addAll passes entries on and tells whether all found room.
func (l *listing) addAll(entries []byte) bool {
	var e sys.Dirent
	d := &l.h.dir
	for {
		rest, ok := e.Next(entries)
		if !ok {
			return true
		}
		before := len(l.out.Bytes())
		if !l.add(&e) {
			return false
		}
		d.off = e.Off
		d.entries, d.host, d.guest = d.entries+1, d.host+len(entries)-len(rest), d.guest+len(l.out.Bytes())-before
		if d.entries == 512 { // names may be longer further on
			d.entries, d.host, d.guest = d.entries/2, d.host/2, d.guest/2
		}
		entries = rest
	}
}

func (l *listing) add(e *sys.Dirent) bool {
	name := e.String()
	d := fuse.DirEntry{Mode: uint32(e.Type) << 12, Name: name, Ino: e.Ino, Off: e.Off}
	if name == ".." && l.h.node == uint64(inodes.Root) {
		d.Ino = l.fs.host.rootIno
	}
	if !l.plus {
		return l.out.AddDirEntry(d)
	}
	entry := l.out.AddDirLookupEntry(d)
	if entry == nil {
		return false
	}
	if checkName(name) == nil && l.lookup(e, name, entry) == nil {
		l.out.FixMode(entry.Mode)
	}
	return true
}

// lookup is FS.lookup for an entry that the host has listed.
func (l *listing) lookup(e *sys.Dirent, name string, out *fuse.EntryOut) error {
	i := l.dir.Identity()
	i.Ino = e.Ino
	if n, ok := l.fs.nodes.ExpectInode(i); ok {
		defer n.Release()
		if done, err := l.fs.lookupKnown(n, l.dir, name, out); done {
			l.fs.nodes.Note(l.dir, name, n.ID()) // if not, the name leads to nothing
			return err
		}
	}
	if l.fs.host.births && e.Type != unix.DT_DIR {
		if done, err := l.fs.lookupUnopened(l.dir, name, out); done {
			return err
		}
	}
	return l.fs.lookupNew(l.dir, name, out)
}

// seek brings the directory's fd to an offset that the guest had from an entry.
func (h *handle) seek(off uint64, buf []byte) error {
	if off == h.dir.off && !h.dir.lost {
		return nil
	}
	h.dir.lost = true
	if int64(off) >= 0 {
		if _, err := unix.Seek(h.fd, int64(off), unix.SEEK_SET); err != nil {
			return err
		}
	} else if err := h.walk(off, buf); err != nil {
		return err
	}
	h.dir.off, h.dir.lost = off, false
	return nil
}

// walk reads from the start up to the entry with the offset. There are file systems (NFS servers)
// whose offsets use all 64 bits; lseek refuses to go there.
func (h *handle) walk(off uint64, buf []byte) error {
	if _, err := unix.Seek(h.fd, 0, unix.SEEK_SET); err != nil {
		return err
	}
	var e sys.Dirent
	for {
		// One entry at a time, so that the fd stands right behind it.
		n, err := nextEntry(h.fd, buf)
		if err != nil {
			return err
		}
		if _, ok := e.Next(buf[:n]); !ok {
			return unix.EINVAL // no such entry (any more)
		}
		if e.Off == off {
			return nil
		}
	}
}

// nextEntry reads a single entry: the buffer is made no larger than it takes.
func nextEntry(fd int, buf []byte) (int, error) {
	for size := 24; ; size += 8 {
		n, err := sys.Getdents(fd, buf[:min(size, len(buf))])
		if err != unix.EINVAL || size >= len(buf) {
			return n, err
		}
	}
}
