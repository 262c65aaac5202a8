// SPDX-License-Identifier: Apache-2.0

package landlock

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside is the variable that makes the test binary a process that restricts itself to two paths of
// a directory, its value, and says what it can do.
const inside = "LANDLOCK_TEST_INSIDE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(inside); dir != "" {
		os.Exit(restricted(dir))
	}
	os.Exit(m.Run())
}

// attempt is something that a restricted process tries, in a directory with share/, which it may use, the
// file single, which it may use too, and out/, which it may not.
type attempt struct {
	abi  int // the version from which on it fails, or leastABI if it does not fail at all
	want unix.Errno
	try  func(dir string, p prepared) error
}

// prepared is what a process got hold of before it was restricted.
type prepared struct {
	share, single int    // O_PATH fds
	out, dir      int    // of out/f and out
	tcp, sock     string // addresses, the second abstract
}

func open(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

func reopened(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

func dial(network, address string) error {
	domain, addr := unix.AF_UNIX, unix.Sockaddr(&unix.SockaddrUnix{Name: address})
	if network == "tcp" {
		a, err := net.ResolveTCPAddr("tcp4", address)
		if err != nil {
			return err
		}
		domain, addr = unix.AF_INET, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}
	}
	fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, addr)
}

var attempts = map[string]attempt{
	"read a file":                {leastABI, 0, func(d string, _ prepared) error { return open(d+"/share/f", unix.O_RDONLY) }},
	"write a file":               {leastABI, 0, func(d string, _ prepared) error { return open(d+"/share/f", unix.O_WRONLY) }},
	"truncate a file":            {leastABI, 0, func(d string, _ prepared) error { return unix.Truncate(d+"/share/f", 1) }},
	"list a directory":           {leastABI, 0, func(d string, _ prepared) error { return open(d+"/share", unix.O_RDONLY|unix.O_DIRECTORY) }},
	"make a file without a name": {leastABI, 0, func(d string, _ prepared) error { return open(d+"/share", unix.O_RDWR|unix.O_TMPFILE) }},
	"rename between directories": {leastABI, 0, func(d string, _ prepared) error {
		if err := unix.Rename(d+"/share/f", d+"/share/d/f"); err != nil {
			return err
		}
		return unix.Rename(d+"/share/d/f", d+"/share/f")
	}},
	"make and remove": {leastABI, 0, func(d string, _ prepared) error {
		for _, err := range []error{
			unix.Mkdir(d+"/share/new", 0o700), unix.Rmdir(d + "/share/new"),
			unix.Symlink("x", d+"/share/new"), unix.Unlink(d + "/share/new"),
			unix.Link(d+"/share/f", d+"/share/d/new"), unix.Unlink(d + "/share/d/new"),
			unix.Mknod(d+"/share/new", unix.S_IFIFO|0o600, 0), unix.Unlink(d + "/share/new"),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	"write the shared file": {leastABI, 0, func(d string, _ prepared) error { return open(d+"/single", unix.O_RDWR) }},

	"read outside":               {leastABI, unix.EACCES, func(d string, _ prepared) error { return open(d+"/out/f", unix.O_RDONLY) }},
	"write outside":              {leastABI, unix.EACCES, func(d string, _ prepared) error { return open(d+"/out/f", unix.O_WRONLY) }},
	"truncate outside":           {3, unix.EACCES, func(d string, _ prepared) error { return unix.Truncate(d+"/out/f", 1) }},
	"list outside":               {leastABI, unix.EACCES, func(d string, _ prepared) error { return open(d+"/out", unix.O_RDONLY|unix.O_DIRECTORY) }},
	"read by ..":                 {leastABI, unix.EACCES, func(d string, _ prepared) error { return open(d+"/share/../out/f", unix.O_RDONLY) }},
	"read by a link":             {leastABI, unix.EACCES, func(d string, _ prepared) error { return open(d+"/share/link", unix.O_RDONLY) }},
	"read by an fd from before":  {leastABI, unix.EACCES, func(_ string, p prepared) error { return open(reopened(p.out), unix.O_RDONLY) }},
	"list by an fd from before":  {leastABI, unix.EACCES, func(_ string, p prepared) error { return open(reopened(p.dir), unix.O_RDONLY) }},
	"read by /proc/self/root":    {leastABI, unix.EACCES, func(d string, _ prepared) error { return open("/proc/self/root"+d+"/out/f", unix.O_RDONLY) }},
	"read /proc":                 {leastABI, unix.EACCES, func(string, prepared) error { return open("/proc/1/environ", unix.O_RDONLY) }},
	"make outside":               {leastABI, unix.EACCES, func(_ string, p prepared) error { return unix.Mkdirat(p.dir, "new", 0o700) }},
	"remove outside":             {leastABI, unix.EACCES, func(_ string, p prepared) error { return unix.Unlinkat(p.dir, "f", 0) }},
	"rename to outside":          {leastABI, unix.EACCES, func(d string, _ prepared) error { return unix.Rename(d+"/share/f", d+"/out/new") }},
	"link from outside":          {leastABI, unix.EXDEV, func(d string, _ prepared) error { return unix.Link(d+"/out/f", d+"/share/new") }},
	"mount":                      {leastABI, unix.EPERM, func(d string, _ prepared) error { return unix.Mount("t", d+"/share/d", "tmpfs", 0, "") }},
	"execute":                    {leastABI, unix.EACCES, func(string, prepared) error { return unix.Exec("/bin/true", []string{"true"}, nil) }},
	"connect to a port":          {4, unix.EACCES, func(_ string, p prepared) error { return dial("tcp", p.tcp) }},
	"connect to an abstract one": {7, unix.EPERM, func(_ string, p prepared) error { return dial("unix", p.sock) }},
	"signal the parent":          {7, unix.EPERM, func(string, prepared) error { return unix.Kill(unix.Getppid(), 0) }},
}

// restricted is the process inside. Each attempt is made on a thread that was there before and on one that
// was made after, and each says what it came to.
func restricted(dir string) int {
	p := prepared{tcp: os.Getenv(inside + "_TCP"), sock: os.Getenv(inside + "_SOCK")}
	for path, fd := range map[string]*int{"/out/f": &p.out, "/out": &p.dir, "/share": &p.share, "/single": &p.single} {
		got, err := unix.Open(dir+path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		*fd = got
	}
	var before, after sync.WaitGroup
	go1, go2 := make(chan func()), make(chan func())
	onThread := func(wg *sync.WaitGroup, work <-chan func()) {
		ready := make(chan bool)
		wg.Go(func() {
			runtime.LockOSThread()
			ready <- true
			for f := range work {
				f()
			}
		})
		<-ready
	}
	onThread(&before, go1)
	if err := Restrict(p.share, p.single); err != nil {
		fmt.Println(err)
		return 1
	}
	onThread(&after, go2)
	for _, name := range slices.Sorted(maps.Keys(attempts)) {
		for where, work := range map[string]chan func(){"before": go1, "after": go2} {
			done := make(chan bool)
			work <- func() {
				err := attempts[name].try(dir, p)
				e, _ := err.(syscall.Errno)
				fmt.Printf("%s/%s=%d\n", name, where, int(e))
				done <- true
			}
			<-done
		}
	}
	close(go1)
	close(go2)
	before.Wait()
	after.Wait()
	return 0
}

// TestRestrict: what a restricted process can do, and what not, on all of its threads.
func TestRestrict(t *testing.T) {
	abi := ABI()
	if abi == 0 {
		if err := Restrict(); err != ErrMissing {
			t.Fatalf("a kernel without Landlock: %v, want %v", err, ErrMissing)
		}
		return
	}
	dir := t.TempDir()
	for _, d := range []string{"share/d", "out"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"share/f", "out/f", "single"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("data"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../out/f", filepath.Join(dir, "share/link")); err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	name := fmt.Sprintf("@landlock-test-%d", os.Getpid())
	abstract, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), inside+"="+dir, inside+"_TCP="+tcp.Addr().String(), inside+"_SOCK="+name)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, a := range attempts {
		want := a.want
		if abi < a.abi {
			want = 0
		}
		for _, where := range []string{"before", "after"} {
			line := fmt.Sprintf("%s/%s=%d\n", name, where, int(want))
			if !strings.Contains(string(out), line) {
				t.Errorf("no line %q (%v)", line, want)
			}
		}
	}
	if t.Failed() {
		t.Logf("Landlock %d, the process said\n%s", abi, out)
	}
}

// TestRulesets: a kernel is asked for nothing that it does not know.
func TestRulesets(t *testing.T) {
	for abi, want := range map[int]ruleset{
		0: {}, 1: {},
		2:  {fs: 1<<14 - 1},
		3:  {fs: 1<<15 - 1},
		4:  {fs: 1<<15 - 1, net: 3},
		6:  {fs: 1<<16 - 1, net: 3},
		7:  {fs: 1<<16 - 1, net: 3, scoped: 3},
		9:  {fs: 1<<17 - 1, net: 3, scoped: 3},
		10: {fs: 1<<17 - 1, net: 15, scoped: 3},
		99: {fs: 1<<17 - 1, net: 15, scoped: 3},
	} {
		if got := rulesetOf(abi); got != want {
			t.Errorf("version %d: %+x, want %+x", abi, got, want)
		}
	}
	if got, want := Covers(4), "files, truncation, TCP"; got != want {
		t.Errorf("version 4 covers %q, want %q", got, want)
	}
}
