// SPDX-License-Identifier: Apache-2.0

package debs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// sealed makes a small sealed tree and returns its directory.
func sealed(t *testing.T, cache string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"usr/bin/a": "program a", "usr/bin/b": "program b"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("usr/bin", filepath.Join(root, "bin")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "trees", "x")
	if err := seal(root, dir, []string{filepath.Join(dir, "..", "no.deb")}); err == nil {
		t.Fatal("a package that is not there was sealed")
	}
	if err := seal(root, dir, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCheckFindsDamage(t *testing.T) {
	damage := map[string]func(dir string) error{
		"changed": func(d string) error { return os.WriteFile(d+"/usr/bin/a", []byte("program A"), 0o755) },
		"removed": func(d string) error { return os.Remove(d + "/usr/bin/a") },
		"added":   func(d string) error { return os.WriteFile(d+"/usr/bin/c", nil, 0o755) },
		"renamed": func(d string) error { return os.Rename(d+"/usr/bin/a", d+"/usr/bin/c") },
		"relinked": func(d string) error {
			return errors.Join(os.Remove(d+"/bin"), os.Symlink("usr/sbin", d+"/bin"))
		},
		"manifest cut": func(d string) error { return os.Truncate(filepath.Join(d, ManifestName), 10) },
	}
	for name, spoil := range damage {
		t.Run(name, func(t *testing.T) {
			dir := sealed(t, t.TempDir())
			if err := check(dir); err != nil {
				t.Fatalf("a sound tree: %v", err)
			}
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			if err := check(dir); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestOpenCached shows that a sound tree is used without asking apt, which would say so.
func TestOpenCached(t *testing.T) {
	cache := t.TempDir()
	want := sealed(t, cache)
	dir, err := Open(cache, Bundle{Name: "x", Suites: []string{"none"}}, t.Errorf)
	if dir != want || err != nil {
		t.Errorf("got %q, %v", dir, err)
	}
}

// TestKeep: a tree that keeps its package files has them whole, and they are sealed with it.
func TestKeep(t *testing.T) {
	work := t.TempDir()
	root, deb := filepath.Join(work, "tree"), filepath.Join(work, "a_1.deb")
	if err := errors.Join(os.Mkdir(root, 0o755), os.WriteFile(deb, []byte("package a"), 0o644)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(work, "trees", "x")
	if err := errors.Join(keep(root, []string{deb}), seal(root, dir, []string{deb}), check(dir)); err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(dir, ArchivesDir, "a_1.deb")
	if text, err := os.ReadFile(kept); err != nil || string(text) != "package a" {
		t.Errorf("kept is %q, %v", text, err)
	}
	if err := os.Remove(kept); err != nil {
		t.Fatal(err)
	}
	if err := check(dir); !errors.Is(err, ErrDamaged) {
		t.Errorf("without it the tree is sound: %v", err)
	}
}
