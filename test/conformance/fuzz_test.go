// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// FuzzRequests sends any bytes as a FUSE request through the whole daemon to a host directory.
// Whatever they are, they come back, with a reply whose length is true, and the next request is
// served.
func FuzzRequests(f *testing.F) {
	var g *guest // one for the process; t is that of the input at hand
	f.Cleanup(func() {
		if g != nil {
			g.vm.Close()
			<-g.done
		}
	})
	dir := f.TempDir()
	limitFileSize(f)
	for _, m := range samples(root, 0) {
		f.Add(m.Bytes(), uint16(roomy))
	}
	f.Fuzz(func(t *testing.T, frame []byte, room uint16) {
		if len(frame) > 64<<10 {
			return
		}
		if g == nil {
			fs, err := hostfs.New(hostfs.Config{Root: dir, XAttr: true, MaxInodes: 1 << 16})
			if err != nil {
				t.Fatal(err)
			}
			g = plug(t, fs, frontend.Options{})
			g.boot()
		}
		g.t = t
		g.raw(frame, 16, int(room)+1)
		if errno := second(g.GetAttr(root)); errno != 0 {
			g.MustInit() // the frame was a DESTROY or an INIT that was refused
			ok(t, "GETATTR of the root", second(g.GetAttr(root)))
		}
	})
}

// limitFileSize keeps FALLOCATE from filling the disk; guest memory fits.
func limitFileSize(f *testing.F) {
	f.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		f.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 256 << 20, Max: old.Max}); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		unix.Setrlimit(unix.RLIMIT_FSIZE, &old)
	})
}
