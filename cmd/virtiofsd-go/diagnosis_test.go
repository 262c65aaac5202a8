// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The mistakes that people make are told in plain words. Those of the command line are tested in
// internal/config, those about sockets in start_test.go.

// asNobody starts the daemon as a user without rights.
func asNobody(t *testing.T, args ...string) *proc {
	t.Helper()
	if err := os.Chmod(filepath.Dir(daemonBinary), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(daemonBinary, append([]string{"--sandbox=none"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return startCmd(t, cmd)
}

func TestNoPermission(t *testing.T) {
	base, err := os.MkdirTemp("", "virtiofsd-go-test")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	dir := func(name string, mode os.FileMode) string {
		path := filepath.Join(base, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	os.Chmod(base, 0o755)
	open, shut, listable, searchable := dir("open", 0o777), dir("shut", 0o755), dir("listable", 0o744), dir("searchable", 0o711)
	below := dir("listable-parent", 0o744) + "/x"
	for _, tt := range []struct{ name, shared, socket, want string }{
		{"to make a socket", open, shut + "/s", "no permission to make a socket in " + shut + ", for user 65534: change the directory's owner or mode, or choose another --socket-path"},
		{"to search the share", listable, open + "/s", "the shared directory " + listable + " may not be read and searched by user 65534: start the daemon as another user"},
		{"to list the share", searchable, open + "/s", "the shared directory " + searchable + " may not be read and searched by user 65534"},
		{"to reach the share", below, open + "/s", "the shared directory " + below + " cannot be reached by user 65534: let that user search the directories above it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := asNobody(t, "--shared-dir", tt.shared, "--socket-path", tt.socket)
			p.wait(1)
			if !strings.HasPrefix(p.output(), "virtiofsd-go: "+tt.want) || len(p.seen) != 1 {
				t.Errorf("output is %q, want one line: %s", p.output(), tt.want)
			}
		})
	}
	t.Run("to give the socket to a group", func(t *testing.T) {
		p := asNobody(t, "--shared-dir", open, "--socket-path", open+"/t", "--socket-group=0")
		p.wait(1)
		if want := "user 65534 may not give it to group 0: become a member, or start the daemon as root"; !strings.Contains(p.output(), want) {
			t.Errorf("output is %q, want %q", p.output(), want)
		}
		if exists(open+"/t") || exists(open+"/t.pid") {
			t.Error("the socket is left")
		}
	})
}

// tell sends one vhost-user message with a file.
func tell(t *testing.T, c net.Conn, request uint32, payload []byte, files ...*os.File) {
	t.Helper()
	m := binary.LittleEndian.AppendUint32(nil, request)
	m = binary.LittleEndian.AppendUint32(m, 1) // version 1
	m = binary.LittleEndian.AppendUint32(m, uint32(len(payload)))
	var rights []byte
	for _, f := range files {
		rights = unix.UnixRights(int(f.Fd()))
	}
	if _, _, err := c.(*net.UnixConn).WriteMsgUnix(append(m, payload...), rights, nil); err != nil {
		t.Fatal(err)
	}
}

func u64s(vs ...uint64) (b []byte) {
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

func memfd(t *testing.T, size int64) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("guest-ram", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "guest-ram")
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

// A VMM whose guest memory is ordinary memory has none to share.
func TestNoGuestMemory(t *testing.T) {
	p, socket := startReady(t)
	c := connect(t, socket)
	tell(t, c, 2, u64s(1<<32))               // SET_FEATURES: VERSION_1; rings are enabled
	tell(t, c, 8, u64s(128<<32))             // SET_VRING_NUM of ring 0
	tell(t, c, 9, u64s(0, 4096, 8192, 0, 0)) // SET_VRING_ADDR
	tell(t, c, 12, u64s(1<<8))               // SET_VRING_KICK without a file
	line := p.waitFor("message refused")
	if want := "the VMM shares no guest memory with this process (QEMU: -object memory-backend-memfd,share=on,..."; !strings.Contains(line, want) {
		t.Errorf("the line is %q, want %q in it", line, want)
	}
}

// A VMM may pass its file and use a private copy: QEMU does with share=off. The daemon finds out where
// it may look at the VMM's mappings: without sandbox and Landlock, those of a VMM of the same user without
// capabilities, or, as here, with CAP_SYS_PTRACE.
func TestPrivateGuestMemory(t *testing.T) {
	const size = 1 << 20
	for _, tt := range []struct {
		name  string
		flags int
		told  bool
	}{{"private", unix.MAP_PRIVATE, true}, {"shared", unix.MAP_SHARED, false}} {
		t.Run(tt.name, func(t *testing.T) {
			ram := memfd(t, size)
			addr, err := unix.MmapPtr(int(ram.Fd()), 0, nil, size, unix.PROT_READ|unix.PROT_WRITE, tt.flags)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.MunmapPtr(addr, size)
			p, socket := startReady(t, "--modcaps=+sys_ptrace", "--inode-file-handles=mandatory")
			c := connect(t, socket)
			tell(t, c, 5, u64s(1, 0, size, uint64(uintptr(addr)), 0), ram) // SET_MEM_TABLE
			askFeatures(t, c)
			c.Close()
			p.wait(0)
			if told := strings.Contains(p.output(), "The guest's memory is not shared: the VMM uses a private copy"); told != tt.told {
				t.Errorf("told: %v, want %v; it printed:\n%s", told, tt.told, p.output())
			}
		})
	}
}
