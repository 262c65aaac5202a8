// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// startShares runs a daemon with two shares and returns their sockets when both are ready.
func startShares(t *testing.T) (p *proc, a, b string) {
	t.Helper()
	dir := t.TempDir()
	a, b = filepath.Join(dir, "a"), filepath.Join(dir, "b")
	p = start(t, nil, "--sandbox=none", "--share", t.TempDir()+",socket="+a, "--share", t.TempDir()+",readonly,socket="+b)
	p.waitFor(readyLine)
	p.waitFor(readyLine)
	return p, a, b
}

// Each share has a life of its own, and the process ends with the last one.
func TestSharesEndOneByOne(t *testing.T) {
	p, a, b := startShares(t)
	ca, cb := connect(t, a), connect(t, b)
	askFeatures(t, ca)
	askFeatures(t, cb)
	ca.Close()
	line := p.waitFor("Client disconnected, shutting down")
	if !strings.Contains(line, " share=/") {
		t.Errorf("%q does not say which share", line)
	}
	askFeatures(t, cb)
	cb.Close()
	p.wait(0)
	for _, f := range []string{a, b, a + ".pid", b + ".pid"} {
		if exists(f) {
			t.Errorf("%s is left", f)
		}
	}
}

// A VMM that breaks the protocol ends its own share only; the exit code tells of it.
func TestShareThatFails(t *testing.T) {
	p, a, b := startShares(t)
	ca, cb := connect(t, a), connect(t, b)
	askFeatures(t, cb)
	if _, err := ca.Write([]byte("this is not vhost-user at all, but long enough")); err != nil {
		t.Fatal(err)
	}
	p.waitFor("This share ends, the others go on")
	if exists(a) {
		t.Errorf("%s is left", a)
	}
	askFeatures(t, cb)
	cb.Close()
	p.wait(1)
	if last := p.seen[len(p.seen)-1]; !strings.HasPrefix(last, "virtiofsd-go: hostfs:") || !strings.Contains(last, "serving the VMM") {
		t.Errorf("the last line is %q, want the share and what was wrong", last)
	}
}

func TestSignalEndsAllShares(t *testing.T) {
	p, a, b := startShares(t)
	askFeatures(t, connect(t, a)) // and nobody on b
	p.signal(unix.SIGTERM)
	p.wait(0)
	if exists(a) || exists(b) {
		t.Error("a socket is left")
	}
}

// All shares start or none.
func TestShareThatCannotStart(t *testing.T) {
	dir := t.TempDir()
	p := start(t, nil, "--sandbox=none", "--share", dir+",socket="+dir+"/a", "--share", dir+"/no,socket="+dir+"/b")
	p.wait(1)
	if want := "virtiofsd-go: the shared directory " + dir + "/no does not exist: create it"; !strings.HasPrefix(p.output(), want) || len(p.seen) != 1 {
		t.Errorf("output is %q, want one line: %s", p.output(), want)
	}
	if exists(dir+"/a") || exists(dir+"/a.pid") {
		t.Error("the socket of the other share is left")
	}
}

// TestSharesFromFile: a file of options says what is shared, and the command line the rest.
func TestSharesFromFile(t *testing.T) {
	dir := t.TempDir()
	conf, a, b := filepath.Join(dir, "vm.conf"), filepath.Join(dir, "a"), filepath.Join(dir, "b")
	text := "locked\nsandbox = none\n[one]\nshared-dir = " + t.TempDir() + "\nsocket-path = " + a +
		"\n[two]\nshared-dir = " + t.TempDir() + "\nsocket-path = " + b + "\nreadonly\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "--config", conf, "--log-level=debug")
	p.waitFor(readyLine)
	p.waitFor(readyLine)
	askFeatures(t, connect(t, a))
	askFeatures(t, connect(t, b))
	p.signal(unix.SIGTERM)
	p.wait(0)

	p = start(t, nil, "--config", conf, "-o", "source=/")
	p.wait(2)
	if want := "virtiofsd-go: --shared-dir and --share exclude each other"; !strings.Contains(p.output(), want) {
		t.Errorf("it says\n%s\nwant %q", p.output(), want)
	}
}

// TestNamesOfAnyBytes: paths and rules need not be UTF-8, in any sandbox.
func TestNamesOfAnyBytes(t *testing.T) {
	for _, sandbox := range []string{"namespace", "none"} {
		dir := filepath.Join(t.TempDir(), "\xff\xfe")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		socket := filepath.Join(dir, "\xfd.sock")
		p := start(t, nil, "--sandbox="+sandbox, "--shared-dir", dir, "--socket-path", socket, "--xattrmap=:prefix:all:user.\xff:user.x:", "--fault=read path=\xff* error=EIO")
		p.waitFor(readyLine)
		askFeatures(t, connect(t, socket))
		p.signal(unix.SIGTERM)
		p.wait(0)
	}
}
