// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

const procSelfFD = "/proc/self/fd"

// hardened are the attributes of what is mounted in the sandbox.
const hardened = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC

// enterNamespace makes the shares all that there is in the mount namespace.
func (up setup) enterNamespace() ([]int, error) {
	if err := checkNetwork(); err != nil {
		return nil, err
	}
	// What the host mounts arrives here, and nothing of ours there.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return nil, up.refused("mounts cannot be made private", err)
	}
	proc, err := cloneTree(unix.AT_FDCWD, procSelfFD, 0)
	if err != nil {
		return nil, up.refused(procSelfFD, err)
	}
	root, err := emptyRoot()
	if err != nil {
		return nil, up.refused("an empty root", err)
	}
	if err := mountProc(root); err != nil {
		return nil, up.refused("its own /proc", err)
	}
	for i, s := range up.Shares {
		if err := s.attach(root, strconv.Itoa(i)); err != nil {
			return nil, up.refused("the shared directory "+s.Path, err)
		}
	}
	if err := pivot(root); err != nil {
		return nil, up.refused("the root directory cannot be changed", err)
	}
	if err := unix.MountSetattr(root, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return nil, up.refused("the empty root", err)
	}
	var roots []int
	for i := range up.Shares {
		fd, err := unix.Openat(root, strconv.Itoa(i), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, up.refused("a share in the sandbox", err)
		}
		roots = append(roots, fd)
	}
	return roots, errors.Join(unix.Close(root), stand(proc))
}

// refused says what to do about a step that is refused.
func (up setup) refused(what string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, errMoved):
	case errors.Is(err, unix.ENOSYS):
		hint = " (Linux 5.12 is needed)"
	case up.Private && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)):
		hint = " (the host lets users have user namespaces, but no rights in them, as Ubuntu does: sysctl kernel.apparmor_restrict_unprivileged_userns; allow it, or start the daemon as root or with --sandbox none)"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		hint = " (it needs CAP_SYS_ADMIN, and no AppArmor or SELinux rule against it, as containers have: use --sandbox chroot or none there)"
	}
	return fmt.Errorf("the sandbox cannot be made: %s: %w%s", what, err, hint)
}

// cloneTree returns an O_PATH fd of a copy of what is mounted at path, and nowhere else yet.
func cloneTree(dir int, path string, flags uint) (int, error) {
	return unix.OpenTree(dir, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags)
}

// emptyRoot puts an empty file system over the root directory and returns an fd of it.
func emptyRoot() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for _, o := range [][2]string{{"source", "virtiofsd-go"}, {"mode", "0555"}, {"size", "1M"}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, hardened)
	if err != nil {
		return -1, err
	}
	return root, unix.MoveMount(root, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// attach mounts a copy of what is at the share's path, with what is mounted below it, on a new file name
// in root.
func (s place) attach(root int, name string) error {
	tree, err := cloneTree(unix.AT_FDCWD, s.Path, unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	st, err := s.check(tree)
	if err != nil {
		return err
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: hardened}); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = unix.Mkdirat(root, name, 0o500)
	} else {
		err = unix.Mknodat(root, name, unix.S_IFREG|0o400, 0)
	}
	if err != nil {
		return err
	}
	return unix.MoveMount(tree, "", root, name, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// check tells whether fd is what the parent has seen at the share's path.
func (s place) check(fd int) (st unix.Stat_t, err error) {
	if err = unix.Fstatat(fd, "", &st, unix.AT_EMPTY_PATH); err == nil && (st.Dev != s.Dev || st.Ino != s.Ino) {
		err = errMoved
	}
	return st, err
}

// pivot makes root, which is mounted over the root directory, the root directory of all threads, and
// takes the old one out of the mount namespace, with all that is mounted there.
func pivot(root int) error {
	if err := unix.Fchdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	return unix.Unmount(".", unix.MNT_DETACH) // the old one lies over the new one now
}

// enterChroot makes the share the root directory.
func (up setup) enterChroot() ([]int, error) {
	proc, err := cloneTree(unix.AT_FDCWD, procSelfFD, 0)
	if err != nil { // without CAP_SYS_ADMIN
		proc, err = unix.Open(procSelfFD, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, err
	}
	roots, err := up.open()
	if err != nil {
		return nil, err
	}
	if err := unix.Fchdir(roots[0]); err != nil {
		return nil, fmt.Errorf("the sandbox cannot be made: the shared directory %s: %w", up.Shares[0].Path, err)
	}
	if err := unix.Chroot("."); err != nil {
		return nil, fmt.Errorf("the sandbox cannot be made: the root directory cannot be changed: %w (it needs CAP_SYS_CHROOT: use --sandbox none without it)", err)
	}
	return roots, stand(proc)
}

// open opens the shares by their paths.
func (up setup) open() (roots []int, err error) {
	for _, s := range up.Shares {
		fd, err := unix.Open(s.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err == nil {
			_, err = s.check(fd)
		}
		if err != nil {
			return nil, fmt.Errorf("the shared directory %s: %w", s.Path, err)
		}
		roots = append(roots, fd)
	}
	return roots, nil
}

// stand makes the directory of proc, which it closes, the working directory.
func stand(proc int) error {
	err := unix.Fchdir(proc)
	if err != nil {
		err = fmt.Errorf("the sandbox cannot be made: %s: %w", procSelfFD, err)
	}
	return errors.Join(err, unix.Close(proc))
}
