// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// slowFS is a file system whose FSYNC and READ wait until the test lets them go. READ gives the
// bytes 'r'. GETATTR of the root answers at once.
type slowFS struct {
	fuse.RawFileSystem
	entered  atomic.Int32
	released atomic.Bool
	gate     chan struct{}
	once     sync.Once
}

func newSlowFS() *slowFS {
	return &slowFS{RawFileSystem: fuse.NewDefaultRawFileSystem(), gate: make(chan struct{})}
}

// release lets all waiting and future requests go.
func (s *slowFS) release() {
	s.once.Do(func() {
		s.released.Store(true)
		close(s.gate)
	})
}

// waitEntered waits until n requests wait in the file system.
func (s *slowFS) waitEntered(t testing.TB, n int32) {
	t.Helper()
	waitFor(t, "slow requests in the file system", func() bool { return s.entered.Load() >= n })
}

func (s *slowFS) wait(cancel <-chan struct{}) fuse.Status {
	s.entered.Add(1)
	select {
	case <-s.gate:
		return fuse.OK
	case <-cancel:
		return fuse.EINTR
	}
}

// MayBlock keeps GETATTR on the queue's loop, where nothing can stand in front of it.
func (s *slowFS) MayBlock(opcode uint32) bool { return opcode != 3 }

func (s *slowFS) GetAttr(_ <-chan struct{}, _ *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	out.Ino, out.Mode = 1, 0o040755
	return fuse.OK
}

func (s *slowFS) Fsync(cancel <-chan struct{}, _ *fuse.FsyncIn) fuse.Status { return s.wait(cancel) }

func (s *slowFS) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if st := s.wait(cancel); st != fuse.OK {
		return nil, st
	}
	for i := range buf {
		buf[i] = 'r'
	}
	return fuse.ReadResultData(buf), fuse.OK
}

// waitFor waits for a condition that has to become true.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s\n%s", what, stacks())
		}
	}
}
