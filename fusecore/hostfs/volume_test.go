// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadNowait: what lies in memory is read at once, and a file system that does not know RWF_NOWAIT is
// asked once.
func TestReadNowait(t *testing.T) {
	mem, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(mem)
	if _, err := unix.Write(mem, []byte("data")); err != nil {
		t.Fatal(err)
	}
	proc, err := unix.Open("/proc/self/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(proc)
	known := func(v *volume) *volume { v.noNowait.Store(true); return v }

	for name, tt := range map[string]struct {
		v    *volume
		fd   int
		n    int
		err  error
		mute bool // it is known afterwards that RWF_NOWAIT is not
	}{
		"tmpfs":                 {newVolume(unix.TMPFS_MAGIC), mem, 4, nil, true},
		"tmpfs, again":          {known(newVolume(unix.TMPFS_MAGIC)), mem, 4, nil, true},
		"ramfs":                 {newVolume(unix.RAMFS_MAGIC), mem, 4, nil, true},
		"another":               {newVolume(unix.PROC_SUPER_MAGIC), proc, 0, unix.EAGAIN, true},
		"another, again":        {known(newVolume(unix.PROC_SUPER_MAGIC)), -1, 0, unix.EAGAIN, true},
		"an error is no answer": {newVolume(unix.PROC_SUPER_MAGIC), -1, 0, unix.EBADF, false},
	} {
		n, err := tt.v.readNowait(tt.fd, [][]byte{make([]byte, 10)}, 0)
		if n != tt.n || err != tt.err {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		// A kernel whose tmpfs knows it is none to complain about.
		if got := tt.v.noNowait.Load(); got != tt.mute && tt.fd != mem {
			t.Errorf("%s: RWF_NOWAIT counts as unknown: %v", name, got)
		}
	}
}
