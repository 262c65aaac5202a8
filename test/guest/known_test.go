// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestKnownFiles has a guest know many more files at once than the daemon may have descriptors:
// a million against 20,000 at full size.
func TestKnownFiles(t *testing.T) {
	dirs, limit, mem := 20, 1000, 512
	if full() {
		dirs, limit, mem = 1000, 20000, 4096
	}
	const perDir = 1000
	sh := share{host: t.TempDir(), guest: "/mnt/share"}
	makeEmptyTree(t, sh.host, dirs, perDir)
	sh.d = serve(t, DaemonSpec{
		Shared: sh.host, Tag: "share", Args: []string{"--cache=always"},
		Wrap: []string{"prlimit", fmt.Sprintf("--nofile=%d:%d", limit, limit)},
	})
	g := boot(t, Spec{Kind: UML61, Mem: mem, Shares: []Share{{Socket: sh.d.Socket, Tag: "share"}}})
	g.mount("share")
	before := daemonMemory(t, sh.d)
	// -links asks for each file's attributes, so each is looked up and stays known.
	for range 2 {
		out := strings.TrimSpace(g.mustFor(workTime, "find %s -type f -links 1 | wc -l", sh.guest))
		if out != strconv.Itoa(dirs*perDir) {
			t.Errorf("the guest finds %s files, not %d", out, dirs*perDir)
		}
	}
	if known := g.knownInodes(); known < dirs*perDir {
		t.Errorf("the guest knows %d files only, not %d: give it more memory", known, dirs*perDir)
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", sh.d.Worker()))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d descriptors of %d; the daemon's private memory grew from %d to %d KiB", len(fds), limit, before, daemonMemory(t, sh.d))
	if len(fds) > limit*9/10 {
		t.Errorf("the daemon has %d of %d descriptors open: none left to work with", len(fds), limit)
	}
	// Files of which the daemon has long closed the descriptor, opened again by what it knows.
	g.mustFor(workTime, "cd %s; for d in d0*; do for f in $d/f*0; do echo $f > $f; done; done", sh.guest)
	for _, name := range []string{"d0000/f0000", "d0010/f0990"} {
		wantFile(t, filepath.Join(sh.host, name), name+"\n")
	}
}

// makeEmptyTree makes dirs directories of perDir empty files.
func makeEmptyTree(t *testing.T, root string, dirs, perDir int) {
	t.Helper()
	for d := range dirs {
		dir := filepath.Join(root, fmt.Sprintf("d%04d", d))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for f := range perDir {
			writeFile(t, filepath.Join(dir, fmt.Sprintf("f%04d", f)), "")
		}
	}
}

// knownInodes is the number of FUSE inodes in the guest's memory.
func (b *box) knownInodes() int {
	b.t.Helper()
	for line := range strings.SplitSeq(b.must("cat /proc/slabinfo"), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "fuse_inode" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				b.t.Fatal(err)
			}
			return n
		}
	}
	b.t.Fatal("no fuse_inode in /proc/slabinfo")
	return 0
}

// daemonMemory is the daemon's RssAnon in KiB.
func daemonMemory(t *testing.T, d *Daemon) (kib int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Worker()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
