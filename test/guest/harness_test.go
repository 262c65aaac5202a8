// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if k := os.Getenv(launcherEnv); k != "" {
		fmt.Fprintln(os.Stderr, launcher(Kind(k)))
		os.Exit(1)
	}
	code := m.Run()
	if err := CleanUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// commandTime is how long an ordinary command in a guest may take.
const commandTime = 2 * time.Minute

// box is a guest of one test: what goes wrong in it fails the test.
type box struct {
	*Guest
	t *testing.T
}

// boot starts a guest that lives as long as the test and whose kernel must stay in order.
func boot(t *testing.T, s Spec) *box {
	t.Helper()
	if err := Prepare(t.Logf, s.Kind); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	g, err := Start(s, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s booted in %.1f s", s.Kind, time.Since(start).Seconds())
	t.Cleanup(func() {
		if p := g.console.problem(); p != "" {
			t.Errorf("the guest's kernel is in trouble: %s", p)
		}
		if t.Failed() {
			t.Logf("console of %s:\n%s", s.Kind, g.Console())
		}
		g.Close()
	})
	return &box{g, t}
}

// on returns the box for a subtest.
func (b *box) on(t *testing.T) *box { return &box{b.Guest, t} }

// run runs a shell command and returns its output and exit status.
func (b *box) run(limit time.Duration, format string, a ...any) (string, int) {
	b.t.Helper()
	script := fmt.Sprintf(format, a...)
	out, code, err := b.Do(script, limit)
	if err != nil {
		b.t.Fatalf("%s\n%s\n%v", script, out, err)
	}
	return out, code
}

// must runs a shell command that must succeed and returns its output.
func (b *box) must(format string, a ...any) string {
	b.t.Helper()
	return b.mustFor(commandTime, format, a...)
}

func (b *box) mustFor(limit time.Duration, format string, a ...any) string {
	b.t.Helper()
	out, code := b.run(limit, "set -e\n"+format, a...)
	if code != 0 {
		b.t.Fatalf("exit status %d of\n%s\n%s", code, fmt.Sprintf(format, a...), out)
	}
	return out
}

// mount mounts the share with a tag and returns where.
func (b *box) mount(tag string) string {
	b.t.Helper()
	dir := "/mnt/" + tag
	b.must("mkdir -p %[1]s; mount -t virtiofs %[2]s %[1]s", dir, tag)
	return dir
}

// wantFile checks a file of the host.
func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %q, not %q", filepath.Base(path), got, want)
	}
}

// writeFile makes a file of the host.
func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// serve starts the daemon. At the end of the test, when the guest is gone, the daemon must
// have ended by itself with status 0.
func serve(t *testing.T, s DaemonSpec) *Daemon {
	t.Helper()
	d, err := StartDaemon(s)
	if err != nil {
		t.Fatal(err)
	}
	watchDaemon(t, d)
	return d
}

func watchDaemon(t *testing.T, d *Daemon) {
	t.Cleanup(func() {
		defer d.Close()
		if err := d.Wait(); err != nil {
			t.Errorf("the daemon: %v", err)
		}
		if log := d.Log(); t.Failed() || strings.Contains(log, "panic") {
			t.Errorf("the daemon's log:\n%s", log)
		}
	})
}

// serveC starts the C daemon that came with QEMU 7.2: a check of the guests themselves.
func serveC(t *testing.T, dir string) *Daemon {
	t.Helper()
	kit, err := prepare(QEMU72, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	d, err := startDaemon(func(socket string) []string {
		return append(foreignProgram(kit.program, "lib/qemu/virtiofsd"),
			"--socket-path="+socket, "-o", "source="+dir)
	})
	if err != nil {
		t.Fatal(err)
	}
	watchDaemon(t, d)
	return d
}
