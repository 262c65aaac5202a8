// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
	"github.com/virtiofsd-go/virtiofsd-go/test/peers"
)

// confinement is what /proc tells of a process that serves a guest.
type confinement struct {
	effective, bounding, ambient uint64   // capabilities
	noNewPrivs                   bool     // of all threads
	filtered                     bool     // all threads have a seccomp filter
	groups                       int      // supplementary ones
	own                          []string // namespaces that are not those of this test
	mounts                       int
	writeExec                    int // mappings
	threads                      int
}

// namespaces are those that a sandbox can have of its own, by their names in /proc.
var namespaces = []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}

func confinementOf(t *testing.T, pid int) (c confinement) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/", pid)
	tasks, err := filepath.Glob(dir + "task/*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads of process %d: %v", pid, err)
	}
	c.noNewPrivs, c.filtered, c.threads = true, true, len(tasks)
	for _, task := range tasks {
		s := statusOf(t, task)
		if s == nil {
			continue // has ended
		}
		c.effective |= capSet(s["CapEff"])
		c.bounding |= capSet(s["CapBnd"])
		c.ambient |= capSet(s["CapAmb"])
		c.noNewPrivs = c.noNewPrivs && s["NoNewPrivs"] == "1"
		c.filtered = c.filtered && s["Seccomp"] == "2"
		c.groups = max(c.groups, len(strings.Fields(s["Groups"])))
	}
	for _, ns := range namespaces {
		mine, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		if theirs, err := os.Readlink(dir + "ns/" + ns); err != nil || theirs != mine {
			c.own = append(c.own, ns)
		}
	}
	c.mounts = strings.Count(mustRead(t, dir+"mountinfo"), "\n")
	for line := range strings.Lines(mustRead(t, dir+"maps")) {
		if f := strings.Fields(line); strings.Contains(f[1], "wx") {
			c.writeExec++
		}
	}
	return c
}

// statusOf reads a /proc/.../status file; nil when the thread has ended.
func statusOf(t *testing.T, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	s := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			s[k] = strings.TrimSpace(v)
		}
	}
	return s
}

func capSet(s string) uint64 {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		panic(err) // the kernel's own format
	}
	return n
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestConfinementBesideThePeer starts this daemon and the Rust virtiofsd as users do, with a guest, and
// prints what confines their workers. What is expected of this one is checked.
func TestConfinementBesideThePeer(t *testing.T) {
	bin, err := realDaemon()
	if err != nil {
		t.Fatal(err)
	}
	all := append([]peers.Peer{peers.Ours(bin)}, peers.Find(true, t.Logf)...)
	table := fmt.Sprintf("%-6s %-18s %-18s %-12s %-8s %-7s %-28s %-7s %-4s %s",
		"", "effective caps", "bounding caps", "no new privs", "seccomp", "groups", "own namespaces", "mounts", "w+x", "threads")
	for _, p := range all {
		if p.Name == peers.C {
			continue // of QEMU 7.2, and gone
		}
		c := serving(t, p)
		table += fmt.Sprintf("\n%-6s %-18s %-18s %-12v %-8v %-7d %-28s %-7d %-4d %d", p.Name,
			fmt.Sprintf("%#x (%d)", c.effective, bits.OnesCount64(c.effective)), fmt.Sprintf("%#x (%d)", c.bounding, bits.OnesCount64(c.bounding)),
			c.noNewPrivs, c.filtered, c.groups, strings.Join(c.own, " "), c.mounts, c.writeExec, c.threads)
		if p.Name == peers.Self {
			checkOurs(t, c)
		}
	}
	t.Logf("what confines the process that serves a guest\n%s", table)
}

// serving looks at the last of a daemon's processes while it serves a guest.
func serving(t *testing.T, p peers.Peer) confinement {
	t.Helper()
	sock := filepath.Join(t.TempDir(), "sock")
	d, err := p.Start(newScene(t).share, sock, peers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Kill()
	vm, g := guestOn(t, sock, frontend.Options{Memory: []frontend.MemSpec{{Size: 4 << 20}}})
	defer vm.Close()
	if _, errno := g.GetAttr(frontend.RootID); errno != 0 {
		t.Fatalf("%s: GETATTR: %v", p.Name, errno)
	}
	pids := d.Pids()
	return confinementOf(t, pids[len(pids)-1])
}

// checkOurs holds the daemon against the layers that it has by default.
func checkOurs(t *testing.T, c confinement) {
	t.Helper()
	const may = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID |
		1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID | 1<<unix.CAP_MKNOD | 1<<unix.CAP_SETFCAP
	if c.effective&^may != 0 || c.bounding != 0 || c.ambient != 0 || !c.noNewPrivs {
		t.Errorf("more rights than serving needs: %+v", c)
	}
	if c.writeExec > 0 || c.groups > 0 {
		t.Errorf("memory to write and execute, or groups: %+v", c)
	}
	if strings.Contains(defaultLayers, byNamespaces) {
		for _, ns := range []string{"ipc", "mnt", "net", "pid", "uts"} {
			if !slices.Contains(c.own, ns) {
				t.Errorf("the worker is in the host's %s namespace", ns)
			}
		}
	}
	if strings.Contains(defaultLayers, byFilter) && !c.filtered {
		t.Error("a thread has no seccomp filter")
	}
}
