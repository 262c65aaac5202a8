// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lockKinds are the kinds of locks that the agent can take.
var lockKinds = []string{"posix", "ofd", "flock"}

// lockers are guests and a program of the host, that lock files of one directory.
type lockers struct {
	t     *testing.T
	dir   string // of the host; /mnt/share in each guest
	agent string // on the host; /tools/agent in each guest
	boxes []*box
}

// lockArgs are the options of the guests' shares.
var lockArgs = []string{"--cache=never", "--xattr", "--posix-lock", "--flock"}

// newLockers boots guests with a daemon each.
func newLockers(t *testing.T, kinds ...Kind) *lockers {
	dir, sockets := t.TempDir(), []string{}
	for range kinds {
		sockets = append(sockets, serve(t, DaemonSpec{Shared: dir, Tag: "share", Args: lockArgs, Race: true}).Socket)
	}
	return bootLockers(t, dir, sockets, kinds)
}

// newLockersOfOne boots guests that one daemon serves.
func newLockersOfOne(t *testing.T, kinds ...Kind) *lockers {
	dir, sockets := t.TempDir(), []string{}
	d := serve(t, DaemonSpec{Shared: dir, Shares: slices.Repeat([]string{"tag=share"}, len(kinds)), Args: lockArgs, Race: true})
	for i := range kinds {
		sockets = append(sockets, d.SocketOf(i))
	}
	return bootLockers(t, dir, sockets, kinds)
}

func bootLockers(t *testing.T, dir string, sockets []string, kinds []Kind) *lockers {
	tools, err := buildTools()
	if err != nil {
		t.Fatal(err)
	}
	l := &lockers{t: t, dir: dir, agent: filepath.Join(tools, "agent")}
	for i, k := range kinds {
		b := boot(t, Spec{Kind: k, Shares: []Share{{sockets[i], "share", 1}}})
		b.mount("share")
		l.boxes = append(l.boxes, b)
	}
	return l
}

// on returns the lockers for a subtest.
func (l *lockers) on(t *testing.T) *lockers {
	sub := &lockers{t: t, dir: l.dir, agent: l.agent}
	for _, b := range l.boxes {
		sub.boxes = append(sub.boxes, b.on(t))
	}
	return sub
}

// TestLocks has two guests and the host lock the same files; the guests have daemons of their own, or shares
// of one daemon.
func TestLocks(t *testing.T) {
	pairs := [][]Kind{{UML61, UML61}}
	if full() {
		pairs = append(pairs, []Kind{UML72, QEMU10}, []Kind{QEMU11, UML72})
	}
	for _, kinds := range pairs {
		t.Run(fmt.Sprint(kinds), func(t *testing.T) { testLocks(t, newLockers(t, kinds...)) })
	}
	t.Run("one-daemon", func(t *testing.T) { testLocks(t, newLockersOfOne(t, UML61, UML61)) })
}

func testLocks(t *testing.T, l *lockers) {
	t.Run("count", func(t *testing.T) { l.on(t).count() })
	t.Run("try", func(t *testing.T) { l.on(t).try() })
	t.Run("sqlite", func(t *testing.T) { l.on(t).sqlite() })
	t.Run("killed holder", func(t *testing.T) { l.on(t).killedHolder() })
	t.Run("dead guest", func(t *testing.T) { l.on(t).deadGuest() })
}

// count has processes of both guests and of the host count in one file, each time under a lock.
func (l *lockers) count() {
	const rounds, each = 40, 2
	for _, kind := range lockKinds {
		name := "count-" + kind
		writeFile(l.t, filepath.Join(l.dir, name), fmt.Sprintf("%019d\n", 0))
		var running []*Command
		for _, b := range l.boxes {
			for range each {
				c, err := b.Go(fmt.Sprintf("/tools/agent lock %s /mnt/share/%s %d", kind, name, rounds), commandTime)
				if err != nil {
					l.t.Fatal(err)
				}
				running = append(running, c)
			}
		}
		if out, err := exec.Command(l.agent, "lock", kind, filepath.Join(l.dir, name), fmt.Sprint(rounds)).CombinedOutput(); err != nil {
			l.t.Errorf("%s on the host: %v\n%s", kind, err, out)
		}
		for i, c := range running {
			if out, code, err := l.boxes[i/each].Wait(c, commandTime); code != 0 || err != nil {
				l.t.Errorf("%s in guest %d: status %d, %v\n%s", kind, i/each, code, err, out)
			}
		}
		wantFile(l.t, filepath.Join(l.dir, name), fmt.Sprintf("%019d\n", rounds*(each*len(l.boxes)+1)))
	}
}

// try looks at a lock of one guest from the other and from the host.
func (l *lockers) try() {
	a, b := l.boxes[0], l.boxes[1]
	path := filepath.Join(l.dir, "try")
	writeFile(l.t, path, "")
	hold := l.hold(a, "flock", "try")
	if out, code := b.run(commandTime, "flock -n /mnt/share/try true"); code != 1 {
		l.t.Errorf("flock -n in the other guest: status %d\n%s", code, out)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		l.t.Errorf("flock on the host: %v", err)
	}
	hold.release()
	b.must("flock -n /mnt/share/try true")
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		l.t.Errorf("flock on the host: %v", err)
	}
	if out, code := a.run(commandTime, "flock -n /mnt/share/try true"); code != 1 {
		l.t.Errorf("flock -n in a guest, of the host's lock: status %d\n%s", code, out)
	}
}

// sqlite has both guests write to one database.
func (l *lockers) sqlite() {
	const script = `set -e; cd /mnt/share; for i in $(seq 10); do
		echo "PRAGMA busy_timeout=120000; BEGIN IMMEDIATE; INSERT INTO t SELECT coalesce(max(n), 0) + 1 FROM t; COMMIT;" | sqlite3 -bail db > /dev/null
		done`
	l.boxes[0].must(`sqlite3 /mnt/share/db "CREATE TABLE t(n INTEGER)"`)
	var running []*Command
	for _, b := range l.boxes {
		c, err := b.Go(script, commandTime)
		if err != nil {
			l.t.Fatal(err)
		}
		running = append(running, c)
	}
	for i, c := range running {
		if out, code, err := l.boxes[i].Wait(c, commandTime); code != 0 || err != nil {
			l.t.Errorf("guest %d: status %d, %v\n%s", i, code, err, out)
		}
	}
	for _, b := range l.boxes {
		out := b.must(`sqlite3 /mnt/share/db "SELECT count(*), count(DISTINCT n), max(n) FROM t; PRAGMA integrity_check"`)
		if out != "20|20|20\nok\n" {
			l.t.Errorf("the database: %s", out)
		}
	}
}

// eventually waits for what has to come to pass.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(commandTime); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// held is a process of a guest that has a lock.
type held struct {
	b    *box
	cmd  *Command
	name string
}

// hold starts a process of a guest and returns when it has a lock.
func (l *lockers) hold(b *box, kind, name string) held {
	l.t.Helper()
	cmd, err := b.Go(fmt.Sprintf("exec /tools/agent lock %s /mnt/share/%s", kind, name), 10*commandTime)
	if err != nil {
		l.t.Fatal(err)
	}
	eventually(l.t, "a lock in the guest", func() bool { return strings.Contains(cmd.output(), "locked") })
	return held{b, cmd, name}
}

// release kills the process.
func (h held) release() {
	h.b.t.Helper()
	h.b.must("pkill -KILL -f 'agent lock .*/%s$'", h.name)
	if _, code, err := h.b.Wait(h.cmd, commandTime); code != 128+int(syscall.SIGKILL) || err != nil {
		h.b.t.Errorf("the killed process: status %d, %v", code, err)
	}
}

// killedHolder: the locks of a process that is killed go to the one that waits in the other guest.
func (l *lockers) killedHolder() {
	for _, kind := range lockKinds {
		name := "killed-" + kind
		writeFile(l.t, filepath.Join(l.dir, name), "")
		first := l.hold(l.boxes[0], kind, name)
		cmd, err := l.boxes[1].Go(fmt.Sprintf("exec /tools/agent lock %s /mnt/share/%s", kind, name), 10*commandTime)
		if err != nil {
			l.t.Fatal(err)
		}
		l.boxes[1].must("sleep 1")
		if out := cmd.output(); out != "" {
			l.t.Errorf("%s: the second did not wait: %s", kind, out)
		}
		first.release()
		eventually(l.t, "the lock of the one that was killed", func() bool { return strings.Contains(cmd.output(), "locked") })
		held{l.boxes[1], cmd, name}.release()
	}
}

// deadGuest: the locks of a guest that is switched off go to the one that waits in the other.
func (l *lockers) deadGuest() {
	var waiting []*Command
	for _, kind := range lockKinds {
		name := "dead-" + kind
		writeFile(l.t, filepath.Join(l.dir, name), "")
		l.hold(l.boxes[0], kind, name)
		cmd, err := l.boxes[1].Go(fmt.Sprintf("exec /tools/agent lock %s /mnt/share/%s", kind, name), 10*commandTime)
		if err != nil {
			l.t.Fatal(err)
		}
		waiting = append(waiting, cmd)
	}
	l.boxes[1].must("sleep 1")
	for _, cmd := range waiting {
		if out := cmd.output(); out != "" {
			l.t.Errorf("a lock is had twice: %s", out)
		}
	}
	l.boxes[0].Close()
	for i, cmd := range waiting {
		eventually(l.t, "the "+lockKinds[i]+" lock of a guest that is off", func() bool { return strings.Contains(cmd.output(), "locked") })
	}
}

// TestLockOverPause: a process that waits for a lock while the VM is paused gets an error that it
// knows, and not the kernel's own of a wait to be started again.
func TestLockOverPause(t *testing.T) {
	l := newLockers(t, QEMU72)
	b := l.boxes[0]
	for _, kind := range lockKinds {
		name := "pause-" + kind
		writeFile(t, filepath.Join(l.dir, name), "")
		first := l.hold(b, kind, name)
		cmd, err := b.Go(fmt.Sprintf("exec /tools/agent lock %s /mnt/share/%s", kind, name), 10*commandTime)
		if err != nil {
			t.Fatal(err)
		}
		b.must("sleep 1")
		b.qmpDo("stop", nil)
		b.qmpDo("cont", nil)
		out, _, err := b.Wait(cmd, commandTime)
		if want := fmt.Sprintf("agent: lock: errno %d\n", unix.ENOLCK); out != want || err != nil {
			t.Errorf("%s over a pause: %q, %v, want %q", kind, out, err, want)
		}
		first.release()
	}
}
