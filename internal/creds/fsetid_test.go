// SPDX-License-Identifier: Apache-2.0

package creds

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// TestWithoutFSETID: a write in it clears bits, a write elsewhere at the same time does not, and
// every thread has its capabilities back afterwards.
func TestWithoutFSETID(t *testing.T) {
	s, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	before, err := sys.Capget()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			path := filepath.Join(dir, string(rune('a'+i)))
			for range 200 {
				kill := i%2 == 0
				if got := modeAfterWrite(t, s, path, kill); (got == 0o755) != (kill || before.Effective&(1<<unix.CAP_FSETID) == 0) {
					t.Errorf("bits cleared: %v, mode %o", kill, got)
				}
				if c, err := sys.Capget(); err != nil || c != before {
					t.Errorf("capabilities %+v, %v; before %+v", c, err, before)
				}
			}
		})
	}
	wg.Wait()
	want := errors.New("mine")
	if err := s.WithoutFSETID(func() error { return want }); err != want {
		t.Errorf("the error of the call came back as %v", err)
	}
}

// modeAfterWrite makes a setuid and setgid file, writes to it and returns its mode bits.
func modeAfterWrite(t *testing.T, s *Switcher, path string, kill bool) uint32 {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer f.Close()
	if err := unix.Fchmod(int(f.Fd()), 0o6755); err != nil {
		t.Error(err)
	}
	write := func() error {
		_, err := unix.Write(int(f.Fd()), []byte("x"))
		return err
	}
	if kill {
		err = s.WithoutFSETID(write)
	} else {
		err = write()
	}
	var st unix.Stat_t
	if err = errors.Join(err, unix.Fstat(int(f.Fd()), &st)); err != nil {
		t.Error(err)
	}
	return st.Mode & 0o7777
}
