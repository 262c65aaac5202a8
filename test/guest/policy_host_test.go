// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// badHost is a directory below a share, of a host that refuses writes.
type badHost struct {
	name  string // of the directory
	errno string // what it refuses with
	full  bool   // it refuses what it has no room for
	spot  span   // it refuses these bytes of each file
	// arm makes the host refuse; one that is to be full has room for some pages more.
	arm func(t *testing.T, room int)
	// heal ends it. The file may have another name then; dir is where the guest sees the directory.
	heal func(b *box, dir, file string) (name string)
	// rules of --fault that make these files bad.
	rules func(files []string) []string
}

// span is a range of bytes.
type span struct{ off, end int64 }

// badSpot is where hosts that are not full refuse: it begins and ends within pages.
var badSpot = span{17000, 27000}

func noRules([]string) []string { return nil }

// badHosts are all of them, below the root of a share.
func badHosts(t *testing.T, root string) []badHost {
	return []badHost{fullTmpfs(t, root), fullExt4(t, root), badRange(t, root), badCall(t, root), badFUSE(t, root)}
}

func fullTmpfs(t *testing.T, root string) badHost {
	dir := filepath.Join(root, "tmpfs")
	mountOn(t, dir, "-t", "tmpfs", "-o", "size=8m", "tmpfs")
	return fullHost("tmpfs", dir)
}

func fullExt4(t *testing.T, root string) badHost {
	dir, image := filepath.Join(root, "ext4"), filepath.Join(t.TempDir(), "image")
	mustRun(t, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "-m", "0", "-O", "^has_journal", image, "16M")
	mountOn(t, dir, "-o", "loop", image)
	return fullHost("ext4", dir)
}

// fullHost is a small file system that is filled.
func fullHost(name, dir string) badHost {
	filler := filepath.Join(dir, "filler")
	return badHost{
		name: name, errno: "ENOSPC", full: true, rules: noRules,
		arm:  func(t *testing.T, room int) { fill(t, filler, room) },
		heal: func(b *box, _, file string) string { emptyFile(b.t, filler); return file },
	}
}

// fill lets the file take all space that there is and gives back room pages.
func fill(t *testing.T, name string, room int) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// What is promised to a file may be less than is left once it has its place on the disk, so
	// the host is full when one write more is refused right after a sync.
	for took, round := true, 0; took; round++ {
		if round == 20 {
			t.Fatalf("%s: the host takes more after each sync", name)
		}
		took = false
		for err = nil; err == nil; took = took || err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		if err := unix.Syncfs(int(f.Fd())); err != nil { // others' bytes may not have their place yet
			t.Fatal(err)
		}
	}
	at, err := f.Seek(0, 1)
	if err == nil {
		err = errors.Join(f.Truncate(at-int64(room)*4096), f.Sync())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func emptyFile(t *testing.T, name string) {
	t.Helper()
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
}

// badRange is a host on which --fault makes a range of each file bad, until it has another name. It
// takes its time to refuse: meanwhile others may look.
func badRange(t *testing.T, root string) badHost {
	mkdir(t, filepath.Join(root, "range"))
	rule := fmt.Sprintf("write path=/range/*.bad range=%d+%d delay=20ms error=EIO", badSpot.off, badSpot.end-badSpot.off)
	return badHost{
		name: "range", errno: "EIO", spot: badSpot,
		arm: func(*testing.T, int) {},
		heal: func(b *box, dir, file string) string {
			good := strings.TrimSuffix(file, ".bad") + ".good"
			b.must("cd %s; mv %s %s", dir, file, good)
			return good
		},
		rules: func([]string) []string { return []string{rule} },
	}
}

// badCall is a host on which --fault lets the first write of each file fail.
func badCall(t *testing.T, root string) badHost {
	mkdir(t, filepath.Join(root, "call"))
	return badHost{
		name: "call", errno: "EIO",
		arm:  func(*testing.T, int) {},
		heal: func(_ *box, _, file string) string { return file },
		rules: func(files []string) (rules []string) {
			for _, f := range files {
				rules = append(rules, fmt.Sprintf("write path=/call/%s nth=1 error=EIO", f))
			}
			return rules
		},
	}
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// mountOn mounts something on a new directory, for as long as the test runs. What the test starts
// later ends before.
func mountOn(t *testing.T, dir string, args ...string) {
	t.Helper()
	mkdir(t, dir)
	mountAt(t, dir, args...)
}

func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}
