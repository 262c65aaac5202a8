// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// workTime is how long one workload may take.
const workTime = 20 * time.Minute

// checkFio writes with each engine, verifies in the guest and compares both sides' sums.
func checkFio(b *box, sh share, scale int) {
	engines := map[string]string{
		"psync":  "--ioengine=psync",
		"libaio": "--ioengine=libaio --iodepth=16 --direct=1",
		"mmap":   "--ioengine=mmap",
	}
	for name, options := range engines {
		b.mustFor(workTime, `cd %s && fio --name=%s --filename=fio.%[2]s %s --rw=randwrite --bs=4k-64k --size=%dM \
			--verify=crc32c --verify_fatal=1 --do_verify=1 --end_fsync=1 --randseed=1 --output-format=terse > /tmp/fio.log 2>&1 || { cat /tmp/fio.log; exit 1; }`,
			sh.guest, name, options, 100/scale)
		sum, _, _ := strings.Cut(b.must("sha256sum %s/fio.%s", sh.guest, name), " ")
		if want := hashHostFile(b.t, filepath.Join(sh.host, "fio."+name)); sum != want {
			b.t.Errorf("fio %s: the guest sees %s, the host %s", name, sum, want)
		}
	}
}

func hashHostFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// makeTree makes dirs*100 small files below root, 100 a directory.
func makeTree(t *testing.T, root string, dirs int) {
	t.Helper()
	for d := range dirs {
		dir := filepath.Join(root, fmt.Sprintf("d%02d/d%03d", d/100, d))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for f := range 100 {
			name := filepath.Join(dir, fmt.Sprintf("f%02d", f))
			writeFile(t, name, fmt.Sprintf("directory %d file %d\n%s", d, f, strings.Repeat("line\n", f)))
		}
	}
}

// checkGit makes a repository of a tree that the host wrote, clones, checks and packs it. The
// clone must be the tree, seen from the host.
func checkGit(b *box, sh share, scale int) {
	src := filepath.Join(sh.host, "src")
	makeTree(b.t, src, 100/scale)
	b.mustFor(workTime, `cd %s/src; git init -q; git add -A
		git -c user.name=n -c user.email=e commit -qm m; git -C %[1]s clone -q src clone`, sh.guest)
	b.mustFor(workTime, "cd %s/clone; git fsck --full; git gc -q; git fsck --full; test -z \"$(git status --porcelain)\"", sh.guest)
	want, got := readTree(b.t, src), readTree(b.t, filepath.Join(sh.host, "clone"))
	if len(want) != 100/scale*100 {
		b.t.Fatalf("%d files in the source", len(want))
	}
	for name, text := range want {
		if got[name] != text {
			b.t.Fatalf("the clone's %s differs", name)
		}
	}
	if len(got) != len(want) {
		b.t.Errorf("the clone has %d files, not %d", len(got), len(want))
	}
}

// readTree returns the files below root and their content, without .git.
func readTree(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == ".git" {
			return fs.SkipDir
		}
		if d.Type().IsRegular() {
			text, err := os.ReadFile(p)
			files[strings.TrimPrefix(p, root)] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// checkRemove removes a tree that the host made.
func checkRemove(b *box, sh share, scale int) {
	tree := filepath.Join(sh.host, "tree")
	makeTree(b.t, tree, 1000/scale)
	if n := strings.TrimSpace(b.mustFor(workTime, "find %s/tree -type f | wc -l", sh.guest)); n != fmt.Sprint(1000/scale*100) {
		b.t.Errorf("the guest finds %s files, not %d", n, 1000/scale*100)
	}
	b.mustFor(workTime, "rm -rf %s/tree; test ! -e %[1]s/tree", sh.guest)
	if _, err := os.Lstat(tree); !os.IsNotExist(err) {
		b.t.Errorf("the tree is still on the host: %v", err)
	}
}
