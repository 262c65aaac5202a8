// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/pattern"
)

// reuses is how many files each mode sees vanish, by each way.
const reuses = 5

// TestPolicyReuse has files deleted and others made in their inodes: a guest that reads those must
// not get a byte of the old ones. The host's file system is ext4 with a journal, which gives a free
// inode to the next file; tmpfs counts its numbers up and uses none again.
func TestPolicyReuse(t *testing.T) {
	needRoot(t)
	root, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	mustRun(t, "mke2fs", "-q", "-t", "ext4", "-b", "4096", image, "32M")
	mountOn(t, filepath.Join(root, "ext4"), "-o", "loop", image)
	spec := Spec{Kind: UML61}
	modes := slices.DeleteFunc(plainModes(), func(m policyMode) bool { return m.noPages || m.writeback })
	for _, m := range modes {
		d := serve(t, DaemonSpec{Shared: root, Tag: m.name, Args: m.args(), Race: true})
		spec.Shares = append(spec.Shares, Share{d.Socket, m.name, 1})
	}
	g := boot(t, spec)
	for _, m := range modes {
		g.mount(m.name)
		t.Run(m.name, func(t *testing.T) {
			for i := range reuses {
				reuse(g.on(t), root, m, fmt.Sprintf("guest%d", i), func(b *box, file string) { b.must("rm %s", file) })
				reuse(g.on(t), root, m, fmt.Sprintf("host%d", i), func(b *box, file string) {
					remove(b.t, filepath.Join(root, "ext4", filepath.Base(file)))
				})
			}
		})
	}
}

// reuse lets the guest read a file, deletes it and lets the guest read another one in its inode.
func reuse(b *box, root string, m policyMode, name string, rm func(b *box, file string)) {
	b.t.Helper()
	dir := filepath.Join(root, "ext4")
	name = m.name + "." + name
	file := fmt.Sprintf("/mnt/%s/ext4/%s", m.name, name)
	old := pattern.Paint(nil, pattern.Span{Len: 30000, Tag: oldTag})
	if err := os.WriteFile(filepath.Join(dir, name), old, 0o644); err != nil {
		b.t.Fatal(err)
	}
	ino := inodeOf(b.t, filepath.Join(dir, name))
	// Twice past the guest's own pages, so that the daemon has what it keeps.
	got := b.io(file, "open=r", "read", "close", "open=r,direct", "read", "read", "close")
	if want := pattern.Describe(old); got[1] != want || got[4] != want || got[5] != want {
		b.t.Fatalf("%s: the guest reads %v, not %s", name, got, want)
	}
	rm(b, file)
	next := b.makeInInode(dir, name+".next", ino)
	// It has the same size and is a hole but for its first bytes.
	fresh := pattern.Paint(nil, pattern.Span{Len: 5000, Tag: newTag})
	if err := os.WriteFile(next, fresh, 0o644); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Truncate(next, 30000); err != nil {
		b.t.Fatal(err)
	}
	want := pattern.Describe(append(fresh, make([]byte, 25000)...))
	got = b.io(filepath.Join(filepath.Dir(file), filepath.Base(next)), "open=r", "read", "close", "open=r,direct", "read", "close")
	if got[1] != want || got[4] != want {
		b.t.Errorf("%s: another file in the same inode: the guest reads %v, the host holds %s", name, got, want)
	}
}

// makeInInode makes a file of the host in an inode that is free once the guest has forgotten it, too.
func (b *box) makeInInode(dir, name string, ino uint64) string {
	b.t.Helper()
	path := filepath.Join(dir, name)
	for end := time.Now().Add(commandTime); time.Now().Before(end); {
		for range 20 {
			writeFile(b.t, path, "")
			if inodeOf(b.t, path) == ino {
				return path
			}
			remove(b.t, path)
			time.Sleep(5 * time.Millisecond)
		}
		// What was used lately outlives the first time.
		b.must("echo 3 > /proc/sys/vm/drop_caches")
	}
	b.t.Fatalf("the inode %d is not used again", ino)
	return ""
}

func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestReuseNames keeps the names of files free of what the guest's shell takes for its own.
func TestReuseNames(t *testing.T) {
	for _, m := range policyModes {
		if strings.ContainsAny(m.name, " /,=*?") {
			t.Errorf("the mode %q", m.name)
		}
	}
}
