// SPDX-License-Identifier: Apache-2.0

// Package debs unpacks Debian packages beside each other into a cache: programs and kernels of
// several Debian releases on one machine, without installing them. It needs apt-get and
// dpkg-deb, and the network for what the cache does not hold yet.
package debs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Bundle names packages that are unpacked, with what they depend on, into one directory.
type Bundle struct {
	Name     string   // directory name in the cache
	Suites   []string // Debian suites to take packages from; the last one wins
	Packages []string // package names
	Prefix   string   // unpack only packages whose names start so
	Keep     bool     // keep the package files as well, in ArchivesDir of the tree
	// Finish, when set, completes the unpacked directory before it is sealed.
	Finish func(dir string) error
}

// manifest is what a sealed tree holds: damage shows as a difference.
type manifest struct {
	Packages map[string]string // package file: its SHA256
	Files    map[string]string // path: SHA256 of the content, or "-> target" of a symbolic link
}

// ManifestName is the file of a tree that lists its packages and its files with their hashes.
const ManifestName = "MANIFEST.json"

// ArchivesDir is where a tree has the package files that it is made of, if its bundle keeps them.
const ArchivesDir = "var/cache/apt/archives"

// ErrDamaged says that a tree in the cache is not what was unpacked.
var ErrDamaged = errors.New("the cached tree is damaged")

// Open returns the directory of b below cache, after it has been checked against its manifest.
// What is missing or damaged is fetched again; say is told about everything that takes long.
// Callers keep others out of the cache meanwhile.
func Open(cache string, b Bundle, say func(format string, a ...any)) (string, error) {
	dir := filepath.Join(cache, "trees", b.Name)
	err := check(dir)
	if err == nil {
		return dir, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		say("fetching %s again: %v", b.Name, err)
	}
	if err := fetch(cache, dir, b, say); err != nil {
		return "", fmt.Errorf("fetch %s: %w", b.Name, err)
	}
	return dir, nil
}

func fetch(cache, dir string, b Bundle, say func(string, ...any)) error {
	say("fetching Debian packages for %s (%s) from the machine's own archive", b.Name, b.Suites[len(b.Suites)-1])
	work := filepath.Join(cache, "fetch")
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	a, err := newApt(work, b.Suites)
	if err != nil {
		return err
	}
	files, err := a.download(b.Packages, b.Prefix)
	if err != nil {
		return err
	}
	say("unpacking %d packages for %s", len(files), b.Name)
	root := filepath.Join(work, "tree")
	if err := unpack(root, files); err != nil {
		return err
	}
	if b.Keep {
		if err := keep(root, files); err != nil {
			return err
		}
	}
	if b.Finish != nil {
		if err := b.Finish(root); err != nil {
			return err
		}
	}
	return seal(root, dir, files)
}

// unpack puts the packages' files into root, which looks like a merged-/usr system.
func unpack(root string, files []string) error {
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(filepath.Join(root, "usr", d), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+d, filepath.Join(root, d)); err != nil {
			return err
		}
	}
	for _, f := range files {
		// tar follows the links of a merged /usr only when it is told to keep them.
		sh := `dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --keep-directory-symlink --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale`
		cmd := exec.Command("bash", "-o", "pipefail", "-c", sh, "unpack", f, root)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w\n%s", filepath.Base(f), err, out)
		}
	}
	return nil
}

// keep links the package files into root.
func keep(root string, files []string) error {
	dir := filepath.Join(root, ArchivesDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Link(f, filepath.Join(dir, filepath.Base(f))); err != nil {
			return err
		}
	}
	return nil
}

// seal writes the manifest and moves the tree to its place in one step.
func seal(root, dir string, files []string) error {
	m := manifest{Packages: map[string]string{}}
	for _, f := range files {
		sum, err := HashFile(f)
		if err != nil {
			return err
		}
		m.Packages[filepath.Base(f)] = sum
	}
	var err error
	if m.Files, err = hashTree(root); err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, ManifestName), text, 0o644); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	return os.Rename(root, dir)
}

// check compares a tree with its manifest.
func check(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if err != nil {
		return err
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, ManifestName, err)
	}
	now, err := hashTree(dir)
	if err != nil {
		return err
	}
	if len(m.Files) == 0 || len(now) != len(m.Files) {
		return fmt.Errorf("%w: %d files, not %d", ErrDamaged, len(now), len(m.Files))
	}
	for p, sum := range m.Files {
		if now[p] != sum {
			return fmt.Errorf("%w: %s", ErrDamaged, p)
		}
	}
	return nil
}

// hashTree returns the sums of all files and links below dir but the manifest.
func hashTree(dir string) (map[string]string, error) {
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, dir+"/")
		switch {
		case rel == ManifestName:
		case d.Type().IsRegular():
			sums[rel], err = HashFile(path)
		case d.Type()&fs.ModeSymlink != 0:
			sums[rel], err = os.Readlink(path)
			sums[rel] = "-> " + sums[rel]
		}
		return err
	})
	return sums, err
}

// HashFile returns the SHA256 of a file in hexadecimal.
func HashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
