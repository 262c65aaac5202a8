// SPDX-License-Identifier: Apache-2.0

package launchers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// patience is how long a test waits for what has to happen; it passes only in failures.
const patience = 30 * time.Second

// What is in each share from the start.
const (
	greeting = "greeting"
	content  = "hello from the host\n"
)

func TestLaunchers(t *testing.T) {
	s := newSurroundings(t)
	for _, l := range launchers {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			run := s.start(t, l)
			run.waitReady()
			g := run.boot()
			g.use(l.readonly)
			if l.then != nil {
				l.then(t, g)
			}
			if l.kill {
				run.kill()
				return
			}
			g.vm.Close()
			run.ended()
		})
	}
}

// surroundings are what launchers find on a host: the daemon, users and groups.
type surroundings struct {
	dir    string // for all users to search
	binary string
	plain  string // the same program as it is released, without the race detector
	etc    string // takes the place of /etc, where the daemon runs
}

// kvmGroup is the number of the group kvm in these surroundings.
const kvmGroup = 36

func newSurroundings(t *testing.T) *surroundings {
	t.Helper()
	dir, err := os.MkdirTemp("", "launchers")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &surroundings{dir: dir, binary: filepath.Join(dir, "virtiofsd"), plain: filepath.Join(dir, "virtiofsd-plain"), etc: filepath.Join(dir, "etc")}
	must(t, os.Chmod(dir, 0o755))
	build := exec.Command("go", "build", "-race", "-o", s.binary, "../../cmd/virtiofsd-go")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	build = exec.Command("go", "build", "-race=false", "-o", s.plain, "../../cmd/virtiofsd-go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	must(t, os.Mkdir(s.etc, 0o755))
	for name, text := range map[string]string{
		"passwd": "root:x:0:0::/root:/bin/sh\nqemu:x:107:107::/:/bin/sh\nperson:x:1000:1000::/:/bin/sh\n",
		"group":  fmt.Sprintf("root:x:0:\nkvm:x:%d:\nqemu:x:107:\nperson:x:1000:\n", kvmGroup),
		"subuid": "person:100000:65536\n",
		"subgid": "person:100000:65536\n",
	} {
		must(t, os.WriteFile(filepath.Join(s.etc, name), []byte(text), 0o644))
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run is one daemon that was started as a launcher does.
type run struct {
	launcher
	t      *testing.T
	cmd    *exec.Cmd
	dir    string // the share
	socket string
	output *output
	done   chan struct{} // closed when the daemon has ended
}

// output is what the daemon prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start makes a share and starts the daemon on it. It is killed at the test's end if it still runs.
func (s *surroundings) start(t *testing.T, l launcher) *run {
	t.Helper()
	base, err := os.MkdirTemp(s.dir, "run")
	must(t, err)
	r := &run{launcher: l, t: t, dir: filepath.Join(base, "share"), socket: filepath.Join(base, "sock"), output: &output{}, done: make(chan struct{})}
	must(t, os.Mkdir(r.dir, 0o755))
	must(t, os.WriteFile(filepath.Join(r.dir, greeting), []byte(content), 0o644))
	for _, p := range []string{base, r.dir, filepath.Join(r.dir, greeting)} {
		must(t, os.Lchown(p, l.user, l.user))
	}
	r.cmd = exec.Command("unshare", append(s.wrap(l), r.commandLine()...)...)
	binary := s.binary
	if strings.Contains(l.args, "chroot") { // which there is only without cgo
		binary = s.plain
	}
	r.cmd.Env = append(append(os.Environ(), "BINARY="+binary, "ETC="+s.etc, "GORACE=atexit_sleep_ms=0"), l.env...)
	if l.cwd {
		r.cmd.Dir = r.dir
	}
	r.cmd.Stdout, r.cmd.Stderr = r.output, r.output
	if l.fd > 0 {
		r.cmd.ExtraFiles = make([]*os.File, l.fd-2)
		r.cmd.ExtraFiles[l.fd-3] = r.listen()
	}
	must(t, r.cmd.Start())
	go func() { defer close(r.done); r.cmd.Wait() }() // how it ended is in ProcessState
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		<-r.done
		if t.Failed() {
			t.Logf("%s\nprinted:\n%s", r.cmd, r.output)
		}
	})
	return r
}

// wrap is the command before the daemon's arguments: it puts our /etc in place, becomes the user,
// and then the daemon, in one process.
func (s *surroundings) wrap(l launcher) []string {
	script := `mount --bind "$ETC" /etc && export LISTEN_PID=$$ && exec `
	if l.user != root {
		script += fmt.Sprintf("setpriv --reuid=%d --regid=%d --clear-groups --inh-caps=-all ", l.user, l.user)
	}
	if l.userns {
		script += "unshare --user --map-root-user "
	}
	return []string{"--mount", "sh", "-c", script + `"$BINARY" "$@"`, "sh"}
}

// commandLine fills the launcher's arguments in.
func (r *run) commandLine() []string {
	fill := strings.NewReplacer("{dir}", r.dir, "{socket}", r.socket, "{fd}", strconv.Itoa(r.fd),
		"{nproc}", strconv.Itoa(runtime.NumCPU()), "{nofile}", strconv.FormatUint(fileLimit(r.t), 10))
	args := strings.Fields(r.args)
	for i := range args {
		args[i] = fill.Replace(args[i])
	}
	return args
}

// fileLimit is what launchers ask for, or what the host allows if that is less.
func fileLimit(t *testing.T) uint64 {
	t.Helper()
	var l unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &l))
	return min(1048576, l.Max)
}

// listen makes the socket that the daemon inherits.
func (r *run) listen() *os.File {
	r.t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(r.t, err)
	f := os.NewFile(uintptr(fd), "listening socket")
	r.t.Cleanup(func() { f.Close() })
	must(r.t, unix.Bind(fd, &unix.SockaddrUnix{Name: r.socket}))
	must(r.t, unix.Listen(fd, 1))
	return f
}

// waitReady waits for the launcher's sign.
func (r *run) waitReady() {
	r.t.Helper()
	there := map[string]func() bool{
		inherited:  func() bool { return true },
		socketFile: func() bool { return exists(r.socket) },
		pidFile:    func() bool { return exists(r.socket + ".pid") },
		logLine:    func() bool { return strings.Contains(r.output.String(), "Waiting for vhost-user socket connection...") },
	}[r.ready]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !there() {
		select {
		case <-r.done:
			r.t.Fatalf("the daemon ended: %v", r.cmd.ProcessState)
		case <-ctx.Done():
			r.t.Fatalf("no %s", r.ready)
		case <-time.After(5 * time.Millisecond):
		}
	}
	if r.ready == pidFile {
		pid, err := os.ReadFile(r.socket + ".pid")
		if want := fmt.Sprintln(r.cmd.Process.Pid); err != nil || string(pid) != want && string(pid) != "" {
			r.t.Errorf("the pid file has %q, %v; want %q", pid, err, want)
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// boot starts a VM on the share, whose guest mounts it. A launcher whose VMM is too early for the
// socket lets it try again.
func (r *run) boot() *guest {
	r.t.Helper()
	o := frontend.Options{VMM: r.vmm, Timeout: patience, Fail: func(err error) { r.t.Helper(); r.t.Fatal(err) }}
	stop := time.Now().Add(patience)
	for {
		vm, err := frontend.Connect(r.socket, o)
		if err == nil {
			r.t.Cleanup(vm.Close)
			g := &guest{Driver: vm.Start(), t: r.t, run: r, vm: vm}
			g.MustInit()
			return g
		}
		early := errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
		if !early || time.Now().After(stop) {
			r.t.Fatalf("connecting: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ended waits for the daemon's end after its VMM has gone.
func (r *run) ended() {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatal("the daemon does not end with its VMM")
	}
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		r.t.Errorf("it ended with %v, want exit code 0", r.cmd.ProcessState)
	}
	if own := r.fd == 0; exists(r.socket) == own || exists(r.socket+".pid") {
		r.t.Errorf("own socket: %v; it is there: %v; a pid file: %v", own, exists(r.socket), exists(r.socket+".pid"))
	}
}

// kill ends the daemon as runtimes do that do not wait for it, and the next one can take its place.
func (r *run) kill() {
	r.t.Helper()
	must(r.t, r.cmd.Process.Kill())
	<-r.done
	if !exists(r.socket) {
		r.t.Error("the killed daemon has left no socket: this tests nothing")
	}
	next := exec.Command(r.cmd.Path, r.cmd.Args[1:]...)
	next.Env, next.Dir = r.cmd.Env, r.cmd.Dir
	again := &run{launcher: r.launcher, t: r.t, cmd: next, dir: r.dir, socket: r.socket, output: &output{}, done: make(chan struct{})}
	next.Stdout, next.Stderr = again.output, again.output
	must(r.t, next.Start())
	go func() { defer close(again.done); next.Wait() }()
	defer next.Process.Kill()
	again.waitReady()
	g := again.boot()
	g.use(r.readonly)
	g.vm.Close()
	again.ended()
}
