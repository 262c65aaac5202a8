// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// fullEnv, set to 1, asks for all kinds of guests and full sizes.
const fullEnv = "VIRTIOFSD_GO_FULL"

func full() bool { return os.Getenv(fullEnv) == "1" }

// suite is one guest with the share mounted twice, by a daemon with --cache=auto and by one with
// --cache=never and locks of the host, and a size for what is done in it.
type suite struct {
	spec  Spec
	scale int // sizes are divided by this
}

func suites() []suite {
	four := func(k Kind) Spec { return Spec{Kind: k, CPUs: 4, Mem: 1024} }
	uml := func(k Kind) Spec { return Spec{Kind: k, Mem: 1024} }
	if full() {
		return []suite{{uml(UML61), 1}, {four(QEMU10), 1}, {uml(UML72), 1}, {four(QEMU11), 1}}
	}
	return []suite{{uml(UML61), 1}, {four(QEMU10), 10}}
}

// share is a directory of the host and where the guest sees it.
type share struct {
	host, guest string
	d           *Daemon
}

// TestWorkloads does in guests what people do with a share.
func TestWorkloads(t *testing.T) {
	for _, s := range suites() {
		t.Run(fmt.Sprintf("%s-%d", s.spec.Kind, s.scale), s.run)
	}
}

func (s suite) run(t *testing.T) {
	auto := share{host: t.TempDir(), guest: "/mnt/auto"}
	never := share{host: t.TempDir(), guest: "/mnt/never"}
	queues := fmt.Sprintf("--num-request-queues=%d", max(1, s.spec.CPUs))
	auto.d = serve(t, DaemonSpec{Shared: auto.host, Tag: "auto", Args: []string{"--cache=auto", "--xattr", queues}})
	never.d = serve(t, DaemonSpec{Shared: never.host, Tag: "never", Args: []string{"--cache=never", "--posix-lock", "--flock"}})
	s.spec.Shares = []Share{{auto.d.Socket, "auto", s.spec.CPUs}, {never.d.Socket, "never", 1}}
	g := boot(t, s.spec)
	for _, sh := range []share{auto, never} {
		tag := sh.guest[len("/mnt/"):]
		g.mount(tag)
		checkBothSides(g, sh.guest, sh.host)
	}
	sub := func(name string, f func(b *box, sh share, scale int), sh share) {
		t.Run(name, func(t *testing.T) { f(g.on(t), sh, s.scale) })
	}
	sub("posix", checkPosix, auto)
	sub("fio", checkFio, auto)
	sub("git", checkGit, auto)
	sub("remove", checkRemove, auto)
	sub("sqlite", checkSqlite, auto)
	sub("sqlite-never", checkSqliteNever, never)
	if !s.spec.Kind.IsUML() {
		sub("queues", func(b *box, _ share, _ int) { checkQueues(b, s.spec) }, auto)
	}
}

// checkQueues looks whether the guest has used all request queues that it has been given: a
// kernel from 6.11 on takes the queue of the CPU that asks.
func checkQueues(b *box, s Spec) {
	used := map[string]bool{}
	for line := range strings.SplitSeq(b.must("cat /proc/interrupts"), "\n") {
		f := strings.Fields(line)
		if len(f) < s.CPUs+2 || !strings.Contains(f[len(f)-1], "-requests.") {
			continue
		}
		for _, n := range f[1 : 1+s.CPUs] {
			if n != "0" {
				used[f[len(f)-1]] = true
			}
		}
	}
	if len(used) < s.CPUs {
		b.t.Errorf("%d request queues in use, not %d: %v", len(used), s.CPUs, used)
	}
}
