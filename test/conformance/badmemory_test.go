// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// opened is an fd for a test, closed at its end.
func opened(t *testing.T, fd int, err error) int {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// memfd is a memory file of a size, with seals.
func memfd(t *testing.T, size int64, seals int) int {
	t.Helper()
	fd, err := unix.MemfdCreate("odd", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	opened(t, fd, err)
	if err := unix.Ftruncate(fd, size); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return fd
}

// reopenedAs is another fd of the file of fd.
func reopenedAs(t *testing.T, fd, flags int) int {
	t.Helper()
	f := os.NewFile(uintptr(dup(t, fd)), "")
	defer f.Close()
	got, err := unix.Open("/proc/self/fd/"+decimal(uint32(f.Fd())), flags|unix.O_CLOEXEC, 0)
	return opened(t, got, err)
}

// oddFiles are no guest memory, with the size that the VMM says they have.
var oddFiles = map[string]struct {
	size uint64
	open func(t *testing.T) int
}{
	"pipe": {memSize, func(t *testing.T) int {
		return fdsOf(t, func(p []int) error { return unix.Pipe2(p, unix.O_CLOEXEC) })[0]
	}},
	"socket": {memSize, func(t *testing.T) int {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		opened(t, p[1], err)
		return opened(t, p[0], err)
	}},
	"eventfd": {memSize, func(t *testing.T) int {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		return opened(t, fd, err)
	}},
	"directory": {memSize, func(t *testing.T) int {
		fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return opened(t, fd, err)
	}},
	"/dev/zero": {memSize, func(t *testing.T) int {
		fd, err := unix.Open("/dev/zero", unix.O_RDWR|unix.O_CLOEXEC, 0)
		return opened(t, fd, err)
	}},
	"/dev/null": {memSize, func(t *testing.T) int {
		fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
		return opened(t, fd, err)
	}},
	"without access":        {memSize, func(t *testing.T) int { return reopenedAs(t, memfd(t, memSize, 0), unix.O_PATH) }},
	"read-only":             {memSize, func(t *testing.T) int { return reopenedAs(t, memfd(t, memSize, 0), unix.O_RDONLY) }},
	"write-only":            {memSize, func(t *testing.T) int { return reopenedAs(t, memfd(t, memSize, 0), unix.O_WRONLY) }},
	"sealed against write":  {memSize, func(t *testing.T) int { return memfd(t, memSize, unix.F_SEAL_WRITE) }},
	"sealed for later":      {memSize, func(t *testing.T) int { return memfd(t, memSize, unix.F_SEAL_FUTURE_WRITE) }},
	"empty":                 {memSize, func(t *testing.T) int { return memfd(t, 0, 0) }},
	"tiny":                  {memSize, func(t *testing.T) int { return memfd(t, 1, 0) }},
	"more than addresses":   {1 << 47, func(t *testing.T) int { return memfd(t, 1<<47, 0) }},
	"most of the addresses": {65 << 40, func(t *testing.T) int { return memfd(t, 65<<40, 0) }},
}

// fdsOf is two fds for a test.
func fdsOf(t *testing.T, open func(p []int) error) []int {
	t.Helper()
	p := []int{-1, -1}
	err := open(p)
	opened(t, p[0], err)
	opened(t, p[1], err)
	return p
}

// TestOddMemoryFiles: a VMM hands over what is no memory, or no memory that can be used. It is refused, the
// connection goes on, and so does another VM of the process.
func TestOddMemoryFiles(t *testing.T) {
	bystander := newGuest(t, frontend.Options{})
	for name, odd := range oddFiles {
		t.Run(name, func(t *testing.T) {
			b := newBare(t)
			b.handshake()
			r := frontend.MemRegion{Size: odd.size, UserAddr: userAddr}
			fd := odd.open(t)
			if b.ack(frontend.SetMemTable, frontend.MemTable(r), fd) == nil {
				t.Error("taken as the memory table")
			}
			if b.ack(frontend.AddMemReg, frontend.MemReg(r), fd) == nil {
				t.Error("taken as a region")
			}
			if !b.answers() {
				t.Error("the connection has ended")
			}
			bystander.alive()
		})
	}
}

// TestMemoryOfManyRegions: regions that are each as large as may be, until there is no room for more. What
// is left for others is enough.
func TestMemoryOfManyRegions(t *testing.T) {
	const each = 8 << 40
	bystander := newGuest(t, frontend.Options{})
	b := newBare(t)
	b.handshake()
	fd := memfd(t, each, 0)
	taken := 0
	for i := range uint64(20) {
		r := frontend.MemRegion{GPA: i * each, Size: each, UserAddr: i * each}
		if b.ack(frontend.AddMemReg, frontend.MemReg(r), fd) == nil {
			taken++
		}
	}
	if taken == 0 || taken*each > 64<<40 {
		t.Errorf("%d TiB of memory are mapped, want 64 at most", taken*each>>40)
	}
	bystander.alive()
	newGuest(t, frontend.Options{}).alive()
	b.hangUp()
	b = newBare(t)
	b.handshake()
	if err := b.ack(frontend.AddMemReg, frontend.MemReg(frontend.MemRegion{Size: 32 << 40, UserAddr: userAddr}), memfd(t, 32<<40, 0)); err != nil {
		t.Errorf("32 TiB after the others have gone: %v", err)
	}
}
