// SPDX-License-Identifier: Apache-2.0

// Command agent is the init of a test guest: it loads modules, mounts the root that commands run
// in, and runs the commands that a test sends over a serial line. "agent reboot" restarts the
// guest in the ordinary way, "agent lock" takes locks, "agent io", "watch" and "follow" do what
// package fileio does. It runs in guests only, but for the locks.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/proto"
)

// newRoot is where the root that commands run in is mounted.
const newRoot = "/newroot"

func main() {
	run := initMain
	switch {
	case len(os.Args) > 1 && programs[os.Args[1]] != nil:
		run = programs[os.Args[1]]
	case os.Getpid() != 1:
		run = agentMain
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

// initMain is process 1: it sets the guest up, starts itself again as the agent and reaps
// orphans. It ends, and with it the guest, only when the agent does.
func initMain() error {
	var s proto.Setup
	text, err := os.ReadFile("/setup.json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if err := setUp(s); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", s.Channel)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		return err
	}
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if err == nil && pid == cmd.Process.Pid {
			return fmt.Errorf("the agent ended: %#x", ws)
		}
	}
}

// mount is one mount(2) of the set-up.
type mount struct {
	src, dst, fstype string
	flags            uintptr
	data             string
}

func setUp(s proto.Setup) error {
	first := []mount{
		{"proc", "/proc", "proc", 0, ""},
		{"sys", "/sys", "sysfs", 0, ""},
		{"dev", "/dev", "devtmpfs", 0, ""},
	}
	if err := mountAll(first); err != nil {
		return err
	}
	for _, m := range s.Modules {
		if err := loadModule(m); err != nil {
			return err
		}
	}
	// Programs expect these names in /dev; on a whole system udev makes them.
	for name, target := range map[string]string{"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink("/proc/self/"+target, "/dev/"+name); err != nil {
			return err
		}
	}
	err := mountAll([]mount{
		{s.RootDev, newRoot, s.RootType, unix.MS_RDONLY, s.RootOpts},
		{"/dev", newRoot + "/dev", "", unix.MS_BIND, ""},
		{"/proc", newRoot + "/proc", "", unix.MS_BIND, ""},
		{"/sys", newRoot + "/sys", "", unix.MS_BIND, ""},
		{"tmp", newRoot + "/tmp", "tmpfs", 0, "mode=1777"},
		{"mnt", newRoot + "/mnt", "tmpfs", 0, "mode=755"},
		{"/tools", newRoot + "/tools", "", unix.MS_BIND, ""},
	})
	if err != nil {
		return err
	}
	return enterRoot()
}

// enterRoot makes newRoot the root of the mount namespace, as switch_root(8) does. Processes that are
// only chrooted may not make user namespaces.
func enterRoot() error {
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

func mountAll(ms []mount) error {
	for _, m := range ms {
		if err := os.MkdirAll(m.dst, 0o755); err != nil && m.dst[0] != '/' {
			return err
		}
		if err := unix.Mount(m.src, m.dst, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.fstype, m.dst, err)
		}
	}
	return nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if err != nil && err != unix.EEXIST {
		return fmt.Errorf("load %s: %w", filepath.Base(path), err)
	}
	return nil
}
