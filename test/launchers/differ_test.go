// SPDX-License-Identifier: Apache-2.0

package launchers

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/peers"
)

// serves is the outcome of a command line with which a VMM can connect. Others are exit codes.
const serves = "serves"

// commandLines are given to the Rust virtiofsd and to this daemon. {dir} is a directory, {socket} a path
// in another one. Where ours is not empty the daemons differ, and docs/differences.md says why.
var commandLines = []struct{ args, rust, ours string }{
	{args: "", rust: "2"},
	{args: "--help", rust: "0"},
	{args: "-h", rust: "0"},
	{args: "--version", rust: "0"},
	{args: "-V", rust: "0"},
	{args: "--print-capabilities", rust: "0"},
	{args: "--shared-dir {dir}", rust: "2"},
	{args: "--socket-path {socket}", rust: "2"},
	{args: "{all}", rust: serves},
	{args: "{all} --readonly --readonly", rust: serves},
	{args: "{all} --frobnicate", rust: "2"},
	{args: "{all} extra", rust: "2"},
	{args: "{all} --shared-dir /nonexistent", rust: "1"},
	{args: "{all} --socket-path /nonexistent/s", rust: "1"},
	{args: "{all} --fd 3", rust: "2"},
	{args: "--shared-dir {dir} --fd 3 --socket-group root", rust: "2"},
	{args: "{all} --socket-group root", rust: serves},
	{args: "{all} --socket-group no-such-group", rust: "1"},
	{args: "{all} --tag 123456789012345678901234567890123456", rust: serves},
	{args: "{all} --tag 1234567890123456789012345678901234567", rust: "2"},
	{args: "{all} --tag=", rust: "2"},
	{args: "{all} --cache NEVER", rust: serves},
	{args: "{all} --cache none", rust: "2"},
	{args: "{all} --log-level LOUD", rust: "2"},
	{args: "{all} --thread-pool-size -1", rust: "2"},
	{args: "{all} --thread-pool-size 4", rust: serves},
	{args: "{all} --killpriv-v2 --no-killpriv-v2", rust: serves},
	{args: "{all} --announce-submounts --no-announce-submounts", rust: serves},
	{args: "{all} --inode-file-handles=fallback", rust: serves},
	{args: "{all} --inode-file-handles=sometimes", rust: "2"},
	{args: "{all} --posix-acl --xattr", rust: serves},
	{args: "{all} --posix-acl=auto", rust: serves},
	{args: "{all} --posix-acl auto", rust: "2"},
	{args: "{all} --posix-acl=maybe", rust: "2"},
	{args: "{all} --xattrmap bogus", rust: "2"},
	{args: "{all} --xattrmap :map::user.virtiofs.:", rust: serves},
	{args: "{all} --translate-uid bogus", rust: "2"},
	{args: "{all} --translate-uid map:0:1000:1 --translate-uid host:5:6:7", rust: serves},
	{args: "{all} --uid-map xx", rust: "2"},
	{args: "{all} --modcaps=+sys_admin:-MKNOD", rust: serves},
	{args: "{all} --rlimit-nofile 0", rust: serves},
	{args: "{all} --rlimit-nofile 9999999999", rust: "1"},
	{args: "{all} --rlimit-nofile 300", rust: "1"},
	{args: "{all} --migration-mode file-handles --migration-on-error guest-error", rust: serves},
	{args: "{all} --migration-mode bogus", rust: "2"},
	{args: "{all} -o xattr,no_posix_lock,no_flock,cache=none -d -f", rust: serves},
	{args: "{all} -o xattr=1", rust: "2"},
	{args: "{all} -o timeout=1", rust: "2"},
	{args: "{all} -o cache=bogus", rust: "2"},

	// Mistakes in a value are mistakes of usage.
	{args: "{all} --modcaps=+bogus", rust: "1", ours: "2"},
	{args: "{all} --modcaps=mknod", rust: "1", ours: "2"},
	{args: "{all} --uid-map :0:1:1:", rust: "1", ours: "2"},
	{args: "{all} --migration-mode file-handles --migration-verify-handles", rust: "1", ours: "2"},
	{args: "{all} --migration-mode file-handles --migration-confirm-paths", rust: "1", ours: "2"},
	{args: "{all} --translate-uid map:0:1000:10 --translate-uid map:5:2000:10", rust: "1", ours: "2"},
	{args: "{all} --translate-uid guest:0:4294967295:1", rust: serves, ours: "2"},
	{args: "{all} --translate-uid guest:+0:1:1", rust: serves, ours: "2"},
	{args: "{all} --translate-uid guest:1:0:4294967295", rust: "1", ours: serves},
	// It says that it waits, and then that it cannot.
	{args: "--shared-dir {dir} --fd 77 --sandbox none --seccomp none", rust: serves, ours: "1"},
	// What works here.
	{args: "{all} --modcaps=-dac_read_search", rust: "1", ours: serves},
	{args: "{all} --translate-uid map:0:1000:1 --posix-acl", rust: "1", ours: serves},
	{args: "{all} --xattrmap :ok:all:user.:user.:", rust: "101", ours: serves},
	{args: "{all} -o posix_lock,flock", rust: "2", ours: serves},
	{args: "{all} -o sandbox=none", rust: "2", ours: serves},
	// Ways to write it that are as clear.
	{args: "{all} --xattr=true", rust: "2", ours: serves},
	{args: "{all} --inode-file-handles prefer", rust: "2", ours: serves},
	{args: "{all} --log-level INFO --seccomp NONE", rust: "2", ours: serves},
}

// TestDifferences: a command line has the same outcome with both daemons, but where it is known.
func TestDifferences(t *testing.T) {
	s := newSurroundings(t)
	all := peers.Find(true, t.Logf)
	rust := all[slices.IndexFunc(all, func(p peers.Peer) bool { return p.Name == peers.Rust })]
	if rust.Err != nil {
		t.Fatal(rust.Err)
	}
	t.Log(rust.Version)
	for _, c := range commandLines {
		t.Run(c.args, func(t *testing.T) {
			if got := outcome(t, rust.Argv(), c.args); got != c.rust {
				t.Errorf("%s: %s, want %s", rust.Version, got, c.rust)
			}
			want := c.ours
			if want == "" {
				want = c.rust
			}
			if got := outcome(t, []string{s.binary}, c.args); got != want {
				t.Errorf("this daemon: %s, want %s", got, want)
			}
		})
	}
}

// outcome runs a daemon with a command line.
func outcome(t *testing.T, argv []string, args string) string {
	t.Helper()
	args = strings.Replace(args, "{all}", "--shared-dir {dir} --socket-path {socket} --sandbox none --seccomp none", 1)
	fill := strings.NewReplacer("{dir}", t.TempDir(), "{socket}", filepath.Join(t.TempDir(), "s"))
	argv = append(slices.Clone(argv), strings.Fields(args)...)
	for i := range argv {
		argv[i] = fill.Replace(argv[i])
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	r, w := io.Pipe()
	cmd.Stderr = w
	must(t, cmd.Start())
	defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop()
	ready := make(chan bool, 1)
	go func() {
		lines, seen := bufio.NewScanner(r), false
		for lines.Scan() {
			if strings.Contains(lines.Text(), "Waiting for vhost-user socket connection") {
				seen = true
				cmd.Process.Kill()
			}
		}
		io.Copy(io.Discard, r)
		ready <- seen
	}()
	cmd.Wait() // how it ended is in ProcessState
	w.Close()
	if <-ready {
		return serves
	}
	return strconv.Itoa(cmd.ProcessState.ExitCode())
}
