// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// firstMtime is the time of modification, in seconds, that goes with the number 0.
const firstMtime = 1_000_000_000

// Writes of each party while others follow, and the least number of changes that each of them must
// have seen: it looks as fast as it can.
const (
	mtimeWrites = 20
	mtimeSeen   = 10
)

// checkMtime has everybody write numbers, each followed by a time of modification that says the
// same number, while both guests ask for that time and then read: they must never read a smaller
// number than the time has told them.
func checkMtime(t *testing.T, all []party) {
	all[0].io(t, "open=rw,creat", "number=0", fmt.Sprintf("mtime=%d", firstMtime), "close")
	var cmds []*Command
	for _, p := range all[1:] {
		b := p.b.on(t)
		b.must("rm -f /tmp/stop")
		cmd, err := b.Go("/tools/agent follow "+p.path+" /tmp/stop 2>&1", workTime)
		if err != nil {
			t.Fatal(err)
		}
		b.waitLines(cmd, 1)
		cmds = append(cmds, cmd)
	}
	written := map[int64]int{} // the host's own times of modification, and the number that was written
	n := 0
	for range mtimeWrites {
		n++
		all[0].io(t, "open=rw", fmt.Sprintf("number=%d", n), "close")
		written[mtimeOf(t, all[0].path).UnixNano()] = n
		all[0].io(t, fmt.Sprintf("mtime=%d", firstMtime+n))
		time.Sleep(40 * time.Millisecond)
	}
	for _, p := range all[1:] {
		steps := []string{"open=rw"}
		for range mtimeWrites {
			n++
			steps = append(steps, fmt.Sprintf("number=%d", n), fmt.Sprintf("mtime=%d", firstMtime+n))
		}
		p.io(t, append(steps, "close")...)
	}
	for i, p := range all[1:] {
		b := p.b.on(t)
		b.must("touch /tmp/stop")
		out, code, err := b.Wait(cmds[i], commandTime)
		if err != nil || code != 0 {
			t.Fatalf("%s: status %d, %v\n%s", p.name, code, err, out)
		}
		checkFollowed(t, p.name, out, written)
	}
}

// checkFollowed holds what a guest has read against what it had been told before. A time that the
// host has set by itself may be seen while the write is under way: then all writes before are there.
func checkFollowed(t *testing.T, who, out string, written map[int64]int) {
	t.Helper()
	seen := 0
	for line := range strings.Lines(out) {
		var mtime int64
		var got int
		if _, err := fmt.Sscan(line, &mtime, &got); err != nil {
			t.Fatalf("%s says %q", who, line)
		}
		least := int(mtime/1e9) - firstMtime
		if n, ok := written[mtime]; ok {
			least = n - 1
		} else if least > 1e6 {
			continue // a guest's write: no time that says a number
		}
		seen++
		if got < least {
			t.Errorf("%s has read %d after it was told of %d", who, got, least)
		}
	}
	if seen < mtimeSeen {
		t.Errorf("%s has seen %d changes only:\n%s", who, seen, out)
	}
}
