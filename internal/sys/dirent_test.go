// SPDX-License-Identifier: Apache-2.0

package sys

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestGetdents(t *testing.T) {
	path := t.TempDir()
	names := map[string]bool{".": true, "..": true, "a": true, "longer-name": true, "\xff": true}
	for n := range names {
		if n != "." && n != ".." {
			if err := os.WriteFile(filepath.Join(path, n), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd)
	buf := make([]byte, 4096)
	if _, err := Getdents(fd, buf[:8]); err != unix.EINVAL {
		t.Errorf("small buffer: %v", err)
	}
	n, err := Getdents(fd, buf)
	if err != nil {
		t.Fatal(err)
	}
	rest := buf[:n]
	var e Dirent
	for ok := true; ; {
		if rest, ok = e.Next(rest); !ok {
			break
		}
		if !names[e.String()] || e.Ino == 0 || string(e.Name) != e.String() {
			t.Errorf("entry %+v", e)
		}
		delete(names, e.String())
	}
	if len(names) != 0 {
		t.Errorf("missing: %v", names)
	}
	if n, err := Getdents(fd, buf); n != 0 || err != nil {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

// FuzzDirent: whatever the buffer holds, entries lie in it, and their number is finite.
func FuzzDirent(f *testing.F) {
	entry := func(reclen uint16, name string) []byte {
		b := make([]byte, direntHead, 64)
		binary.NativeEndian.PutUint16(b[16:], reclen)
		return append(b, name...)
	}
	f.Add(entry(24, "abc\x00\x00"))
	f.Add(entry(0, "abc\x00\x00"))
	f.Add(entry(19, ""))
	f.Add(entry(65535, "abc"))
	f.Add(append(entry(24, "a\x00\x00\x00\x00"), entry(22, "bcd")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Dirent
		rest, ok := b, true
		for steps := 0; ; steps++ {
			before := len(rest)
			if rest, ok = e.Next(rest); !ok {
				return
			}
			if len(rest) >= before || len(e.Name) > before-len(rest)-direntHead || steps > len(b) {
				t.Fatalf("entry of %d bytes leaves %d of %d", len(e.Name), len(rest), before)
			}
		}
	})
}
