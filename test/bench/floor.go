// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
)

// floor are the system calls that no daemon can carry out an operation of a workload without, in
// a bare loop.
type floor struct {
	do    func(i int64) error // operation number i
	close func()
}

// floorName is the floor's name among the daemons.
const floorName = "floor"

// measureFloor runs the floor on one thread, after a tenth of the time to warm up, and puts the
// file that it may have written right again.
func measureFloor(w workload, t *tree, d time.Duration) (s Sample, err error) {
	f, err := w.floor(t)
	if err != nil {
		return Sample{}, err
	}
	defer func() {
		f.close()
		if w.writes {
			err = errors.Join(err, t.rewrite())
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := f.run(d / 10); err != nil {
		return Sample{}, err
	}
	return f.run(d)
}

func (f floor) run(d time.Duration) (Sample, error) {
	from, err := clock(unix.CLOCK_THREAD_CPUTIME_ID)
	if err != nil {
		return Sample{}, err
	}
	var lat []uint32
	begin := time.Now()
	last := begin
	for i := int64(0); last.Sub(begin) < d; i++ {
		if err := f.do(i); err != nil {
			return Sample{}, fmt.Errorf("floor: %w", err)
		}
		now := time.Now()
		lat = append(lat, uint32(now.Sub(last)))
		last = now
	}
	to, err := clock(unix.CLOCK_THREAD_CPUTIME_ID)
	slices.Sort(lat)
	return Sample{
		Ops: len(lat), Seconds: last.Sub(begin).Seconds(),
		P50: quantile(lat, 0.5), P99: quantile(lat, 0.99), P999: quantile(lat, 0.999),
		CPU: micros(to-from) / float64(len(lat)),
	}, err
}

// floorData is one preadv2 or pwritev2 for each unit, on separate pages. What it writes means
// nothing: see measureFloor.
func floorData(t *tree, spec dataSpec) (floor, error) {
	f, err := os.OpenFile(t.path(spec.file), os.O_RDWR, 0)
	if err != nil {
		return floor{}, err
	}
	units := t.size / max(spec.part, 1) / spec.unit
	pages := make([][]byte, spec.unit/blockSize)
	mem := make([]byte, 2*spec.unit)
	for i := range pages {
		pages[i] = mem[2*i*blockSize:][:blockSize]
	}
	fd := int(f.Fd())
	return floor{close: func() { f.Close() }, do: func(i int64) error {
		off := i % units * spec.unit
		if spec.scatter {
			off = scatter(i, units) * spec.unit
		}
		if i%10 >= int64(spec.writes) {
			_, err := sys.Readv(fd, pages, off, 0)
			return err
		}
		_, err := sys.Writev(fd, pages, off, 0)
		return err
	}}, nil
}

// floorNames opens the directory of names for a floor that gets its fd and a name's number.
func floorNames(t *tree, do func(dir int, i int64) error) (floor, error) {
	d, err := os.Open(filepath.Join(t.dir, namesDir))
	if err != nil {
		return floor{}, err
	}
	return floor{close: func() { d.Close() }, do: func(i int64) error {
		return do(int(d.Fd()), scatter(i, int64(len(t.names))))
	}}, nil
}

// floorKnown is floorNames with an O_PATH fd for each name, as of known files.
func floorKnown(t *tree, do func(dir, fd int) error) (floor, error) {
	var fds []int
	f, err := floorNames(t, func(dir int, i int64) error { return do(dir, fds[i]) })
	if err != nil {
		return f, err
	}
	closeDir := f.close
	f.close = func() {
		closeDir()
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	for _, name := range t.names {
		fd, err := unix.Open(filepath.Join(t.dir, namesDir, name), unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			f.close()
			return f, err
		}
		fds = append(fds, fd)
	}
	return f, nil
}

func floorGetattr(t *tree) (floor, error) {
	var st unix.Statx_t
	return floorKnown(t, func(_, fd int) error { return sys.Statx(fd, 0, unix.STATX_BASIC_STATS, &st) })
}

// floorLookup opens, looks and closes.
func floorLookup(t *tree) (floor, error) {
	return floorNames(t, func(dir int, i int64) error { return openLookClose(dir, t.names[i]) })
}

func openLookClose(dir int, name string) error {
	var st unix.Statx_t
	fd, err := sys.OpenIn(dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	if err := sys.Statx(fd, 0, unix.STATX_BASIC_STATS, &st); err != nil {
		return err
	}
	return unix.Close(fd)
}

func floorRelookup(t *tree) (floor, error) {
	var st unix.Statx_t
	return floorNames(t, func(dir int, i int64) error {
		return sys.StatxIn(dir, t.names[i], unix.STATX_BASIC_STATS, &st)
	})
}

// floorOpen opens known files through /proc.
func floorOpen(t *tree) (floor, error) {
	proc, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return floor{}, err
	}
	f, err := floorKnown(t, func(_, known int) error {
		fd, err := sys.Reopen(proc, known, unix.O_RDONLY)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	})
	if err != nil {
		unix.Close(proc)
		return f, err
	}
	closeAll := f.close
	f.close = func() { closeAll(); unix.Close(proc) }
	return f, nil
}

func floorSmall(t *tree) (floor, error) {
	d, err := os.Open(filepath.Join(t.dir, newDir))
	if err != nil {
		return floor{}, err
	}
	dir, page := int(d.Fd()), [][]byte{make([]byte, blockSize)}
	return floor{close: func() { d.Close() }, do: func(int64) error {
		fd, err := sys.OpenIn(dir, "floor", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		if _, err := sys.Writev(fd, page, 0, 0); err != nil {
			return err
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
		return sys.Unlink(dir, "floor", 0)
	}}, nil
}

// entriesPerReply is how many of the directory's entries READDIRPLUS brings in 4 KiB: 168 bytes
// each, with names of this length.
const entriesPerReply = blockSize / 168

func floorDirCold(t *tree) (floor, error) {
	return floorDir(t, openLookClose)
}

func floorDirWarm(t *tree) (floor, error) {
	var st unix.Statx_t
	return floorDir(t, func(dir int, name string) error { return sys.StatxIn(dir, name, unix.STATX_BASIC_STATS, &st) })
}

// floorDir is one getdents64 of as many entries as fit, and a look at each.
func floorDir(t *tree, look func(dir int, name string) error) (floor, error) {
	buf := make([]byte, entriesPerReply*32) // struct linux_dirent64 with 10 bytes of name
	return floorNames(t, func(dir int, i int64) error {
		n, err := unix.Getdents(dir, buf)
		if err == nil && n == 0 {
			_, err = unix.Seek(dir, 0, 0)
		}
		if err != nil {
			return err
		}
		for j := range int64(entriesPerReply) {
			if err := look(dir, t.names[(i+j)%int64(len(t.names))]); err != nil {
				return err
			}
		}
		return nil
	})
}
