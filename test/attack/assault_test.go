// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"testing"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// times is how often an attack is repeated, each time on another share of one process: what is left
// of the first time can be for good, what comes with each time is a leak.
const times = 3

// workers is how many requests of one guest the daemon carries out at once, each on a thread. Idle threads
// stay, for the next guest, with up to four mappings each.
const workers = 64

// Slack for what comes and goes by itself, and garbage that was not collected.
const (
	slackThreads  = 10
	slackMappings = 40
	slackMemory   = 32 << 20
)

// assault runs an attack against the daemon, which has another guest meanwhile, and checks that it
// lives, serves that guest and has nothing left of the attack.
func assault(t *testing.T, attack func(t *testing.T, d *daemon, sock string), args ...string) {
	t.Helper()
	bin, err := realDaemon()
	if err != nil {
		t.Fatal(err)
	}
	d := startDaemon(t, bin, times+1, args...)
	other := newNeighbour(t, d.socks[times])
	before := d.usage()
	var after [times]usage
	for i := range times {
		attack(t, d, d.socks[i])
		d.until("the attacker's fds are closed", func() bool { return d.usage().fds <= before.fds })
		after[i] = d.usage()
	}
	d.alive()
	other.check()
	t.Logf("before %+v, after the first time %+v, after all %+v", before, after[0], after[times-1])
	first, last := after[0], after[times-1]
	more := last.threads > before.threads+workers+slackThreads || last.mappings > before.mappings+4*workers+slackMappings ||
		last.anon > first.anon+slackMemory
	if more {
		t.Errorf("each attack leaves something: before %+v, then %+v", before, after)
	}
	d.alive()
}

// villainOn connects a villain.
func villainOn(t *testing.T, sock string) *villain {
	t.Helper()
	return newVillain(t, dial(t, sock))
}

// readyVillain connects a villain that behaves until its session is there.
func readyVillain(t *testing.T, sock string) *villain {
	t.Helper()
	v := villainOn(t, sock)
	v.waits = patience
	v.run([]byte{setUpRings | setUpSession})
	if v.deaf[1] {
		t.Fatal("INIT is not answered")
	}
	v.waits = time.Millisecond
	return v
}

// guestOn connects an honest VMM whose guest may do as it likes.
func guestOn(t *testing.T, sock string, o frontend.Options) (*frontend.VM, *frontend.Driver) {
	t.Helper()
	o.Fail = func(err error) { t.Helper(); t.Fatal(err) }
	if o.Memory == nil {
		o.Memory = []frontend.MemSpec{{Size: 16 << 20}}
	}
	vm, err := frontend.Connect(sock, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vm.Close)
	d := vm.Start()
	d.MustInit()
	return vm, d
}
