// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"golang.org/x/sys/unix"
)

// Faults can make calls of the host fail, for tests of guests and programs. All methods may be
// called at the same time.
type Faults interface {
	// Before is asked before the host is. op is the operation: that of FUSE in small letters
	// (lookup, getattr, mkdir, ...), and what the page cache asks the host for file data: read,
	// write, truncate, fallocate, copy, seek, flush and fsync. A change of size asks twice, for
	// setattr and for truncate; what is read from pages does not ask, and a LOOKUP, OPEN or GETATTR
	// that is a part of another operation does not. read, write,
	// truncate, fallocate and copy are about the n bytes at off: for truncate those from the new
	// size on, for copy those that are written. Elsewhere off and n are 0.
	//
	// paths returns the paths in the share that the call is about, from "/" on: for link and
	// rename the old and the new one, else one. A path is "" where the host cannot tell it.
	//
	// The host is asked for the first limit of the n bytes, and if err is not nil, the call
	// then fails with it. With limit 0 or no bytes at all an error is instead of the call. Before may
	// block; it returns when cancel is closed.
	Before(op string, off, n int64, cancel <-chan struct{}, paths func() []string) (limit int64, err error)
}

// at is a file: the one that an fd refers to, or that has a name in a directory.
type at struct {
	fd   int
	name string // "": fd itself
}

// fault asks the Faults, if there are any, before a call about one or two files.
func (fs *FS) fault(cancel <-chan struct{}, op string, files ...at) error {
	if fs.cfg.Faults == nil {
		return nil
	}
	_, err := fs.faultData(cancel, op, 0, 0, slices.Clone(files)) // a clone, as it would escape
	return err
}

// faultNode is fault for a call about a node.
func (fs *FS) faultNode(cancel <-chan struct{}, op string, id uint64) error {
	if fs.cfg.Faults == nil {
		return nil
	}
	n, err := fs.node(id)
	if err != nil {
		return err
	}
	defer n.Release()
	return fs.fault(cancel, op, at{n.FD(), ""})
}

func (fs *FS) faultData(cancel <-chan struct{}, op string, off, n int64, files []at) (int64, error) {
	return fs.cfg.Faults.Before(op, off, n, cancel, func() []string {
		paths := make([]string, len(files))
		for i, f := range files {
			paths[i] = fs.host.path(f)
		}
		return paths
	})
}

// path is the path of a file in the share; "" if it is not known.
func (h *host) path(f at) string {
	root, err := h.readlink(h.root)
	if err != nil {
		return ""
	}
	p, err := h.readlink(f.fd)
	if err != nil {
		return ""
	}
	// What was removed has its last path with a mark, which may be a part of a name, too.
	if last, ok := strings.CutSuffix(p, " (deleted)"); ok {
		if _, err := os.Lstat(p); err != nil {
			p = last
		}
	}
	switch below, ok := strings.CutPrefix(p, strings.TrimSuffix(root, "/")); {
	case !ok, below != "" && below[0] != '/':
		return ""
	case f.name == "":
		return "/" + strings.TrimPrefix(below, "/")
	default:
		return strings.TrimSuffix(below, "/") + "/" + f.name
	}
}

// readlink returns the path of the file that fd refers to.
func (h *host) readlink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(h.proc, strconv.Itoa(fd), buf)
	return string(buf[:max(n, 0)]), err
}

// hostFile is the file of fd, on v, which it takes over: with faults in front, if there are any.
func (fs *FS) hostFile(fd int, v *volume) hostFile {
	f := &fdFile{fd: fd, on: v}
	if fs.cfg.Faults == nil {
		return f
	}
	return &faultyFile{hostFile: f, fs: fs, fd: fd}
}

// faultyFile is a hostFile whose calls go wrong where the Faults say so.
type faultyFile struct {
	hostFile
	fs *FS
	fd int // of the same file
}

func (f *faultyFile) before(cancel <-chan struct{}, op string, off, n int64) (int64, error) {
	return f.fs.faultData(cancel, op, off, n, []at{{f.fd, ""}})
}

// move does a call for as much of n bytes as the Faults say.
func (f *faultyFile) move(cancel <-chan struct{}, op string, off, n int64, call func(n int64) (int64, error)) (int64, error) {
	limit, fault := f.before(cancel, op, off, n)
	var done int64
	if limit > 0 || fault == nil && n == 0 {
		var err error
		if done, err = call(limit); err != nil {
			return done, err
		}
	}
	return done, fault
}

func (f *faultyFile) ReadAt(cancel <-chan struct{}, dst [][]byte, off int64, nowait bool) (int, error) {
	if nowait {
		return 0, unix.EAGAIN // a fault may wait
	}
	n, err := f.move(cancel, "read", off, length(dst), func(n int64) (int64, error) {
		got, err := f.hostFile.ReadAt(cancel, first(dst, n), off, false)
		return int64(got), err
	})
	return int(n), err
}

func (f *faultyFile) WriteAt(cancel <-chan struct{}, src [][]byte, off int64, fl cache.WriteFlags) (int, error) {
	n, err := f.move(cancel, "write", off, length(src), func(n int64) (int64, error) {
		put, err := f.hostFile.WriteAt(cancel, first(src, n), off, fl)
		return int64(put), err
	})
	return int(n), err
}

func (f *faultyFile) CopyTo(cancel <-chan struct{}, dst cache.HostFile, off, dstOff, n int64) (int64, error) {
	d, ok := dst.(*faultyFile)
	if !ok {
		return 0, unix.EXDEV
	}
	return d.move(cancel, "copy", dstOff, n, func(n int64) (int64, error) {
		return f.hostFile.CopyTo(cancel, d.hostFile, off, dstOff, n)
	})
}

func (f *faultyFile) Truncate(cancel <-chan struct{}, size int64) error {
	if _, err := f.before(cancel, "truncate", size, math.MaxInt64-max(size, 0)); err != nil {
		return err
	}
	return f.hostFile.Truncate(cancel, size)
}

func (f *faultyFile) Allocate(cancel <-chan struct{}, mode uint32, off, n int64) error {
	if _, err := f.before(cancel, "fallocate", off, n); err != nil {
		return err
	}
	return f.hostFile.Allocate(cancel, mode, off, n)
}

func (f *faultyFile) Sync(cancel <-chan struct{}, dataOnly bool) error {
	if _, err := f.before(cancel, "fsync", 0, 0); err != nil {
		return err
	}
	return f.hostFile.Sync(cancel, dataOnly)
}

func (f *faultyFile) Flush(cancel <-chan struct{}) error {
	if _, err := f.before(cancel, "flush", 0, 0); err != nil {
		return err
	}
	return f.hostFile.Flush(cancel)
}

func (f *faultyFile) Seek(cancel <-chan struct{}, off int64, whence int) (int64, error) {
	if _, err := f.before(cancel, "seek", 0, 0); err != nil {
		return 0, err
	}
	return f.hostFile.Seek(cancel, off, whence)
}

// length is the number of bytes in v.
func length(v [][]byte) (n int64) {
	for _, b := range v {
		n += int64(len(b))
	}
	return n
}

// first is the first n bytes of v, without a change of v.
func first(v [][]byte, n int64) [][]byte {
	var head [][]byte
	for _, b := range v {
		if n <= 0 {
			break
		}
		b = b[:min(int64(len(b)), n)]
		head, n = append(head, b), n-int64(len(b))
	}
	return head
}
