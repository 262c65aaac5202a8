// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
)

// The test program is a worker, too, and a parent in a process of its own that is told what to start
// (parentEnv): so parents can be other users, and be killed.

const parentEnv = "SANDBOX_TEST_PARENT"

func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	switch {
	case IsWorker():
		os.Exit(workerMain())
	case os.Getenv(parentEnv) != "":
		os.Exit(parentMain())
	}
	// Processes of other users have to reach this program's file.
	if err := os.Chmod(filepath.Dir(os.Args[0]), 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// job is what a worker of these tests does.
type job struct {
	Paths []string // looks for these files
	Exit  int      // ends with it, or waits to be ended: -1
}

// view is what a worker sees.
type view struct {
	PID        int
	UID, GID   int
	Groups     []int
	Found      []string   // of job.Paths
	Roots      [][]string // names in each share
	Above      [][]string // names in the directory above each
	FD         string     // whether a file can be opened again by its number
	Host       string
	Interfaces int
	Write      string // what making a file in the root directory says
}

// workerMain tells what it sees in its first file.
func workerMain() int {
	in, err := Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	var j job
	if err := json.Unmarshal(in.Job, &j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 4
	}
	v := look(j, in)
	if err := json.NewEncoder(in.Files[0]).Encode(v); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 5
	}
	in.Files[0].Close()
	in.Parent.Ready()
	for i := range in.Roots {
		in.Parent.Ended(i)
	}
	if j.Exit < 0 {
		select {}
	}
	return j.Exit
}

func look(j job, in *Inside) (v view) {
	v.PID, v.UID, v.GID = os.Getpid(), os.Getuid(), os.Getgid()
	v.Groups, _ = os.Getgroups()
	for _, p := range j.Paths {
		if _, err := os.Lstat(p); err == nil {
			v.Found = append(v.Found, p)
		}
	}
	for _, fd := range in.Roots {
		v.Roots = append(v.Roots, names(fd, "."))
		v.Above = append(v.Above, names(fd, ".."))
		again, err := unix.Openat(unix.AT_FDCWD, fmt.Sprint(fd), unix.O_RDONLY, 0)
		v.FD = errnoName(err)
		unix.Close(again)
	}
	v.Host, _ = os.Hostname()
	v.Write = errnoName(os.WriteFile("/new", nil, 0o600))
	return v
}

func errnoName(err error) string {
	var e syscall.Errno
	if errors.As(err, &e) {
		return unix.ErrnoName(e)
	}
	return fmt.Sprint(err)
}

func names(dir int, path string) (all []string) {
	fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return []string{errnoName(err)}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return []string{errnoName(err)}
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// order is what a parent is told.
type order struct {
	Mode       Mode
	Shares     []string
	UIDs, GIDs []idmap.Range
	Job        job
}

// parentMain starts a worker, prints what it says it sees, and each of its events, and ends with its exit
// code.
func parentMain() int {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(parentEnv)), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 6
	}
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 7
	}
	job, err := json.Marshal(o.Job)
	if err != nil {
		return 10
	}
	worker, err := Start(Spec{Mode: o.Mode, Shares: o.Shares, UIDs: o.UIDs, GIDs: o.GIDs, Job: job, Files: []*os.File{w}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 8
	}
	w.Close()
	if _, err := io.Copy(os.Stdout, r); err != nil {
		return 9
	}
	fmt.Println("worker", worker.proc.Pid)
	for {
		e, ok := worker.Next()
		if !ok {
			break
		}
		fmt.Printf("event %c %d\n", e.Kind, e.Share)
		worker.Confirm()
	}
	state, err := worker.Wait()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 10
	}
	if s, ok := state.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		fmt.Println("signal", unix.SignalName(s.Signal()))
	}
	return state.ExitCode()
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }
