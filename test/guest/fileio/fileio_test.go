// SPDX-License-Identifier: Apache-2.0

package fileio

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/pattern"
)

func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var out strings.Builder
	err := Run(&out, path, "open=r", "fsync", "open=rw,creat,sync", "truncate=9000", "close", "open=rw",
		"write=100+5000:1,200+50:2", "store=6000+1000:3", "msync", "read", "load", "size", "unmap", "fdatasync",
		"once=0+10:4", "close", "open=r", "write=0+1:1", "store=0+1:1", "close")
	if err != nil {
		t.Fatal(err)
	}
	holds := "0*100 1*100 2*50 1*4850 0*900 3*1000 0*2000"
	want := "open: ENOENT|fsync: EBADF|open: ok|truncate: ok|close: ok|open: ok|write: 5000|store: ok|msync: ok|read: " + holds +
		"|load: " + holds + "|size: 9000|unmap: ok|fdatasync: ok|once: 10|close: ok|open: ok|write: 0 EBADF|store: EACCES|close: ok|"
	if got := strings.ReplaceAll(out.String(), "\n", "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	data, err := os.ReadFile(path)
	if got := pattern.Describe(data); err != nil || got != "4*10 0*90 1*100 2*50 1*4850 0*900 3*1000 0*2000" {
		t.Errorf("the file holds %s, %v", got, err)
	}
}

func TestRepeat(t *testing.T) {
	var out strings.Builder
	err := Run(&out, filepath.Join(t.TempDir(), "f"), "open=rw,creat", "size", "write=0+10:1", "close", "repeat=2")
	if want := "open: ok\nsize: 0\nwrite: 10\nclose: ok\nopen: ok\nsize: 10\nwrite: 10\nclose: ok\n"; err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestFault has a store hit a page behind the end of the file.
func TestFault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var out strings.Builder
	err := Run(&out, path, "open=rw,creat", "truncate=9000", "store=0+10:1", "truncate=0", "store=8192+10:1", "load")
	if want := "open: ok\ntruncate: ok\nstore: ok\ntruncate: ok\nstore: EFAULT\nload: EFAULT\n"; err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestNonsense(t *testing.T) {
	for _, steps := range [][]string{
		{"jump"}, {"close", "repeat=x"}, {"open=x"}, {"open=rw,creat", "open=r"}, {"open=rw,creat", "write=1"}, {"open=rw", "truncate=x"},
		{"open=rw", "truncate=5", "store=0+6:1"},
	} {
		if err := Run(new(strings.Builder), filepath.Join(t.TempDir(), "f"), append([]string{"open=rw,creat", "close"}, steps...)...); err == nil {
			t.Errorf("%v makes sense", steps)
		}
	}
}
