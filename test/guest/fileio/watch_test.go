// SPDX-License-Identifier: Apache-2.0

package fileio

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/pattern"
)

func TestWatch(t *testing.T) {
	path, stop := filepath.Join(t.TempDir(), "f"), filepath.Join(t.TempDir(), "stop")
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data := pattern.Paint(nil, pattern.Span{Len: 5000, Tag: 1}, pattern.Span{Off: 2000, Len: 1, Tag: 3})
	write(data)
	if err := Watch(new(strings.Builder), path, stop, 1<<3); err == nil || !strings.Contains(err.Error(), "1*2000 3*1 1*2999") {
		t.Errorf("a forbidden byte: %v", err)
	}
	data[4000]++
	write(data)
	if err := Watch(new(strings.Builder), path, stop, 0); err == nil || !strings.Contains(err.Error(), "?*1") {
		t.Errorf("a wrong byte: %v", err)
	}
	data[4000]--
	write(data)
	if err := os.WriteFile(stop, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := Watch(&out, path, stop, 1<<2); err != nil || out.String() != "round\nrounds: 1\n" {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestNumbers(t *testing.T) {
	data := Number(41)
	copy(data[8192:], Number(42))
	if least, most, err := Numbers(data); least != 41 || most != 42 || err != nil {
		t.Errorf("%d to %d, %v", least, most, err)
	}
	if _, _, err := Numbers(data[:8192]); err == nil {
		t.Error("a part of a file holds a number")
	}
	data[5000] = 'x'
	if _, _, err := Numbers(data); err == nil {
		t.Error("a number is made of anything")
	}
}

func TestFollow(t *testing.T) {
	path, stop := filepath.Join(t.TempDir(), "f"), filepath.Join(t.TempDir(), "stop")
	var out strings.Builder
	if err := Run(&out, path, "open=rw,creat", "number=7", "mtime=1000", "numbers", "close"); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("open: ok\nnumber: %d\nmtime: ok\nnumbers: 7\nclose: ok\n", NumberSize); out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
	lines := make(chan string, 10)
	ended := make(chan error)
	go func() { ended <- Follow(chanWriter(lines), path, stop) }()
	if got := <-lines; got != "1000000000000 7\n" {
		t.Errorf("the first line is %q", got)
	}
	if err := Run(new(strings.Builder), path, "mtime=2000"); err != nil {
		t.Fatal(err)
	}
	if got := <-lines; got != "2000000000000 7\n" {
		t.Errorf("the second line is %q", got)
	}
	// It may be in the middle of a round.
	if err := Run(new(strings.Builder), stop, "open=rw,creat"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}

// chanWriter sends what is written.
type chanWriter chan string

func (c chanWriter) Write(p []byte) (int, error) { c <- string(p); return len(p), nil }
