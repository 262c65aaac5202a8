// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// posixExcuses are the cases of posixtest that may fail or skip themselves in a guest, with the
// reason why. TestPosixWhole has none.
var posixExcuses = map[string]string{
	"XAttrLarge": "the host's ext4 keeps all attributes of a file in one block, so 64 KiB do not fit",
}

// posixCases is how many cases of posixtest run in a guest: all but one, see notHere in package posix.
func posixCases() int { return len(posixtest.All) - 1 }

var posixResult = regexp.MustCompile(`(?m)^\s+--- (PASS|FAIL|SKIP): TestPosix/(\w+) `)

// checkPosix runs go-fuse's posixtest suite in the guest.
func checkPosix(b *box, sh share, _ int) { checkPosixBut(b, sh, posixExcuses) }

// checkPosixBut is checkPosix with other excuses.
func checkPosixBut(b *box, sh share, excuses map[string]string) {
	b.t.Helper()
	out, _ := b.run(10*time.Minute, "mkdir %[1]s/posix && /tools/posixtest -test.v -dir=%[1]s/posix", sh.guest)
	results := posixResult.FindAllStringSubmatch(out, -1)
	if len(results) != posixCases() {
		b.t.Fatalf("%d cases of posixtest have run, want %d:\n%s", len(results), posixCases(), out)
	}
	for _, r := range results {
		verdict, name := r[1], r[2]
		if verdict == "PASS" {
			continue
		}
		if reason := excuses[name]; reason != "" {
			b.t.Logf("%s: %s, excused: %s", name, verdict, reason)
			continue
		}
		b.t.Errorf("%s: %s", name, verdict)
	}
	if b.t.Failed() {
		b.t.Log(out)
	}
}

// TestPosixWhole runs posixtest, every case of it, in each cache mode, on a host whose file system takes
// attributes of 64 KiB. After it, thousands of rounds of its race between opening a name and replacing it
// by a file and a link: a guest alone finds the one or the other, every time.
func TestPosixWhole(t *testing.T) {
	needRoot(t)
	times, modes := 2, []string{"never", "auto", "always"}
	if full() {
		times, modes = 5, append(modes, "metadata")
	}
	for _, k := range behaveKinds() {
		t.Run(string(k), func(t *testing.T) {
			spec, shares := Spec{Kind: k}, []share{}
			for _, mode := range modes {
				dir := t.TempDir()
				mountAt(t, dir, "-t", "tmpfs", "tmpfs")
				d := serve(t, DaemonSpec{Shared: dir, Tag: mode, Args: []string{"--cache=" + mode, "--xattr", "--posix-lock", "--flock"}})
				shares = append(shares, share{dir, "/mnt/" + mode, d})
				spec.Shares = append(spec.Shares, Share{d.Socket, mode, 1})
			}
			g := boot(t, spec)
			for _, sh := range shares {
				mode := filepath.Base(sh.guest)
				g.mount(mode)
				t.Run(mode, func(t *testing.T) {
					checkPosixBut(g.on(t), sh, nil)
					checkSymlinkRace(g.on(t), sh, times)
				})
			}
		})
	}
}

var raceResult = regexp.MustCompile(`(\w+):(\d+)`)

// checkSymlinkRace runs posixtest's OpenSymlinkRace, of 1000 rounds, so many times.
func checkSymlinkRace(b *box, sh share, times int) {
	b.t.Helper()
	out := b.mustFor(workTime, "/tools/posixtest -test.v -test.run=/OpenSymlinkRace -test.count=%d -dir=%s", times, sh.guest)
	seen, ran := map[string]int{}, 0
	for line := range strings.Lines(out) {
		_, stats, ok := strings.Cut(line, "opener stats: ")
		if !ok {
			continue
		}
		ran++
		for _, m := range raceResult.FindAllStringSubmatch(stats, -1) {
			n, err := strconv.Atoi(m[2])
			if err != nil {
				b.t.Fatal(err)
			}
			seen[m[1]] += n
		}
	}
	b.t.Logf("%d times: %v", ran, seen)
	if both := seen["empty"] > 0 && seen["resolvedSymlink"] > 0; ran != times || !both || seen["empty"]+seen["resolvedSymlink"] != 1000*times {
		b.t.Errorf("the race ran %d times, want %d, and found %v", ran, times, seen)
	}
}
