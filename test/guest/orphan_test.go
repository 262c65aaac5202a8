// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// launcherEnv turns the test binary into a launcher of the guest kind that it names, which says
// the guest's process group and then does nothing.
const launcherEnv = "VIRTIOFSD_GO_TEST_LAUNCHER"

func launcher(k Kind) error {
	g, err := Start(Spec{Kind: k}, func(string, ...any) {})
	if err != nil {
		return err
	}
	fmt.Println(g.proc.cmd.Process.Pid)
	select {}
}

// TestNoOrphans kills a launcher and expects its guest to go with it.
func TestNoOrphans(t *testing.T) {
	for _, k := range []Kind{UML61, QEMU72} {
		t.Run(string(k), func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), launcherEnv+"="+string(k), "TMPDIR="+t.TempDir())
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var group int
			if _, err := fmt.Fscan(bufio.NewReader(out), &group); err != nil {
				t.Fatalf("the launcher says no process group: %v", err)
			}
			if err := unix.Kill(-group, 0); err != nil {
				t.Errorf("the guest does not run: %v", err)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("the launcher was not killed")
			}
			for end := time.Now().Add(daemonTime); !errors.Is(unix.Kill(-group, 0), unix.ESRCH); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					_ = unix.Kill(-group, unix.SIGKILL)
					t.Fatal("the guest has outlived its launcher")
				}
			}
		})
	}
}
