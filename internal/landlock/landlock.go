// SPDX-License-Identifier: Apache-2.0

// Package landlock restricts the process to directories by Landlock (Linux
// Documentation/userspace-api/landlock.rst): what lies elsewhere cannot be opened for data, changed,
// made or removed, by whatever way it was come by, an O_PATH fd or a file handle included. O_PATH
// opens, stat(2), and changes of mode, owner and attributes it does not restrict.
//
// The kernel follows a file's directories up to one that is allowed. A file that was opened by
// handle (open_by_handle_at(2)) has none as long as nobody has looked its name up, and is refused: no file
// handles can be used under Landlock.
package landlock

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// leastABI is the version from which on renames and links between directories can be allowed: Linux 5.19.
const leastABI = 2

// ErrMissing: the kernel has no Landlock that is of use, or it was not enabled at boot.
var ErrMissing = errors.New("the kernel has no Landlock, or one before Linux 5.19")

// ABI is the version of Landlock that the kernel has; 0 if it has none that is of use.
func ABI() int {
	if v := version(); v >= leastABI {
		return v
	}
	return 0
}

// Rights to a file, and those that only a directory has.
const (
	fileRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	dirRights  = unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
)

// since says which version of Landlock brought what is refused unless a rule allows it.
var since = []struct {
	abi  int
	what string
	ruleset
}{
	{leastABI, "files", ruleset{fs: fileRights&^unix.LANDLOCK_ACCESS_FS_TRUNCATE | dirRights | unix.LANDLOCK_ACCESS_FS_EXECUTE}},
	{3, "truncation", ruleset{fs: unix.LANDLOCK_ACCESS_FS_TRUNCATE}},
	{4, "TCP", ruleset{net: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP}},
	{5, "ioctl of devices", ruleset{fs: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV}},
	// Version 6 has these, but there threads that are restricted already could not signal those that
	// are about to be, which is how all of them are (Linux erratum 2 of it).
	{7, "signals and abstract sockets", ruleset{scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL}},
	{9, "unix sockets", ruleset{fs: unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX}},
	{10, "UDP", ruleset{net: unix.LANDLOCK_ACCESS_NET_BIND_UDP | unix.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP}},
}

// ruleset is what is refused.
type ruleset struct{ fs, net, scoped uint64 }

func rulesetOf(abi int) (r ruleset) {
	for _, s := range since {
		if s.abi <= abi {
			r.fs, r.net, r.scoped = r.fs|s.fs, r.net|s.net, r.scoped|s.scoped
		}
	}
	return r
}

// Covers says what a kernel with a version of Landlock restricts.
func Covers(abi int) string {
	var all []string
	for _, s := range since {
		if s.abi <= abi {
			all = append(all, s.what)
		}
	}
	return strings.Join(all, ", ")
}

// Restrict restricts all threads of the process, now and for ever, to read and change what lies below
// the directories of the fds roots; one of them can be a regular file, too. Devices there take no ioctl(2), and
// programs are not executed. Nothing else can be opened, no TCP or UDP port be used, and nothing outside
// be signalled or connected to by a unix socket, as far as the kernel knows of that. It sets no_new_privs.
// ErrMissing: nothing has happened.
func Restrict(roots ...int) error {
	abi := ABI()
	if abi == 0 {
		return ErrMissing
	}
	r := rulesetOf(abi)
	fd, err := create(r)
	if err != nil {
		return fmt.Errorf("landlock_create_ruleset: %w", err)
	}
	defer unix.Close(fd)
	for _, root := range roots {
		if err := allow(fd, root, r.fs&(fileRights|dirRights)); err != nil {
			return fmt.Errorf("landlock_add_rule: %w", err)
		}
	}
	if tasks := openTasks(); tasks >= 0 {
		defer unix.Close(tasks)
		if err := allow(fd, tasks, unix.LANDLOCK_ACCESS_FS_READ_DIR); err != nil {
			return fmt.Errorf("landlock_add_rule: %w", err)
		}
	}
	return restrict(fd)
}

// allow makes the rule for the file of fd: of the rights, those that its kind of file has.
func allow(ruleset, fd int, rights uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= fileRights
	}
	return addRule(ruleset, fd, rights)
}
