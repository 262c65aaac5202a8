// SPDX-License-Identifier: Apache-2.0

package virtiofs

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func TestOptionsChecked(t *testing.T) {
	for _, tc := range []struct {
		o    Options
		want string // part of the error, "" for none
	}{
		{Options{}, ""},
		{Options{Tag: strings.Repeat("x", 36), Queues: MaxRequestQueues}, ""},
		{Options{Tag: strings.Repeat("x", 37)}, "37 bytes"},
		{Options{Queues: -1}, "-1 request queues"},
		{Options{Queues: MaxRequestQueues + 1}, "65 request queues"},
	} {
		err := tc.o.check()
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%+v: %v", tc.o, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%+v: error %v, want one with %q", tc.o, err, tc.want)
		}
	}
}

func TestConfigSpace(t *testing.T) {
	o := Options{}
	if b := o.configSpace(); b != nil {
		t.Errorf("without a tag: %q, want none", b)
	}
	o = Options{Tag: "share", Queues: 0x0102}
	want := "share" + strings.Repeat("\x00", 31) + "\x02\x01\x00\x00"
	if b := o.configSpace(); string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
}

// Serve ends when its context does, and a bad option refuses a connection with an error.
func TestServeEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, fuse.NewDefaultRawFileSystem(), Options{}) }()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("the socket still listens")
	}
}
