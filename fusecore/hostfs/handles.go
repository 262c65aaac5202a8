// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"sync"
	"sync/atomic"

	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/locks"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// handle is an open file or directory of the guest's. It is closed when it was taken out of the
// table and its last user is gone.
type handle struct {
	id   uint64           // slot and generation, the guest's fh
	node uint64           // the node that was opened
	typ  uint32           // S_IFREG or S_IFDIR
	fd   int              // owned by host, or by the handle if host is nil
	host hostFile         // the open file; nil for a directory, as file is
	file *cache.File      // its data
	key  cache.Key        // of file
	sync cache.WriteFlags // WriteSync or WriteDSync, if it was opened so

	access    int         // the O_ACCMODE bits that fd is open with
	direct    *directFile // the same file opened with O_DIRECT; nil: it is not
	writeOnly bool        // host cannot be read, though the guest's page cache might want to

	dir  dirPosition
	refs atomic.Int32                 // users, and one for being in the table
	lock atomic.Pointer[locks.Handle] // nil: no lock was asked for through it
}

// enter counts a user; false if the handle is closed.
func (h *handle) enter() bool {
	for {
		n := h.refs.Load()
		if n <= 0 {
			return false
		}
		if h.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release ends a use.
func (h *handle) release() {
	if h.refs.Add(-1) > 0 {
		return
	}
	_ = h.close() // errors of earlier writes were reported by FLUSH
}

// close ends a handle that nobody uses.
func (h *handle) close() error {
	if h.file == nil {
		return sys.Close(h.fd)
	}
	if h.direct != nil {
		h.direct.Close()
		_ = h.direct.host.Close()
	}
	h.file.Close()
	return h.host.Close()
}

// fds is how many fds it has.
func (h *handle) fds() int {
	if h.direct != nil {
		return 2
	}
	return 1
}

// directFile is a file whose fd is open with O_DIRECT, for the requests of programs that have asked
// for that.
type directFile struct {
	*cache.File
	host hostFile
}

// data is what a READ or WRITE goes to: flags are those of the guest's open file at the moment.
func (h *handle) data(flags uint32) *cache.File {
	if h.direct != nil && flags&unix.O_DIRECT != 0 {
		return h.direct.File
	}
	return h.file
}

// handles is the table of open handles: a handle's id is a slot and the slot's generation, so a
// handle that was closed is told from one that is open. Finding one takes no lock.
type handles struct {
	chunks [handleChunks]atomic.Pointer[handleChunk]

	mu    sync.Mutex // guards what follows
	free  []uint64   // ids of slots that were given back, with their next generation
	next  uint64     // the first slot that was never used
	used  int        // fds of all that are open
	limit int        // of used
}

const (
	handleChunkSize = 1024
	handleChunks    = 1 << 14
)

type handleChunk [handleChunkSize]atomic.Pointer[handle]

func (t *handles) init(limit int) { t.limit = min(limit, handleChunks*handleChunkSize) }

// full reports whether add would fail now.
func (t *handles) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used >= t.limit
}

// add enters a handle and sets its id. ENFILE: the guest has too many open. On error the handle
// is not closed.
func (t *handles) add(h *handle) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used+h.fds() > t.limit {
		return unix.ENFILE
	}
	if n := len(t.free); n > 0 {
		h.id = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		h.id = t.next
		t.next++
	}
	t.used += h.fds()
	h.refs.Store(1)
	slot := uint32(h.id)
	chunk := &t.chunks[slot/handleChunkSize]
	if chunk.Load() == nil {
		chunk.Store(new(handleChunk))
	}
	chunk.Load()[slot%handleChunkSize].Store(h)
	return nil
}

func (t *handles) at(fh uint64) *atomic.Pointer[handle] {
	slot := uint32(fh)
	if slot >= handleChunks*handleChunkSize {
		return nil
	}
	chunk := t.chunks[slot/handleChunkSize].Load()
	if chunk == nil {
		return nil
	}
	return &chunk[slot%handleChunkSize]
}

// get finds the guest's handle fh on node for a use that ends with release. EBADF if there is none.
func (t *handles) get(fh, node uint64) (*handle, error) {
	p := t.at(fh)
	if p == nil {
		return nil, unix.EBADF
	}
	h := p.Load()
	if h == nil || h.id != fh || h.node != node || !h.enter() {
		return nil, unix.EBADF
	}
	return h, nil
}

// file is get for a handle with data. EISDIR for a directory's, as read(2) says of one.
func (t *handles) file(fh, node uint64) (*handle, error) {
	h, err := t.get(fh, node)
	if err == nil && h.file == nil {
		h.release()
		return nil, unix.EISDIR
	}
	return h, err
}

// directory is get for a directory's handle. ENOTDIR for a file's.
func (t *handles) directory(fh, node uint64) (*handle, error) {
	h, err := t.get(fh, node)
	if err == nil && h.file != nil {
		h.release()
		return nil, unix.ENOTDIR
	}
	return h, err
}

// remove takes a handle out; it closes when its users are gone. Unknown ones are ignored.
func (t *handles) remove(fh uint64) {
	p := t.at(fh)
	if p == nil {
		return
	}
	h := p.Load()
	if h == nil || h.id != fh || !p.CompareAndSwap(h, nil) {
		return
	}
	t.mu.Lock()
	t.used -= h.fds()
	if id := fh + 1<<32; id>>32 != 0 { // the last generation is the end of a slot
		t.free = append(t.free, id)
	}
	t.mu.Unlock()
	h.release()
}

// closeAll takes all handles out.
func (t *handles) closeAll() {
	for i := range t.chunks {
		chunk := t.chunks[i].Load()
		if chunk == nil {
			continue
		}
		for j := range chunk {
			if h := chunk[j].Load(); h != nil {
				t.remove(h.id)
			}
		}
	}
}
