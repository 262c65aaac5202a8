// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
)

// user is the ordinary user of these tests, which has further groups.
const user = 65533

// parent makes a command of a parent with an order, as the ordinary user if it is not root.
func parent(t *testing.T, root bool, o order) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("run it as root: it starts sandboxes of several users")
	}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exe.Close() })
	cmd := exec.Command("/proc/self/fd/3") // a path to the file there may not be for that user
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Env = append(os.Environ(), parentEnv+"="+string(b), "GORACE=atexit_sleep_ms=0")
	if !root {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user, Groups: []uint32{user, user - 1}}}
	}
	return cmd
}

// run runs a parent to its end and returns what its worker saw, and the lines after it.
func run(t *testing.T, root bool, o order) (v view, more []string) {
	t.Helper()
	cmd := parent(t, root, o)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v\n%s%s", err, out, &stderr)
	}
	all := lines(string(out))
	if err := json.Unmarshal([]byte(all[0]), &v); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return v, all[1:]
}

// share makes a directory with a file, which all users can reach.
func share(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "virtiofsd-go-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{dir, filepath.Join(dir, name)} {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// outside are paths that there are on the host.
var outside = []string{"/etc", "/proc/self/maps", "/dev", "/usr", "/var/tmp", "/sys", "/tmp"}

// TestNamespace: several shares, one of them a file, as root and as others.
func TestNamespace(t *testing.T) {
	a, b := share(t, "in-a"), share(t, "in-b")
	one := []idmap.Range{{Inside: 0, Outside: user, Count: 1}}
	for _, tt := range []struct {
		name   string
		root   bool
		maps   []idmap.Range
		id     int
		groups []int
	}{
		{"root", true, nil, 0, nil},
		{"user", false, nil, user, []int{65534, user}}, // the group that is not mapped shows as the overflow id
		{"user as root", false, one, 0, []int{65534, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, more := run(t, tt.root, order{Mode: Namespace, Shares: []string{a, b, a + "/in-a"},
				UIDs: tt.maps, GIDs: tt.maps, Job: job{Paths: outside}})
			if v.PID != 1 || v.UID != tt.id || v.GID != tt.id {
				t.Errorf("process %d, user %d, group %d; want 1, %d, %d", v.PID, v.UID, v.GID, tt.id, tt.id)
			}
			slices.Sort(tt.groups)
			if slices.Sort(v.Groups); !tt.root && !slices.Equal(v.Groups, tt.groups) {
				t.Errorf("groups %v, want %v", v.Groups, tt.groups)
			}
			found := slices.DeleteFunc(v.Found, func(p string) bool { return p == "/proc/self/maps" && NeedsProc })
			if len(found) > 0 {
				t.Errorf("files of the host are there: %v", v.Found)
			}
			if want := [][]string{{"in-a"}, {"in-b"}, {"ENOTDIR"}}; fmt.Sprint(v.Roots) != fmt.Sprint(want) {
				t.Errorf("the shares have %v, want %v", v.Roots, want)
			}
			if v.FD != "<nil>" || v.Write != "EROFS" {
				t.Errorf("opening by number: %s, want success; writing to the root directory: %s, want EROFS", v.FD, v.Write)
			}
			if want := []string{"event r 0", "event e 0", "event e 1", "event e 2"}; !slices.Equal(more[1:], want) {
				t.Errorf("events %v, want %v", more[1:], want)
			}
		})
	}
}

func TestChrootAndNone(t *testing.T) {
	a := share(t, "in-a")
	v, _ := run(t, true, order{Mode: Chroot, Shares: []string{a}, Job: job{Paths: append([]string{"/in-a"}, outside...)}})
	if !slices.Equal(v.Found, []string{"/in-a"}) || v.FD != "<nil>" || !slices.Contains(v.Above[0], "in-a") {
		t.Errorf("chroot: %+v, want the share as the root directory", v)
	}
	for _, root := range []bool{true, false} {
		v, _ = run(t, root, order{Mode: None, Shares: []string{a}, Job: job{Paths: outside}})
		if !slices.Equal(v.Found, outside) || v.FD != "<nil>" || v.PID == 1 {
			t.Errorf("none: %+v, want the host's paths", v)
		}
	}
}

// A path may be relative, and lead through links.
func TestRelativeShare(t *testing.T) {
	a := share(t, "in-a")
	if err := os.Symlink(".", a+"/link"); err != nil {
		t.Fatal(err)
	}
	cmd := parent(t, true, order{Mode: Namespace, Shares: []string{"link"}})
	cmd.Dir = a
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "in-a") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRefusals(t *testing.T) {
	a := share(t, "in-a")
	far := []idmap.Range{{Inside: 1, Outside: 100000, Count: 10}}
	strangers := []idmap.Range{{Inside: 0, Outside: 4000000000, Count: 10}}
	for _, tt := range []struct {
		name string
		root bool
		o    order
		want string
	}{
		{"chroot as a user", false, order{Mode: Chroot, Shares: []string{a}}, "--sandbox chroot needs root, and this is user 65533: use namespace or none"},
		{"chroot to a file", true, order{Mode: Chroot, Shares: []string{a + "/in-a"}}, a + "/in-a is a file, and --sandbox chroot needs a directory"},
		{"chroot to two", true, order{Mode: Chroot, Shares: []string{a, a}}, "--sandbox chroot is for a single share"},
		{"maps as root", true, order{Mode: Namespace, Shares: []string{a}, UIDs: far}, "--uid-map and --gid-map are for --sandbox namespace without root's rights"},
		{"nobody for us", false, order{Mode: Namespace, Shares: []string{a}, GIDs: far}, "--gid-map has neither an id 0 inside nor the own id 65533 outside"},
		{"ids of others", false, order{Mode: Namespace, Shares: []string{a}, UIDs: strangers}, "newuidmap refuses the ids, which /etc/subuid has to give to this user: newuidmap: "},
		{"no share", true, order{Mode: Namespace, Shares: []string{a + "/no"}}, "the shared directory " + a + "/no: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := parent(t, tt.root, tt.o).CombinedOutput()
			if err == nil || !strings.HasPrefix(string(out), tt.want) || len(lines(string(out))) != 1 {
				t.Errorf("%v, output %q; want one line: %s", err, out, tt.want)
			}
		})
	}
}

// TestNoNamespaces: where they are forbidden it ends with a line that says what to do.
func TestNoNamespaces(t *testing.T) {
	a := share(t, "in-a")
	for _, tt := range []struct{ name, want, script string }{
		{"root", "the sandbox's namespaces are refused: they need CAP_SYS_ADMIN", `exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$@"`},
		{"user", "a user namespace is refused: allow it on this host (sysctl user.max_user_namespaces",
			`echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --reuid=65533 --regid=65533 --clear-groups "$@"`},
	} {
		cmd := parent(t, true, order{Mode: Namespace, Shares: []string{a}})
		cmd.Args = []string{"sh", "-c", tt.script, "sh", cmd.Path}
		cmd.Path = "/bin/sh"
		if tt.name == "user" { // in a user namespace, which has a limit of its own
			ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65534}}
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true}
		}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.HasPrefix(string(out), tt.want) || len(lines(string(out))) != 1 {
			t.Errorf("%s: %v, output %q; want one line: %s", tt.name, err, out, tt.want)
		}
	}
}

// TestMounts looks at the worker's mount table from outside.
func TestMounts(t *testing.T) {
	a, b := share(t, "in-a"), share(t, "in-b")
	for _, root := range []bool{true, false} {
		w := live(t, root, order{Mode: Namespace, Shares: []string{a, b}})
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", w.worker))
		if err != nil {
			t.Fatal(err)
		}
		var points []string
		for _, l := range lines(string(text)) {
			f := strings.Fields(l)
			points = append(points, f[4])
			for _, option := range []string{"nosuid", "nodev", "noexec"} {
				if !strings.Contains(f[5], option) {
					t.Errorf("%s without %s: %s", f[4], option, l)
				}
			}
		}
		want := []string{"/", "/0", "/1"}
		if NeedsProc {
			want = append(want, "/proc")
		}
		if slices.Sort(points); !slices.Equal(points, want) {
			t.Errorf("root %v: mounts at %v, want %v:\n%s", root, points, want, text)
		}
		for _, ns := range []string{"mnt", "pid", "net", "ipc", "uts", "user"} {
			own, _ := os.Readlink("/proc/self/ns/" + ns)
			its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", w.worker, ns))
			if same := own == its; err != nil || same != (root && ns == "user") {
				t.Errorf("root %v: %s namespace %s, %v; ours is %s", root, ns, its, err, own)
			}
		}
	}
}

// TestTogether: parent and worker end together, and how the worker ends is told.
func TestTogether(t *testing.T) {
	a := share(t, "in-a")
	for _, mode := range []Mode{Namespace, None} {
		for _, root := range []bool{true, false} {
			w := live(t, root, order{Mode: mode, Shares: []string{a}})
			pidfd, err := unix.PidfdOpen(w.worker, 0)
			if err != nil {
				t.Fatal(err)
			}
			w.cmd.Process.Kill()
			w.cmd.Wait()
			// A bound for a worker that does not end: no test is about time.
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 30_000)
			if n != 1 || err != nil {
				t.Errorf("%s, root %v: the worker outlives its parent: %d, %v", mode, root, n, err)
			}
			unix.Close(pidfd)

			w = live(t, root, order{Mode: mode, Shares: []string{a}})
			if err := unix.Kill(w.worker, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			w.cmd.Wait()
			if got := w.out.String(); !strings.HasSuffix(got, "signal SIGKILL\n") {
				t.Errorf("%s, root %v: a killed worker's parent says %q", mode, root, got)
			}
		}
	}
	cmd := parent(t, true, order{Mode: Namespace, Shares: []string{a}, Job: job{Exit: 42}})
	if cmd.Run(); cmd.ProcessState.ExitCode() != 42 {
		t.Errorf("the parent ends with %v, want the worker's code, 42", cmd.ProcessState)
	}
}

// living is a parent with a worker that waits to be ended.
type living struct {
	cmd    *exec.Cmd
	out    *output
	worker int // its process id, as seen here
}

// output hands over what has been written so far, after each write.
type output struct {
	mu    sync.Mutex
	text  []byte
	wrote chan string
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	o.wrote <- string(o.text)
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

func live(t *testing.T, root bool, o order) *living {
	t.Helper()
	o.Job.Exit = -1
	l := &living{cmd: parent(t, root, o), out: &output{wrote: make(chan string, 100)}}
	l.cmd.Stdout, l.cmd.Stderr = l.out, l.out
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l.cmd.ProcessState == nil {
			l.cmd.Process.Kill()
			l.cmd.Wait()
		}
	})
	limit := time.After(30 * time.Second) // a bound for a broken sandbox
	for {
		select {
		case text := <-l.out.wrote:
			if !strings.Contains(text, "event e 0") {
				continue
			}
			_, rest, _ := strings.Cut(text, "worker ")
			if _, err := fmt.Sscan(rest, &l.worker); err != nil {
				t.Fatalf("%v in %q", err, text)
			}
			return l
		case <-limit:
			t.Fatalf("the worker does not say that it is ready: %s", l.out)
		}
	}
}

// TestPropagation: what the host mounts below a share later is there.
func TestPropagation(t *testing.T) {
	a := share(t, "in-a")
	if err := unix.Mount(a, a, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(a, unix.MNT_DETACH)
	if err := unix.Mount("", a, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(a+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	w := live(t, true, order{Mode: Namespace, Shares: []string{a}})
	if err := unix.Mount("tmpfs", a+"/sub", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(a+"/sub", unix.MNT_DETACH)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", w.worker))
	if err != nil || !strings.Contains(string(text), " /0/sub ") {
		t.Errorf("%v; the mount is not in the sandbox:\n%s", err, text)
	}
	if err := unix.Unmount(a+"/sub", 0); err != nil {
		t.Errorf("the host cannot unmount it: %v", err)
	}
}

// TestStartTime prints how long it takes to have a worker in its sandbox.
func TestStartTime(t *testing.T) {
	a := share(t, "in-a")
	for _, root := range []bool{true, false} {
		var took []time.Duration
		for range 10 {
			begin := time.Now()
			run(t, root, order{Mode: Namespace, Shares: []string{a}})
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		t.Logf("root %v: parent and worker, from start to end: median %v, best %v", root, took[len(took)/2], took[0])
	}
}
