// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestVMMGoes(t *testing.T) {
	p, socket := startReady(t)
	c := connect(t, socket)
	askFeatures(t, c)
	p.waitFor("Client connected, servicing requests")
	c.Close()
	p.wait(0)
	if !strings.Contains(p.output(), "Client disconnected, shutting down") {
		t.Errorf("output is %q, want the line of the end in it", p.output())
	}
	if exists(socket) {
		t.Error("the socket file is still there")
	}
}

func TestSignals(t *testing.T) {
	for _, s := range []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		t.Run(s.String()+" while waiting", func(t *testing.T) {
			p, socket := startReady(t)
			p.signal(s)
			p.wait(0)
			if exists(socket) {
				t.Error("the socket file is still there")
			}
		})
		t.Run(s.String()+" while serving", func(t *testing.T) {
			p, socket := startReady(t)
			c := connect(t, socket)
			askFeatures(t, c)
			p.signal(s)
			p.wait(0)
			if n, err := c.Read(make([]byte, 1)); n != 0 || !ended(err) {
				t.Errorf("the VMM reads %d, %v; want the end of the connection", n, err)
			}
			if exists(socket) {
				t.Error("the socket file is still there")
			}
		})
	}
}

// timeout(1) and supervisors send a signal to the process and to its group: that is one.
func TestOneSignalTwice(t *testing.T) {
	p, socket := startReady(t)
	askFeatures(t, connect(t, socket))
	p.signal(unix.SIGTERM)
	p.cmd.Process.Signal(unix.SIGTERM) // it may have ended by now
	p.wait(0)
}

// ended tells whether err is what a peer reads from a connection that was closed.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) }

// A second VMM does not hang in the backlog, and does not disturb the first.
func TestSecondVMMIsTurnedAway(t *testing.T) {
	p, socket := startReady(t)
	first := connect(t, socket)
	askFeatures(t, first)
	for range 3 {
		if n, err := connect(t, socket).Read(make([]byte, 1)); n != 0 || !ended(err) {
			t.Fatalf("the second VMM reads %d, %v; want the end of the connection", n, err)
		}
	}
	askFeatures(t, first)
	first.Close()
	p.wait(0)
	if n := strings.Count(p.output(), "A second connection is refused"); n != 1 {
		t.Errorf("the refusal is logged %d times, want once:\n%s", n, p.output())
	}
}

// Somebody removed the socket file, and another server has the path now: its file stays.
func TestForeignSocketFileStays(t *testing.T) {
	p, socket := startReady(t)
	if err := os.Rename(socket, socket+".old"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p.signal(unix.SIGTERM)
	p.wait(0)
	if !exists(socket) {
		t.Error("the daemon removed another server's socket file")
	}
}

// With logging off the daemon is silent, also about its end.
func TestLogOff(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	p := start(t, nil, "--shared-dir", t.TempDir(), "--socket-path", socket, "--log-level=off")
	for range 3000 { // a bound for a broken daemon
		if exists(socket) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	askFeatures(t, connect(t, socket))
	p.signal(unix.SIGTERM)
	p.wait(0)
	if p.output() != "" {
		t.Errorf("output is %q, want nothing", p.output())
	}
}
