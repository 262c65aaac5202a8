// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/pattern"
)

// refusedTag is on the bytes that the host refuses, whatever requests they come in.
const refusedTag = 3

// attempts is how often a program tries each way to write.
const attempts = 10

// TestPolicySecondGuest has one guest write what the host refuses, over and over, and another one
// read the file all the time: it must never be given a byte that was refused.
func TestPolicySecondGuest(t *testing.T) {
	needRoot(t)
	t.Run("two-daemons", twoDaemons)
	t.Run("one-daemon", oneDaemon)
}

// faultsOf are the arguments that make the hosts bad.
func faultsOf(hosts []badHost) (args []string) {
	for _, h := range hosts {
		for _, rule := range h.rules(nil) {
			args = append(args, "--fault", rule)
		}
	}
	return args
}

// secondModes are those for a second guest: with writeback, and without pages, the daemon is asked the
// same whether the guest trusts it for a second or a day.
func secondModes() []policyMode {
	return slices.DeleteFunc(plainModes(), func(m policyMode) bool {
		return (m.writeback && !m.forLong || m.noPages && m.forLong) && !full()
	})
}

// twoDaemons gives each guest daemons of its own; only the writer's see faults by rules.
func twoDaemons(t *testing.T) {
	root := t.TempDir()
	hosts := []badHost{fullTmpfs(t, root), badRange(t, root), badFUSE(t, root)}
	modes := secondModes()
	var writes, reads []Share
	for _, m := range modes {
		w := serve(t, DaemonSpec{Shared: root, Tag: m.name, Args: append(m.args(), faultsOf(hosts)...), Race: true})
		r := serve(t, DaemonSpec{Shared: root, Tag: m.name, Args: m.args(), Race: true})
		writes, reads = append(writes, Share{w.Socket, m.name, 1}), append(reads, Share{r.Socket, m.name, 1})
	}
	secondGuests(t, root, hosts, writes, reads, modes, modes)
}

// oneDaemon gives both guests shares of one daemon, so that they have its pages in common, each
// in a mode of its own.
func oneDaemon(t *testing.T) {
	root := t.TempDir()
	hosts := []badHost{fullTmpfs(t, root), badRange(t, root)}
	modes := secondModes()
	others := append(modes[1:len(modes):len(modes)], modes[0])
	var shares []string
	for i, m := range modes {
		for _, o := range [][]string{m.options, others[i].options} {
			shares = append(shares, "tag="+m.name+","+strings.Join(o, ","))
		}
	}
	d := serve(t, DaemonSpec{Shared: root, Shares: shares, Args: faultsOf(hosts), Race: true})
	var writes, reads []Share
	for i, m := range modes {
		writes = append(writes, Share{d.SocketOf(2 * i), m.name, 1})
		reads = append(reads, Share{d.SocketOf(2*i + 1), m.name, 1})
	}
	secondGuests(t, root, hosts, writes, reads, modes, others)
}

// secondGuests boots the guests; the i-th shares of both go together, and the reader's has the mode
// others[i] under the name of modes[i].
func secondGuests(t *testing.T, root string, hosts []badHost, writes, reads []Share, modes, others []policyMode) {
	guest, reader := boot(t, Spec{Kind: UML61, Shares: writes}), boot(t, Spec{Kind: UML61, Shares: reads})
	for i, m := range modes {
		guest.mount(m.name)
		reader.mount(m.name)
		for _, h := range hosts {
			t.Run(m.name+"-"+others[i].name+"/"+h.name, func(t *testing.T) {
				secondGuest(guest.on(t), reader.on(t), root, m, others[i], h)
			})
		}
	}
}

// secondGuest lets the reader watch the file of one mode and host while the other one tries.
func secondGuest(guest, reader *box, root string, m, other policyMode, h badHost) {
	t := guest.t
	s := fullShapes[2] // no room: all is refused
	what := s.write.painted(refusedTag)
	if !h.full {
		s = spotShapes[0]
		what = s.write.painted(newTag) + "," + h.spot.painted(refusedTag)
	}
	dir, file := "/mnt/"+m.name+"/"+h.name, m.name+".second.bad"
	path := filepath.Join(root, h.name, file)
	makeOld(t, path, s)
	h.arm(t, s.room)
	watch := reader.watch(dir+"/"+file, refusedTag)
	for _, w := range []writer{buffered, mapped, direct} {
		guest.attempt(dir+"/"+file, what, m, w, h)
	}
	reader.stopWatch(watch)
	host, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := pattern.Describe(host)
	if tags, ok := pattern.Tags(host, 0); !ok || tags&(1<<refusedTag) != 0 {
		t.Errorf("the host holds %s", want)
	}
	for name, b := range map[string]*box{"writer": guest, "reader": reader} {
		if other.forLong && b == reader {
			continue // it may keep for a day what it has read before others wrote
		}
		if got := b.io(dir+"/"+file, "open=r", "read", "close"); got[1] != want {
			t.Errorf("the %s reads %s, the host holds %s", name, got[1], want)
		}
	}
	h.heal(guest, dir, file)
}

// attempt writes in one way what the host refuses at least in part.
func (b *box) attempt(file, what string, m policyMode, w writer, h badHost) {
	b.t.Helper()
	open, steps := w.steps(what)
	got := b.ioTimes(attempts, file, slices.Concat([]string{open}, steps, []string{"close"})...)
	for try := range slices.Chunk(got, 2+len(steps)) {
		refusal, want := try[1], h.errno
		switch {
		case m.noMapping(w):
			want = "ENODEV"
		case m.late(w):
			refusal = try[2]
		}
		if !strings.HasSuffix(refusal, want) {
			b.t.Errorf("%s: %v said %v, not %s", w, steps, try, want)
			return
		}
	}
}

// watch has a guest watch a file, and waits until it has begun to.
func (b *box) watch(file string, tag int) *Command {
	b.t.Helper()
	b.must("rm -f /tmp/stop")
	cmd, err := b.Go(fmt.Sprintf("/tools/agent watch %s /tmp/stop %d 2>&1", file, 1<<tag), workTime)
	if err != nil {
		b.t.Fatal(err)
	}
	b.waitRounds(cmd, 1)
	return cmd
}

// stopWatch ends a watch and tells what it has seen.
func (b *box) stopWatch(cmd *Command) {
	b.t.Helper()
	b.must("touch /tmp/stop")
	out, code, err := b.Wait(cmd, commandTime)
	if err != nil || code != 0 {
		b.t.Errorf("the other guest: status %d, %v\n%s", code, err, out)
		return
	}
	var rounds int
	if _, err := fmt.Sscanf(out, "round\nrounds: %d", &rounds); err != nil || rounds < attempts {
		b.t.Errorf("the other guest has looked %d times only, %v\n%s", rounds, err, out)
	}
}
