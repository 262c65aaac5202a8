// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

func TestAwait(t *testing.T) {
	failed := errors.New("serving failed")
	passes := func(limits ...time.Duration) func(time.Duration) <-chan time.Time {
		return func(d time.Duration) <-chan time.Time {
			if slices.Contains(limits, d) {
				return time.After(0)
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name    string
		signals int    // waiting when await starts
		more    bool   // further ones keep coming
		done    error  // what serving ends with
		ends    string // when it ends: "alone", "when stopped", "never"
		after   func(time.Duration) <-chan time.Time
		want    error
		stopped bool
	}{
		{"the VMM goes", 0, false, nil, "alone", passes(), nil, false},
		{"serving fails", 0, false, failed, "alone", passes(), failed, false},
		{"a signal", 1, false, nil, "when stopped", passes(), nil, true},
		{"a signal, and serving fails", 1, false, failed, "when stopped", passes(), failed, true},
		{"the same signal twice", 2, false, nil, "when stopped", passes(), nil, true},
		{"the same signal twice, and requests do not end", 2, false, nil, "never", passes(drainTime), errDrain, true},
		{"the same signal twice, and time passes", 2, false, nil, "when stopped", passes(sameTime), nil, true},
		{"a second signal", 1, true, nil, "never", passes(sameTime), errSecondSignal, true},
		{"requests do not end", 1, false, nil, "never", passes(sameTime, drainTime), errDrain, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signals := make(chan os.Signal, 2)
			for range tt.signals {
				signals <- unix.SIGTERM
			}
			done := make(chan error, 1)
			if tt.ends == "alone" {
				done <- tt.done
			}
			over := make(chan struct{})
			defer close(over)
			stopped := false
			stop := func() {
				stopped = true
				if tt.ends == "when stopped" {
					time.AfterFunc(20*time.Millisecond, func() { done <- tt.done }) // what comes before it shall not end await
				}
				if tt.more {
					go keepSending(signals, over)
				}
			}
			if err := await(done, signals, stop, tt.after, zap.NewNop()); !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if stopped != tt.stopped {
				t.Errorf("stopped: %v, want %v", stopped, tt.stopped)
			}
		})
	}
}

func keepSending(signals chan<- os.Signal, over <-chan struct{}) {
	for {
		select {
		case signals <- unix.SIGTERM:
		case <-over:
			return
		}
	}
}

// testListener is a listener in a new directory.
func testListener(t *testing.T) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestServeOneStopsWhileWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := serveOne(ctx, testListener(t), func(context.Context, *net.UnixConn) error {
		t.Error("served, but nobody has connected")
		return nil
	}, zap.NewNop())
	if err != nil {
		t.Error(err)
	}
}

func TestServeOneReportsFailure(t *testing.T) {
	l := testListener(t)
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	broken := errors.New("protocol broken")
	err = serveOne(context.Background(), l, func(_ context.Context, c *net.UnixConn) error {
		c.Close()
		return broken
	}, zap.NewNop())
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

// A signal ends the serving of a VMM by its context.
func TestServeOneGivesTheContext(t *testing.T) {
	l := testListener(t)
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	err = serveOne(ctx, l, func(ctx context.Context, c *net.UnixConn) error {
		defer c.Close()
		cancel()
		<-ctx.Done()
		return nil
	}, zap.NewNop())
	if err != nil {
		t.Error(err)
	}
}
