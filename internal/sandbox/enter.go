// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/creds"
)

// Inside is what a worker has in its sandbox.
type Inside struct {
	// Job is Spec.Job.
	Job []byte

	// Files are Spec.Files. They are the caller's.
	Files []*os.File

	// Roots are O_PATH fds of the shares, which are the caller's.
	Roots []int

	// OneID tells that there is one user and one group only: all files that are made belong to them.
	OneID bool

	Parent *Parent
}

// IsWorker tells whether the process is a worker, which has nothing to do but Enter.
func IsWorker() bool { return len(os.Args) > 0 && os.Args[0] == workerName }

// Enter takes the process into its sandbox. It is called once, first of all, on the main thread. The
// working directory is /proc/self/fd afterwards. After an error, which is one line and says what can be
// done, the process shall end.
func Enter() (*Inside, error) {
	up, err := readSetup()
	if err != nil {
		return nil, fmt.Errorf("a worker is started by the daemon only: %w", err)
	}
	conn, err := connOf(os.NewFile(parentFD, "parent"))
	if err != nil {
		return nil, fmt.Errorf("a worker is started by the daemon only: %w", err)
	}
	// top(1) and killall(1) would show the name of what was executed, which is exe.
	_ = os.WriteFile("/proc/self/comm", []byte(Comm), 0)
	in := &Inside{Job: up.Job, OneID: up.Private && !up.Mapped, Parent: &Parent{conn: conn, done: make(chan struct{})}}
	if up.Mapped {
		if err := becomeRoot(conn.Read); err != nil {
			return nil, err
		}
	}
	go in.Parent.watch()
	for i := range up.Files {
		unix.CloseOnExec(filesFD + i)
		in.Files = append(in.Files, os.NewFile(uintptr(filesFD+i), "file "+strconv.Itoa(i)))
	}
	in.Roots, err = up.enter()
	return in, err
}

func readSetup() (up setup, err error) {
	f := os.NewFile(setupFD, "setup")
	if f == nil {
		return up, os.ErrInvalid
	}
	defer f.Close()
	return up, gob.NewDecoder(f).Decode(&up)
}

// becomeRoot waits until ids are mapped and takes those of root, where they are.
func becomeRoot(read func([]byte) (int, error)) error {
	var b [1]byte
	if n, err := read(b[:]); err != nil || n != 1 {
		return errors.New("the parent has ended before ids were mapped")
	}
	// Where groups are mapped by newgidmap only: it is forbidden with the own group alone.
	if _, err := creds.LeaveGroups(); err != nil {
		return err
	}
	if err := creds.BecomeRoot(); err != nil {
		return err
	}
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0))
}

// enter takes the process into the sandbox of up.Mode.
func (up setup) enter() ([]int, error) {
	switch up.Mode {
	case Namespace:
		return up.enterNamespace()
	case Chroot:
		return up.enterChroot()
	}
	roots, err := up.open()
	if err != nil {
		return nil, err
	}
	proc, err := unix.Open(procSelfFD, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return roots, errors.Join(err, stand(proc))
}
