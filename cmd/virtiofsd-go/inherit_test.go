// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What the program that starts the daemon leaves to it: its standard error, its ignored signals.

// Whoever reads the log may go: the guest keeps its file system.
func TestLogReaderGoes(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "fs.sock")
	cmd := exec.Command(daemonBinary, "--shared-dir", t.TempDir(), "--socket-path", socket, "--sandbox=none")
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	w.Close()
	if line, err := bufio.NewReader(r).ReadString('\n'); !strings.Contains(line, readyLine) {
		t.Fatalf("the first line is %q, %v", line, err)
	}
	r.Close()
	c := connect(t, socket)
	askFeatures(t, c) // the daemon has logged that a client is there, before it answers
	c.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the daemon ends with %v, want success", err)
	}
}

// A daemon started with nohup survives the end of its terminal.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	for name, s := range map[string]unix.Signal{"HUP": unix.SIGHUP, "INT": unix.SIGINT} {
		socket := filepath.Join(t.TempDir(), "fs.sock")
		p := startCmd(t, exec.Command("sh", "-c", `trap "" `+name+`; exec "$@"`, "sh",
			daemonBinary, "--shared-dir", t.TempDir(), "--socket-path", socket, "--sandbox=none"))
		p.waitFor(readyLine)
		p.signal(s)
		askFeatures(t, connect(t, socket))
		p.signal(unix.SIGTERM)
		p.wait(0)
		if !strings.Contains(p.output(), "signal=terminated") {
			t.Errorf("SIG%s, which is ignored, ends the daemon:\n%s", name, p.output())
		}
	}
}
