// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// operation does one random thing.
func (w *world) operation(g int, r *rand.Rand) {
	f := w.files[r.IntN(len(w.files))]
	x := r.IntN(100)
	if w.calm && r.IntN(10) > 0 {
		x = 0 // nearly all are reads
	}
	switch {
	case x < 42:
		w.opRead(g, r, f)
	case x < 72:
		w.opWrite(g, r, f)
	case x < 76:
		size := place(r)
		_ = f.Truncate(w.cancel(r), size)
	case x < 80:
		mode := []uint32{0, unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE}[r.IntN(2)]
		_ = f.Allocate(w.cancel(r), mode, place(r), 1+length(r))
	case x < 84:
		_, _ = f.CopyTo(w.cancel(r), w.files[r.IntN(len(w.files))], place(r), place(r), length(r))
	case x < 85:
		_ = f.Sync(nil, r.IntN(2) == 0)
	case x < 90:
		taken := w.c.Now()
		st, err := w.h.Stat(nil)
		if st.Taken = taken; err == nil {
			f.Observe(st, r.IntN(3) == 0)
		}
	case x < 94:
		buf := make([]byte, PageSize)
		_, _ = w.other.ReadAt(nil, [][]byte{buf}, int64(r.IntN(4))*PageSize, 0)
	case x < 95:
		w.c.DropAll()
	case x < 96:
		_ = w.c.Metadata(testKey, w.h.stamp, func() error {
			w.h.mu.Lock()
			defer w.h.mu.Unlock()
			w.h.mtime++
			return nil
		})
	case x < 97:
		w.c.Open(testKey, Handle{Host: w.h, Mode: ModeAuto}).Close()
	case w.cfg.foreign && x < 99:
		b := make([]byte, 1+r.IntN(100))
		fillRandom(r, b)
		w.h.foreign(place(r), b)
	case w.cfg.foreign:
		w.clock.advance(time.Duration(r.IntN(int(700 * time.Millisecond))))
	}
}

// place is an offset: near the edge of a page, or anywhere on one of the first.
func place(r *rand.Rand) int64 {
	page := int64(r.IntN(4))
	if r.IntN(20) == 0 {
		page = int64(r.IntN(18))
	}
	switch r.IntN(3) {
	case 0:
		return page * PageSize
	case 1:
		return max(page*PageSize+int64(r.IntN(9))-4, 0)
	}
	return page*PageSize + int64(r.IntN(PageSize))
}

func length(r *rand.Rand) int64 {
	switch r.IntN(40) {
	case 0:
		return maxPages*PageSize + 1 + int64(r.IntN(100))
	case 1, 2, 3, 4:
		return int64(1+r.IntN(3)) * PageSize
	case 5, 6, 7:
		return int64(r.IntN(3 * PageSize))
	}
	return int64(1 + r.IntN(200))
}

// cancel is a channel that is closed already, now and then.
func (w *world) cancel(r *rand.Rand) <-chan struct{} {
	if r.IntN(30) > 0 {
		return nil
	}
	c := make(chan struct{})
	close(c)
	return c
}

func fillRandom(r *rand.Rand, b []byte) {
	x := r.Uint64()
	for i := range b {
		if i%8 == 0 {
			x = r.Uint64()
		}
		b[i] = byte(x)
		x >>= 8
	}
}

func (w *world) opRead(g int, r *rand.Rand, f *File) {
	off, n := place(r), int(length(r))
	if r.IntN(2) == 0 { // as guests do
		off, n = off&^(PageSize-1), (n+PageSize-1)&^(PageSize-1)
	}
	var fl ReadFlags
	if r.IntN(10) == 0 {
		fl = ReadDirect
	}
	was, began := w.start(g, off, n)
	buf := make([]byte, n)
	got, err := f.ReadAt(nil, split(buf), off, fl)
	if err != nil {
		if !w.cfg.errors {
			w.finding("read %d+%d: %v from a host without errors", off, n, err)
		}
		return
	}
	w.checkRead(g, off, n, buf[:got], was, began, fmt.Sprintf("mode %d, flags %d:", f.mode, fl))
}

func (w *world) opWrite(g int, r *rand.Rand, f *File) {
	off, data := place(r), make([]byte, length(r))
	fillRandom(r, data)
	fl := []WriteFlags{0, 0, 0, 0, WriteDirect, WriteDirect | WriteWhole, WriteSync, WriteDSync, WriteCache, WriteCache, WriteAppend}[r.IntN(11)]
	if fl == WriteAppend && r.IntN(3) > 0 {
		fl, data = 0, data[:min(len(data), 50)] // the file is cut off seldom
	}
	if r.IntN(4) == 0 {
		fl |= WriteNowait
	}
	cancel := w.cancel(r)
	w.start(g, 0, 0)
	n, err := f.WriteAt(cancel, split(data), off, fl)
	if n < 0 || n > len(data) || err != nil && n != 0 {
		w.finding("write %d+%d: %d, %v", off, len(data), n, err)
	}
	if !w.cfg.errors && n < len(data) && (cancel == nil || err != unix.EINTR) && (fl&WriteNowait == 0 || err != unix.EAGAIN) {
		w.finding("write %d+%d: %d, %v from a host without errors", off, len(data), n, err)
	}
	if fl&WriteAppend == 0 && n > 0 {
		w.checkTaken(g, off, data[:n])
	}
}
