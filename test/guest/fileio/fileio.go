// SPDX-License-Identifier: Apache-2.0

// Package fileio does with a file what a test says, step by step, and reports each step's outcome,
// error numbers included. The steps are words:
//
//	open=FLAGS     FLAGS: r, w or rw, and creat, trunc, append, direct, sync, separated by commas
//	write=SPANS    pwrite(2) until all is written or it fails: the bytes that were taken
//	once=SPANS     one pwrite(2)
//	store=SPANS    stores into a shared mapping of the whole file
//	msync, unmap   of that mapping
//	read           what the file holds, read through the descriptor
//	load           what the mapping holds
//	size           the file's size by fstat(2)
//	truncate=SIZE, fsync, fdatasync, close
//	number=N       one pwrite(2) of a file that holds a number
//	numbers        the number that the file holds, or the first and the last of several
//	mtime=SECONDS  utimensat(2) by name
//	await=PATH     until there is such a file, of a file system of its own
//	repeat=N       as the last step: N times all that stands before
//
// SPANS and what a file holds are those of package pattern.
package fileio

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/pattern"
)

// file is a file that steps are done with.
type file struct {
	path   string
	fd     int // -1: not open
	mapped []byte
}

// Run does the steps with the file at path and prints a line for each: its name, a colon, and its
// outcome, "ok" where there is nothing else to say, the error's name last. A step that fails does
// not end the others. The error is for steps that make no sense.
func Run(out io.Writer, path string, steps ...string) error {
	if len(steps) == 0 {
		return nil
	}
	times := 1
	if last, ok := strings.CutPrefix(steps[len(steps)-1], "repeat="); ok {
		n, err := strconv.Atoi(last)
		if err != nil {
			return err
		}
		times, steps = n, steps[:len(steps)-1]
	}
	f := &file{path: path, fd: -1}
	defer f.close()
	for range times {
		for _, s := range steps {
			if err := f.step(out, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *file) step(out io.Writer, s string) error {
	name, arg, _ := strings.Cut(s, "=")
	do := stepOf[name]
	if do == nil {
		return fmt.Errorf("no such step: %q", s)
	}
	said, err := do(f, arg)
	if errno := unix.Errno(0); err != nil && !errors.As(err, &errno) {
		return fmt.Errorf("%s: %w", s, err)
	} else if err != nil {
		said += " " + unix.ErrnoName(errno)
	}
	if said == "" {
		said = "ok"
	}
	_, err = fmt.Fprintf(out, "%s: %s\n", name, strings.TrimSpace(said))
	return err
}

var stepOf = map[string]func(f *file, arg string) (string, error){
	"open":      (*file).open,
	"write":     func(f *file, arg string) (string, error) { return f.write(arg, true) },
	"once":      func(f *file, arg string) (string, error) { return f.write(arg, false) },
	"store":     (*file).store,
	"msync":     func(f *file, _ string) (string, error) { return "", unix.Msync(f.mapped, unix.MS_SYNC) },
	"unmap":     func(f *file, _ string) (string, error) { return "", f.unmap() },
	"read":      func(f *file, _ string) (string, error) { data, err := f.read(); return pattern.Describe(data), err },
	"load":      func(f *file, _ string) (string, error) { return f.load() },
	"size":      func(f *file, _ string) (string, error) { n, err := f.size(); return strconv.FormatInt(n, 10), err },
	"truncate":  (*file).truncate,
	"fsync":     func(f *file, _ string) (string, error) { return "", unix.Fsync(f.fd) },
	"fdatasync": func(f *file, _ string) (string, error) { return "", unix.Fdatasync(f.fd) },
	"close":     func(f *file, _ string) (string, error) { return "", f.close() },
	"number":    (*file).setNumber,
	"numbers":   func(f *file, _ string) (string, error) { return f.number() },
	"mtime":     (*file).setMtime,
	"await":     func(_ *file, arg string) (string, error) { await(arg); return "", nil },
}

var openFlags = map[string]int{
	"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR, "creat": unix.O_CREAT, "trunc": unix.O_TRUNC,
	"append": unix.O_APPEND, "direct": unix.O_DIRECT, "sync": unix.O_SYNC,
}

func (f *file) open(arg string) (string, error) {
	flags := unix.O_CLOEXEC
	for word := range strings.SplitSeq(arg, ",") {
		bit, ok := openFlags[word]
		if !ok {
			return "", fmt.Errorf("no such flag: %q", word)
		}
		flags |= bit
	}
	if f.fd >= 0 {
		return "", errors.New("the file is open already")
	}
	fd, err := unix.Open(f.path, flags, 0o644)
	if err != nil {
		return "", err
	}
	f.fd = fd
	return "", nil
}

func (f *file) close() error {
	f.unmap()
	if f.fd < 0 {
		return unix.EBADF
	}
	err := unix.Close(f.fd)
	f.fd = -1
	return err
}

// painted returns the bytes of an argument and where they belong, in memory of its own pages, as
// O_DIRECT wants it. The caller unmaps them.
func painted(arg string) (data []byte, off int64, err error) {
	spans, err := pattern.ParseSpans(arg)
	if err != nil {
		return nil, 0, err
	}
	data, err = unix.Mmap(-1, 0, int(max(spans[0].Len, 1)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, 0, err
	}
	off = spans[0].Off
	for _, s := range spans {
		pattern.Fill(data[s.Off-off:s.End()-off], s.Off, s.Tag)
	}
	return data[:spans[0].Len], off, nil
}

func (f *file) write(arg string, all bool) (string, error) {
	data, off, err := painted(arg)
	if err != nil {
		return "", err
	}
	defer unix.Munmap(data[:cap(data)])
	done := 0
	for done < len(data) {
		n, err := unix.Pwrite(f.fd, data[done:], off+int64(done))
		if err != nil {
			return strconv.Itoa(done), err
		}
		done += n
		if n == 0 || !all {
			break
		}
	}
	return strconv.Itoa(done), nil
}

// guarded turns a fault of a mapping of a file into an error.
func guarded(do func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = unix.EFAULT
		}
	}()
	do()
	return nil
}

// mapAll maps the whole file, once.
func (f *file) mapAll() error {
	if f.mapped != nil {
		return nil
	}
	n, err := f.size()
	if err != nil {
		return err
	}
	f.mapped, err = unix.Mmap(f.fd, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return err
}

func (f *file) unmap() error {
	if f.mapped == nil {
		return nil
	}
	err := unix.Munmap(f.mapped)
	f.mapped = nil
	return err
}

func (f *file) store(arg string) (string, error) {
	data, off, err := painted(arg)
	if err != nil {
		return "", err
	}
	defer unix.Munmap(data[:cap(data)])
	if err := f.mapAll(); err != nil {
		return "", err
	}
	if off+int64(len(data)) > int64(len(f.mapped)) {
		return "", errors.New("behind the end of the file")
	}
	return "", guarded(func() { copy(f.mapped[off:], data) })
}

func (f *file) load() (said string, err error) {
	if err := f.mapAll(); err != nil {
		return "", err
	}
	ferr := guarded(func() { said = pattern.Describe(f.mapped) })
	return said, ferr
}

// read reads the file from its beginning to its end.
func (f *file) read() ([]byte, error) {
	var data []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Pread(f.fd, buf, int64(len(data)))
		if err != nil || n == 0 {
			return data, err
		}
		data = append(data, buf[:n]...)
	}
}

func (f *file) size() (int64, error) {
	var st unix.Stat_t
	err := unix.Fstat(f.fd, &st)
	return st.Size, err
}

func (f *file) truncate(arg string) (string, error) {
	size, err := strconv.ParseInt(arg, 10, 64)
	if err != nil {
		return "", err
	}
	return "", unix.Ftruncate(f.fd, size)
}
