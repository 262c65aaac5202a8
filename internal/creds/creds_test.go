// SPDX-License-Identifier: Apache-2.0

package creds

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// owner makes a directory with the ids and tells whom it belongs to.
func owner(t *testing.T, s *Switcher, path string, uid, gid uint32) (uint32, uint32) {
	t.Helper()
	if err := s.Do(uid, gid, nil, func() error { return unix.Mkdir(path, 0o755) }); err != nil {
		t.Errorf("mkdir as %d:%d: %v", uid, gid, err)
		return 0, 0
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Error(err)
	}
	return st.Uid, st.Gid
}

func TestDo(t *testing.T) {
	s, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if root := os.Geteuid() == 0; s.Able() != root {
		t.Logf("able: %v with uid %d", s.Able(), uid)
	}
	for i, c := range []struct{ uid, gid, wantUID, wantGID uint32 }{
		{1234, 2345, 1234, 2345},
		{0, 2345, uid, 2345}, // root is not switched to
		{1234, 0, 1234, gid},
		{0, 0, uid, gid},
		{uid, gid, uid, gid},
	} {
		if !s.Able() {
			c.wantUID, c.wantGID = uid, gid // everything is the daemon's own
		}
		if u, g := owner(t, s, dir+"/"+string(rune('a'+i)), c.uid, c.gid); u != c.wantUID || g != c.wantGID {
			t.Errorf("%+v: belongs to %d:%d", c, u, g)
		}
	}
	want := errors.New("mine")
	if err := s.Do(1234, 2345, nil, func() error { return want }); err != want {
		t.Errorf("the error of the call came back as %v", err)
	}
}

// TestRestored looks at every thread while others switch, and at capabilities after it.
func TestRestored(t *testing.T) {
	s, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	before, err := sys.Capget()
	if err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	check := func() {
		if u, g := unix.Geteuid(), unix.Getegid(); u != uid || g != gid {
			t.Errorf("a thread that is not switched has ids %d:%d", u, g)
		}
		if c, err := sys.Capget(); err != nil || c != before {
			t.Errorf("capabilities %+v, %v; before %+v", c, err, before)
		}
	}
	var wg sync.WaitGroup
	for i := range uint32(8) {
		wg.Go(func() {
			for range 300 {
				err := s.Do(1000+i, 2000+i, nil, func() error {
					if u, g := unix.Geteuid(), unix.Getegid(); s.Able() && (u != int(1000+i) || g != int(2000+i)) {
						t.Errorf("switched to %d:%d, not %d:%d", u, g, 1000+i, 2000+i)
					}
					runtime.Gosched()
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				check()
			}
		})
	}
	wg.Wait()
	check()
}

// TestGroups: a caller has his own supplementary groups and no others, on every thread, and none
// of them stays behind.
func TestGroups(t *testing.T) {
	s, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	if s.grouped != s.able {
		t.Logf("able to switch ids: %v, groups: %v", s.able, s.grouped)
	}
	threadGroups := func() []int {
		g, err := unix.Getgroups()
		if err != nil {
			t.Error(err)
		}
		return g
	}
	own := threadGroups()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				want := []int{3000 + i, 4000 + n}[:n%3]
				groups := make([]uint32, len(want))
				for j, g := range want {
					groups[j] = uint32(g)
				}
				uid, gid := uint32(1000+i), uint32(2000)
				if n%5 == 4 { // root's rights need no groups
					uid, want = 0, own
				}
				if !s.grouped {
					want = own
				}
				fail := errors.New("mine")
				err := s.Do(uid, gid, groups, func() error {
					if got := threadGroups(); !slices.Equal(got, want) {
						t.Errorf("as %d with groups %v there are %v", uid, groups, got)
					}
					runtime.Gosched()
					return fail
				})
				if err != fail {
					t.Error(err)
				}
				if got := threadGroups(); !slices.Equal(got, own) {
					t.Errorf("a thread that is not switched has groups %v, not %v", got, own)
				}
			}
		})
	}
	wg.Wait()
}

// TestGroupsOfTheProcess: a process that has groups does not lend them to callers.
func TestGroupsOfTheProcess(t *testing.T) {
	s, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if s.grouped {
			if err := sys.SetGroups([]uint32{5000, 5001}); err != nil {
				t.Error(err)
				return
			}
			s.groups = []uint32{5000, 5001}
		}
		own, _ := unix.Getgroups()
		for _, groups := range [][]uint32{nil, {6000}} {
			err := s.Do(1234, 2345, groups, func() error {
				if got, _ := unix.Getgroups(); s.grouped && len(got) != len(groups) {
					t.Errorf("with groups %v there are %v", groups, got)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if got, _ := unix.Getgroups(); !slices.Equal(got, own) {
				t.Errorf("afterwards there are %v, not %v", got, own)
			}
		}
	}()
	<-done
}

// TestNoID: the id that means "no change" to the kernel is refused, and the thread stays as it was.
func TestNoID(t *testing.T) {
	s, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := sys.Capget()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]uint32{{noID, 0}, {0, noID}, {noID, noID}, {1234, noID}, {noID, 2345}} {
		ran := false
		err := s.Do(c[0], c[1], nil, func() error { ran = true; return nil })
		if s.Able() && (err != unix.EINVAL || ran) {
			t.Errorf("%v: %v, ran %v", c, err, ran)
		}
		if now, err := sys.Capget(); err != nil || now != before {
			t.Fatalf("%v: capabilities %+v, %v; before %+v", c, now, err, before)
		}
	}
}

// TestRestoredWithoutRoot: a process that has the capabilities but not uid 0 (systemd's
// AmbientCapabilities=) gets all of them back; the kernel sees to that for uid 0 only.
func TestRestoredWithoutRoot(t *testing.T) {
	s, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if s.Able() && !becomeCapable(t, 1000) {
			return
		}
		s, err := Detect()
		if err != nil {
			t.Error(err)
			return
		}
		before, err := sys.Capget()
		if err != nil {
			t.Error(err)
			return
		}
		for range 2 {
			if err := s.Do(1234, 2345, nil, func() error { return nil }); err != nil {
				t.Errorf("as %d: %v", s.uid, err)
			}
			if now, err := sys.Capget(); err != nil || now != before {
				t.Errorf("capabilities %+v, %v; before %+v", now, err, before)
			}
		}
	}()
	<-done
}

// becomeCapable gives the calling thread another uid and leaves it its capabilities.
func becomeCapable(t *testing.T, uid uintptr) bool {
	own, err := sys.Capget()
	if err == nil {
		err = unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
	}
	if err != nil {
		t.Error(err)
		return false
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); e != 0 {
		t.Error(e)
		return false
	}
	if err := sys.Capset(own); err != nil {
		t.Error(err)
		return false
	}
	return true
}

// TestUnable: without the capabilities nothing is switched and nothing fails.
func TestUnable(t *testing.T) {
	s := &Switcher{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	u, g := owner(t, s, t.TempDir()+"/d", 1234, 2345)
	if u != s.uid || g != s.gid {
		t.Errorf("belongs to %d:%d", u, g)
	}
}

func BenchmarkDo(b *testing.B) {
	s, err := Detect()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = s.Do(1234, 2345, nil, func() error { return nil })
	}
}
