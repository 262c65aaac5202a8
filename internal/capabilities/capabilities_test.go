// SPDX-License-Identifier: Apache-2.0

package capabilities

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/threads"
)

// keepEnv makes the test binary a process that keeps some capabilities and prints what it then has.
const keepEnv = "CAPABILITIES_TEST_KEEP"

func TestMain(m *testing.M) {
	if os.Getenv(keepEnv) == "" {
		os.Exit(m.Run())
	}
	if err := keepAndPrint(); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}

// keepAndPrint prints the distinct states of the process's threads, of which there are some that sleep in
// the kernel and some that were started afterwards.
func keepAndPrint() error {
	stop := threads.Sleep(8)
	kept, err := Keep(Serving)
	if err != nil {
		return err
	}
	defer stop()
	defer threads.Sleep(8)()
	states := map[string]bool{}
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err != nil {
			return err
		}
		states[rights(string(status))] = true
	}
	for s := range states {
		os.Stdout.WriteString(s + "\n")
	}
	if kept&^Serving != 0 {
		os.Stdout.WriteString("kept too much\n")
	}
	return nil
}

// rights are the lines of proc_pid_status(5) about what a thread may do.
func rights(status string) string {
	var s []string
	for l := range strings.Lines(status) {
		if strings.HasPrefix(l, "Cap") || strings.HasPrefix(l, "NoNewPrivs") {
			s = append(s, strings.Join(strings.Fields(l), ""))
		}
	}
	return strings.Join(s, " ")
}

// TestKeep starts processes with the rights of several kinds of users.
func TestKeep(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("run it as root: it starts processes with several kinds of rights")
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	user := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	for _, tt := range []struct {
		name  string
		wrap  []string
		kept  Set
		bound Set // what stays in the bounding set
	}{
		{"root", nil, 0x880000db, 0},
		{"root without mknod", []string{"setpriv", "--bounding-set=-mknod", "--inh-caps=-mknod"}, 0x800000db, 0},
		{"root that may not change the bounding set", []string{"setpriv", "--bounding-set=-setpcap", "--inh-caps=-setpcap"},
			0x880000db, bounding(t) &^ Of(unix.CAP_SETPCAP)},
		{"a user", user, 0, bounding(t)},
		{"a user with capabilities", append(user, "--inh-caps=+chown,+sys_admin", "--ambient-caps=+chown,+sys_admin"),
			Of(unix.CAP_CHOWN), bounding(t)},
		{"root of a user namespace", []string{"unshare", "--user", "--map-root-user"}, 0x880000db, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append(slices.Clone(tt.wrap), "/proc/self/fd/3", "-test.run=^$")
			cmd := exec.Command(args[0], args[1:]...)
			cmd.ExtraFiles = []*os.File{exe}
			cmd.Env = append(os.Environ(), keepEnv+"=1", "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want := fmt.Sprintf("CapInh:%016x CapPrm:%016x CapEff:%016x CapBnd:%016x CapAmb:%016x NoNewPrivs:1\n", 0, tt.kept, tt.kept, tt.bound, 0)
			if string(out) != want {
				t.Errorf("the threads have\n%swant\n%s", out, want)
			}
		})
	}
}

// bounding is the bounding set of the test itself.
func bounding(t *testing.T) (s Set) {
	t.Helper()
	for n := range 64 {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		if err == nil && in == 1 {
			s |= Of(n)
		}
	}
	return s
}
