// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
)

// Comm is the worker's process name (proc_pid_comm(5)), which is that of the program as it is installed.
const Comm = "virtiofsd-go"

// workerName is what a worker is called in lists of processes, and how it knows itself.
const workerName = "virtiofsd-go: worker"

// Worker is a running worker, as its parent sees it. All methods but Events are for one goroutine.
type Worker struct {
	proc *os.Process
	conn *net.UnixConn
}

// Start starts a worker. The caller is on its main thread, which must live as long as the worker. All
// files of the process that the worker is not given become close-on-exec. Errors are one line and say
// what can be done.
func Start(s Spec) (*Worker, error) {
	root := os.Geteuid() == 0
	if err := s.check(root); err != nil {
		return nil, err
	}
	up, err := s.newSetup(s.Mode == Namespace && !root)
	if err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	var byHelper helped
	if s.Mode == Namespace {
		attr.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	}
	if up.Private {
		if byHelper, err = s.userNamespace(attr); err != nil {
			return nil, err
		}
		up.Mapped = byHelper.any()
	}
	w, err := s.execute(up, attr)
	if err != nil {
		return nil, s.explain(err, root)
	}
	if up.Mapped {
		if err := w.mapIDs(byHelper); err != nil {
			w.Kill()
			return nil, err
		}
	}
	return w, nil
}

// execute runs the program anew as the worker.
func (s Spec) execute(up setup, attr *syscall.SysProcAttr) (*Worker, error) {
	told, err := up.file()
	if err != nil {
		return nil, err
	}
	defer told.Close()
	conn, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	r, w, err := os.Pipe() // in the place of standard input and output, of which the worker needs nothing
	if err != nil {
		conn.Close()
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	if err := closeOnExec(); err != nil {
		conn.Close()
		return nil, err
	}
	proc, err := os.StartProcess("/proc/self/exe", append([]string{workerName}, s.Shares...), &os.ProcAttr{
		Env:   environment(),
		Files: append([]*os.File{r, w, os.Stderr, told, theirs}, s.Files...),
		Sys:   attr,
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &Worker{proc: proc, conn: conn}, nil
}

// file returns a file with the setup, to read from its beginning.
func (up setup) file() (*os.File, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(up); err != nil {
		return nil, fmt.Errorf("the worker's setup: %w", err)
	}
	fd, err := unix.MemfdCreate("setup", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "setup")
	if _, err := f.WriteAt(b.Bytes(), 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// environment is what of ours the worker shall have: the settings of the Go runtime.
func environment() (env []string) {
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "GO") {
			env = append(env, e)
		}
	}
	return env
}

// closeOnExec keeps files that we inherited, or that a library has opened, from the worker.
func closeOnExec() error {
	const first = 3
	err := unix.CloseRange(first, 1<<32-1, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	fds, err := os.ReadDir("/proc/self/fd") // before Linux 5.11
	for _, e := range fds {
		fd := 0
		if n, err := fmt.Sscan(e.Name(), &fd); n == 1 && err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
	return err
}

// explain says what to do about a worker that could not be started.
func (s Spec) explain(err error, root bool) error {
	switch {
	case s.Mode != Namespace:
		return fmt.Errorf("the worker cannot be started: %w", err)
	case root:
		return fmt.Errorf("the sandbox's namespaces are refused: they need CAP_SYS_ADMIN, which containers mostly lack (--sandbox chroot needs CAP_SYS_CHROOT only, none nothing): %w", err)
	}
	return fmt.Errorf("a user namespace is refused: allow it on this host (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone), "+
		"or start the daemon as root or with --sandbox none: %w", err)
}

// userNamespace asks for a user namespace in attr and returns the maps that a helper has to write.
func (s Spec) userNamespace(attr *syscall.SysProcAttr) (helped, error) {
	var h helped
	attr.Cloneflags |= unix.CLONE_NEWUSER
	uid, gid := os.Geteuid(), os.Getegid()
	if attr.UidMappings = ownMap(s.UIDs, uid); attr.UidMappings == nil {
		h.uids = s.UIDs
	}
	if attr.GidMappings = ownMap(s.GIDs, gid); attr.GidMappings == nil {
		h.gids = s.GIDs
	}
	for _, m := range []struct {
		option string
		ranges []idmap.Range
		own    int
	}{{"--uid-map", s.UIDs, uid}, {"--gid-map", s.GIDs, gid}} {
		if len(m.ranges) > 0 && !has(m.ranges, m.own) {
			return h, fmt.Errorf("%s has neither an id 0 inside nor the own id %d outside: the sandbox needs one of them", m.option, m.own)
		}
	}
	var err error
	attr.AmbientCaps, err = ambient()
	return h, err
}

// has tells whether a map has an id for the worker: 0 inside, or the own one.
func has(ranges []idmap.Range, own int) bool {
	for _, r := range ranges {
		if r.Inside == 0 || uint32(own)-r.Outside < r.Count {
			return true
		}
	}
	return false
}

// ownMap is the map of no range, or of one with the own id only, which everybody may write; nil for others.
func ownMap(ranges []idmap.Range, own int) []syscall.SysProcIDMap {
	switch {
	case len(ranges) == 0:
		return []syscall.SysProcIDMap{{ContainerID: own, HostID: own, Size: 1}}
	case len(ranges) == 1 && ranges[0].Count == 1 && int(ranges[0].Outside) == own:
		return []syscall.SysProcIDMap{{ContainerID: int(ranges[0].Inside), HostID: own, Size: 1}}
	}
	return nil
}

// ambient are the capabilities of the new user namespace, which a process that is not root in it would
// lose when it executes a program.
func ambient() (caps []uintptr, err error) {
	for n := range uintptr(64) {
		_, err = unix.PrctlRetInt(unix.PR_CAPBSET_READ, n, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return caps, nil // the first that the kernel does not know
		}
		if err != nil {
			return nil, os.NewSyscallError("prctl", err)
		}
		caps = append(caps, n)
	}
	return caps, nil
}
