// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/peers"
)

// TestMain lets files have the modes that they are made with.
func TestMain(m *testing.M) {
	unix.Umask(0)
	os.Exit(m.Run())
}

// TestRequests: both daemons answer all requests alike, under all option sets, and leave the same on the
// host, but for what docs/differences.md tells.
func TestRequests(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "virtiofsd-go")
	if out, err := exec.Command("go", "build", "-race", "-o", bin, "../../cmd/virtiofsd-go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	all := peers.Find(true, t.Logf)
	rust, ours := all[slices.IndexFunc(all, func(p peers.Peer) bool { return p.Name == peers.Rust })], peers.Ours(bin)
	if rust.Err != nil || ours.Err != nil {
		t.Fatal(rust.Err, ours.Err)
	}
	t.Log(rust.Version)
	used, whole := make([]bool, len(known)), 0
	for _, set := range optionSets {
		t.Run(set.String(), func(t *testing.T) {
			whole++
			for _, d := range differences(t, rust, ours, set) {
				explained := false
				for i, k := range known {
					if k.covers(set, d) {
						used[i], explained = true, true
					}
				}
				if !explained {
					t.Errorf("%s", d)
				}
			}
		})
	}
	for i, k := range known {
		if whole == len(optionSets) && !used[i] {
			t.Errorf("the known difference %+v does not occur any more", k)
		}
	}
}

// differences plays the script to both daemons at the same time.
func differences(t *testing.T, rust, ours peers.Peer, set optionSet) []difference {
	t.Helper()
	var script []scene
	words := strings.Fields(string(set))
	grouped := slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(words, g) })
	for _, sc := range scenes {
		all := sc.only == "" || !grouped && slices.Contains(groups, sc.only)
		if all || slices.Contains(words, sc.only) {
			script = append(script, sc)
		}
	}
	var records [2]*record
	t.Run("play", func(t *testing.T) {
		for i, p := range []peers.Peer{rust, ours} {
			t.Run(p.Name, func(t *testing.T) {
				t.Parallel()
				records[i] = play(t, p, set, script)
			})
		}
	})
	if records[0] == nil || records[1] == nil {
		t.FailNow() // and said why
	}
	return compare(records[0], records[1])
}
