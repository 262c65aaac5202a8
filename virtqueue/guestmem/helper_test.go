// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// memfd returns a file of size bytes, byte i being i*7+i/256. It is closed by whoever gets it.
func memfd(t testing.TB, name string, size int) int {
	t.Helper()
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = pattern(uint64(i))
	}
	if _, err := unix.Pwrite(fd, b, 0); err != nil {
		t.Fatal(err)
	}
	return fd
}

func pattern(off uint64) byte { return byte(off*7 + off/256) }

// mustDup returns another fd for the same file.
func mustDup(t testing.TB, fd int) int {
	t.Helper()
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// closing closes fd with the test.
func closing(t testing.TB, fd int) int {
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// mapped counts the mappings of the memfd called name in this process.
func mapped(t testing.TB, name string) (n int) {
	t.Helper()
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if strings.Contains(s.Text(), "/memfd:"+name+" ") {
			n++
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return n
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

func mustAdd(t testing.TB, m *Memory, r Region, fd int) {
	t.Helper()
	if err := m.Add(r, fd); err != nil {
		t.Fatal(err)
	}
}
