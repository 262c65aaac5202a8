// SPDX-License-Identifier: Apache-2.0

// Command probe does in a guest what shells cannot: it opens files by their handles, sets their flags,
// makes a file without a name, and looks at a file that is replaced all the time. It prints what it
// saw and exits with 1 when that is wrong.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "handle":
		return byHandle(args[1])
	case len(args) == 2 && args[0] == "nodump":
		return noDump(args[1])
	case len(args) == 2 && args[0] == "stale":
		return stale(args[1])
	case len(args) == 2 && args[0] == "tmpfile":
		return tmpfile(args[1])
	case len(args) == 3 && args[0] == "replaced":
		rounds, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return replaced(args[1], rounds)
	}
	return errors.New("usage: probe handle FILE | probe nodump FILE | probe stale FILE | probe tmpfile FILE | probe replaced FILE ROUNDS")
}

// dropCaches has the guest forget all that nobody uses.
func dropCaches() error { return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0) }

// forgotten takes the handle of a file and has the guest forget the file. The mount is kept open.
func forgotten(path string) (unix.FileHandle, *os.File, error) {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
	if err != nil {
		return h, nil, fmt.Errorf("name_to_handle_at: %w", err)
	}
	mount, err := os.Open(path[:len("/mnt/share")])
	if err != nil {
		return h, nil, err
	}
	return h, mount, dropCaches()
}

// byHandle opens a file by a handle that was taken before the guest forgot it, and reads it.
func byHandle(path string) error {
	want, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	h, mount, err := forgotten(path)
	if err != nil {
		return err
	}
	defer mount.Close()
	fd, err := unix.OpenByHandleAt(int(mount.Fd()), h, unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("open_by_handle_at: %w", err)
	}
	defer unix.Close(fd)
	got := make([]byte, len(want)+1)
	n, err := unix.Pread(fd, got, 0)
	if err != nil || string(got[:n]) != string(want) {
		return fmt.Errorf("read %q, %w; want %q", got[:max(n, 0)], err, want)
	}
	fmt.Println("the same file")
	return nil
}

// noDump sets the flag of that name of a file or directory, as chattr +d does.
func noDump(path string) error {
	const flag = 0x40 // FS_NODUMP_FL, linux/fs.h
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return fmt.Errorf("FS_IOC_GETFLAGS: %w", err)
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags|flag)); err != nil {
		return fmt.Errorf("FS_IOC_SETFLAGS: %w", err)
	}
	return nil
}

// stale opens a file by a handle after it was removed.
func stale(path string) error {
	h, mount, err := forgotten(path)
	if err != nil {
		return err
	}
	defer mount.Close()
	if err := os.Remove(path); err != nil {
		return err
	}
	// The FORGET that ends the file is on its way, on a queue of its own.
	for range 1000 {
		if err := dropCaches(); err != nil {
			return err
		}
		fd, err := unix.OpenByHandleAt(int(mount.Fd()), h, unix.O_RDONLY)
		switch {
		case err == unix.ESTALE:
			fmt.Println("stale")
			return nil
		case err != nil:
			return fmt.Errorf("open_by_handle_at of a file that is gone: %w", err)
		}
		unix.Close(fd)
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("open_by_handle_at still opens a file that is gone")
}

// replaced looks at a file, in all ways that there are, which somebody replaces all the time by
// another file, a link or nothing. None of that is ESTALE to a program.
func replaced(path string, rounds int) error {
	seen := map[string]int{}
	var st unix.Stat_t
	buf := make([]byte, 64)
	for range rounds {
		for name, look := range map[string]func() error{
			"stat":     func() error { return unix.Stat(path, &st) },
			"lstat":    func() error { return unix.Lstat(path, &st) },
			"readlink": func() error { _, err := unix.Readlink(path, buf); return err },
			"access":   func() error { return unix.Access(path, unix.R_OK) },
			"open": func() error {
				fd, err := unix.Open(path, unix.O_RDONLY, 0)
				if err == nil {
					_, err = unix.Read(fd, buf)
					unix.Close(fd)
				}
				return err
			},
		} {
			switch err := look(); err {
			case nil:
				seen[name+" ok"]++
			case unix.ENOENT, unix.EINVAL: // not there, and no link, at the moment
				seen[name+" "+unix.ErrnoName(err.(unix.Errno))]++
			default:
				return fmt.Errorf("%s: %w; before: %v", name, err, seen)
			}
		}
	}
	fmt.Println(seen)
	return nil
}

// tmpfile makes a file without a name, gives it one, and looks at it by that.
func tmpfile(path string) error {
	fd, err := unix.Open(filepath.Dir(path), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("O_TMPFILE: %w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	const text = "nameless"
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return fmt.Errorf("linkat: %w", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		return fmt.Errorf("by its name the file holds %q, %w", got, err)
	}
	return nil
}
