// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// One of many that want a pid file has it at any time, also while its owners come and go, and the
// file has its number as long.
func TestPIDFileHasOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.pid")
	var owners, had atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				p, err := newPIDFile(path)
				if errors.Is(err, errLocked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := owners.Add(1); n != 1 {
					t.Errorf("%d owners at once", n)
				}
				if b, err := os.ReadFile(path); string(b) != fmt.Sprintln(os.Getpid()) {
					t.Errorf("the file has %q, %v", b, err)
				}
				had.Add(1)
				owners.Add(-1)
				p.Close()
			}
		})
	}
	wg.Wait()
	if had.Load() == 0 {
		t.Error("nobody ever had it")
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}

// A dead daemon's file is taken over: what it said is gone.
func TestPIDFileOfTheDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.pid")
	if err := os.WriteFile(path, []byte("99999999999 and more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := newPIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if b, err := os.ReadFile(path); string(b) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("the file has %q, %v", b, err)
	}
}

func TestPIDFileIsNoLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("elsewhere", dir+"/s.pid"); err != nil {
		t.Fatal(err)
	}
	if _, err := newPIDFile(dir + "/s.pid"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("error %v, want ELOOP", err)
	}
	if _, err := os.Lstat(dir + "/elsewhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made behind the link: %v", err)
	}
}

func TestListen(t *testing.T) {
	for _, tt := range []struct {
		gid  int
		mode os.FileMode
	}{{noGroup, 0o700}, {12345, 0o770}} {
		dir := t.TempDir()
		path := filepath.Join(dir, "s")
		s, err := listen(path, tt.gid, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		wantGID := os.Getegid()
		if tt.gid != noGroup {
			wantGID = tt.gid
		}
		if st.Mode != unix.S_IFSOCK|uint32(tt.mode) || int(st.Gid) != wantGID || int(st.Uid) != os.Geteuid() {
			t.Errorf("group %d: mode %o, owner %d:%d", tt.gid, st.Mode, st.Uid, st.Gid)
		}
		_, err = listen(path, noGroup, zap.NewNop())
		if want := fmt.Sprintf("%s is in use by process %d (", path, os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a second listener: %v, want %q", err, want)
		}
		s.Close()
		s.Close()
		if left, err := filepath.Glob(dir + "/*"); len(left) != 0 || err != nil {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// A daemon that has the lock and no socket yet, or not any more, is not in the way of nobody.
func TestListenUnderLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	p, err := newPIDFile(path + ".pid")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, err = listen(path, noGroup, zap.NewNop())
	want := fmt.Sprintf("%s is in use by process %d, which has %s.pid locked: stop it", path, os.Getpid(), path)
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// Others that were put in the places of our files stay.
func TestCloseLeavesOthersFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := listen(path, noGroup, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path + ".pid"} {
		if err := errors.Join(os.WriteFile(p+".new", nil, 0o600), os.Rename(p+".new", p)); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	for _, p := range []string{path, path + ".pid"} {
		if _, err := os.Lstat(p); err != nil {
			t.Error(err)
		}
	}
}

func TestLookupGroup(t *testing.T) {
	for name, want := range map[string]int{"": noGroup, "root": 0, "0": 0, "12345": 12345} {
		if got, err := lookupGroup(name); got != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"no-such-group", "-1", "4294967295", "4294967296", "root "} {
		if got, err := lookupGroup(name); err == nil || !strings.Contains(err.Error(), "there is no such group") {
			t.Errorf("%q: %d, %v; want an error", name, got, err)
		}
	}
}
