// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// contents are the files' contents at first.
var contents = bytes.Repeat([]byte("0123456789abcdef"), 512) // 8 KiB

// makeTree fills the directory of a scene. Each has the same files, so that scenes do not disturb each other.
func makeTree(t *testing.T, dir string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, os.Mkdir(dir, 0o777))
	for name, mode := range map[string]uint32{"file": 0o644, "suid": 0o6755, "secret": 0o600, "gone": 0o644, "kept": 0o644} {
		must(t, os.WriteFile(at(name), contents, 0o644))
		must(t, unix.Lchown(at(name), 1000, 1000))
		must(t, unix.Chmod(at(name), mode))
	}
	must(t, os.WriteFile(at("empty"), nil, 0o644))
	must(t, os.Link(at("kept"), at("hard")))
	for _, d := range []string{"dir", "full", "sticky", "setgid", "guarded"} {
		must(t, os.Mkdir(at(d), 0o777))
	}
	must(t, unix.Chmod(at("guarded"), 0o755))
	must(t, unix.Chmod(at("sticky"), 0o1777))
	must(t, unix.Lchown(at("setgid"), 0, 4321))
	must(t, unix.Chmod(at("setgid"), 0o2777))
	must(t, os.WriteFile(at("full/inner"), []byte("inner"), 0o644))
	must(t, os.Symlink("file", at("link")))
	must(t, os.Symlink("nowhere", at("dangling")))
	must(t, os.Symlink("/etc", at("outside")))
	must(t, unix.Mkfifo(at("fifo"), 0o644))
	for _, name := range []string{"file", "suid", "dir"} {
		must(t, unix.Setxattr(at(name), "user.old", []byte("old value"), 0))
	}
	must(t, unix.Setxattr(at("suid"), "security.capability", []byte(capability), 0))
	must(t, unix.Setxattr(at("suid"), "user.virtiofs.security.capability", []byte("mapped"), 0))
	makeOld(t, dir)
}

// capability is CAP_CHOWN, permitted, in revision 2 (linux/capability.h, struct vfs_cap_data).
const capability = "\x01\x00\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// makeOld sets the times of all files.
func makeOld(t *testing.T, dir string) {
	t.Helper()
	old := unix.Timespec{Sec: longAgo}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{old, old}, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

// look records a share as it is in the end. The first name of each path is its scene.
func look(r *record, share string) error {
	// All times first: the look at contents and lists moves them.
	return filepath.WalkDir(share, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == share {
			return err
		}
		rel, _ := filepath.Rel(share, path) // it is below
		scene, rest, _ := strings.Cut(rel, "/")
		return lookAt(r, place{scene, onHost + rest}, path)
	})
}

func lookAt(r *record, at place, path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	r.put(at, status, kind(st.Mode))
	r.put(at, "mode", fmt.Sprintf("%#o", st.Mode))
	r.put(at, "owner", fmt.Sprintf("%d:%d", st.Uid, st.Gid))
	r.put(at, "size", fmt.Sprint(st.Size))
	r.put(at, "links", fmt.Sprint(st.Nlink))
	r.put(at, "rdev", fmt.Sprintf("%#x", st.Rdev))
	r.put(at, "mtime", when(st.Mtim.Sec, st.Mtim.Nsec))
	if st.Mode&unix.S_IFMT != unix.S_IFDIR { // the walk has moved it
		r.put(at, "atime", when(st.Atim.Sec, st.Atim.Nsec))
	}
	inside, err := inside(path, &st)
	if err != nil {
		return err
	}
	r.put(at, "contents", inside)
	xattrs, err := attributes(path)
	if err != nil {
		return err
	}
	r.put(at, "extended attributes", xattrs)
	return nil
}

func kind(mode uint32) string {
	return map[uint32]string{unix.S_IFREG: "file", unix.S_IFDIR: "directory", unix.S_IFLNK: "link", unix.S_IFIFO: "fifo",
		unix.S_IFSOCK: "socket", unix.S_IFCHR: "character device", unix.S_IFBLK: "block device"}[mode&unix.S_IFMT]
}

// inside is a file's contents, in short.
func inside(path string, st *unix.Stat_t) (string, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return os.Readlink(path)
	case unix.S_IFREG:
		b, err := os.ReadFile(path)
		if bytes.Equal(b, contents) {
			return "as before", err
		}
		return shorten(b), err
	}
	return "", nil
}

// shorten writes repeated bytes as a count, and of what is long the start and a checksum.
func shorten(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := len(b) - len(bytes.TrimLeft(b, string(b[:1])))
		if b[0] == 0 || n > 8 {
			fmt.Fprintf(&s, "(%d of %#02x)", n, b[0])
		} else {
			s.Write(b[:n])
		}
		b = b[n:]
	}
	if text := s.String(); len(text) > 100 {
		return fmt.Sprintf("%s... (%08x)", text[:60], crc32.ChecksumIEEE([]byte(text)))
	}
	return s.String()
}

// attributes lists a file's extended attributes with their values.
func attributes(path string) (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil || n == 0 {
		return "", err
	}
	var s strings.Builder
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", path, name, err)
		}
		fmt.Fprintf(&s, "%.40s=%.40q ", name, value[:n])
	}
	return s.String(), nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
