// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// TestPeersServe: each daemon is had, says who it is, serves a file, has its processes counted,
// and ends with its VMM.
func TestPeersServe(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "virtiofsd-go")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/virtiofsd-go").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := append(Find(true, t.Logf), Ours(bin))
	if len(all) != len(kinds)+1 {
		t.Fatalf("%d peers", len(all))
	}
	for _, p := range all {
		t.Run(p.Name, func(t *testing.T) {
			if os.Geteuid() != 0 && p.Name != Self {
				if p.Err != errRoot {
					t.Errorf("without root it is %v", p.Err)
				}
				return
			}
			if p.Err != nil {
				t.Fatal(p.Err)
			}
			if !strings.Contains(p.Version, "virtiofsd") || !strings.ContainsAny(p.Version, "0123456789") {
				t.Errorf("version %q", p.Version)
			}
			for _, cache := range []string{"", "never"} {
				serve(t, p, Options{Cache: cache, XAttr: true})
			}
		})
	}
}

func serve(t *testing.T, p Peer, o Options) {
	t.Helper()
	share, socket := t.TempDir(), filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(filepath.Join(share, "f"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := p.Start(share, socket, o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Kill()
	vm, err := frontend.Connect(socket, frontend.Options{Fail: func(err error) { t.Fatal(err) }})
	if err != nil {
		t.Fatal(err)
	}
	c := vm.Start()
	c.MustInit()
	e, errno := c.Lookup(frontend.RootID, "f")
	if errno != 0 || e.Attr.Size != 4 {
		t.Errorf("LOOKUP: size %d, %v", e.Attr.Size, errno)
	}
	if got := c.SetXAttr(e.NodeId, "user.a", []byte("b"), 0); got != 0 {
		t.Errorf("SETXATTR: %v", got)
	}
	pids := d.Pids()
	if !slices.Contains(pids, d.cmd.Process.Pid) {
		t.Errorf("processes %v, without %d", pids, d.cmd.Process.Pid)
	}
	vm.Close()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("process %d of %v: %v, want that it has gone", pid, pids, err)
		}
	}
}

// TestWhatIsNotThere: a daemon that is missing, does not start or dies is told with its reason.
func TestWhatIsNotThere(t *testing.T) {
	if p := Ours("/nonexistent/virtiofsd"); p.Err == nil {
		t.Error("a program that is not there is found")
	} else if _, err := p.Start(t.TempDir(), "s", Options{}); err == nil {
		t.Error("and can be started")
	}
	k := kinds[0]
	k.installed = []string{"/nonexistent/virtiofsd"}
	if p := k.find(false, t.Logf); p.Err != errNotThere && p.Err != errRoot {
		t.Errorf("got %v", p.Err)
	}
	if _, err := cArgs("d", "s", Options{Cache: "metadata"}); err == nil {
		t.Error("the C daemon takes a policy that it has not")
	}
	p := Peer{Name: "false", command: []string{"false"}, args: rustArgs}
	if _, err := p.Start(t.TempDir(), "s", Options{}); err == nil || !strings.Contains(err.Error(), "ended at once") {
		t.Errorf("a daemon that dies: %v", err)
	}
}
