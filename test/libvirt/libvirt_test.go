// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest"
	"github.com/virtiofsd-go/virtiofsd-go/test/guest/debs"
)

// patience is how long libvirt and the guest may take; it passes only in failures.
const patience = 3 * time.Minute

// The two versions of libvirt of Debian 12: 9.0, and 11.3 of its backports.
var (
	packages  = []string{"libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients", "busybox-static"}
	libvirt9  = debs.Bundle{Name: "libvirt-9.0", Suites: []string{"bookworm"}, Packages: packages}
	libvirt11 = debs.Bundle{Name: "libvirt-11.3", Suites: []string{"bookworm", "bookworm-backports"}, Packages: packages}
)

// user is who runs a session, in the namespaces and on the host.
const user = 1000

// enclose.sh puts a system together and runs inside.sh in it, in a mount and PID namespace of its own.
//
//go:embed enclose.sh
var enclose string

// TestLibvirtStartsTheDaemon has libvirt run a domain with QEMU 10 and Linux 6.12, by emulation.
func TestLibvirtStartsTheDaemon(t *testing.T) {
	tests := []struct {
		name    string
		libvirt debs.Bundle
		mode    string // of the URI: system, with a daemon that root has started, or session, with a user's own
	}{{"9.0-system", libvirt9, "system"}}
	if os.Getenv("VIRTIOFSD_GO_FULL") == "1" {
		tests = append(tests, []struct {
			name    string
			libvirt debs.Bundle
			mode    string
		}{{"11.3-system", libvirt11, "system"}, {"11.3-session", libvirt11, "session"}}...)
	}
	qemu, kernel, err := guest.Trees(guest.QEMU10, t.Logf)
	must(t, err)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			libvirt, err := guest.OpenBundle(tt.libvirt, t.Logf)
			must(t, err)
			startDomain(t, qemu+":"+kernel+":"+libvirt, tt.mode)
		})
	}
}

// startDomain has libvirt start a domain whose guest copies a file of the share and ends.
func startDomain(t *testing.T, trees, mode string) {
	t.Helper()
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	for _, d := range []string{"mnt", "work", "work/share"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	build := exec.Command("go", "build", "-race=false", "-o", filepath.Join(work, "virtiofsd-go"), "../../cmd/virtiofsd-go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"inside.sh", "init.sh", "domain.xml"} {
		b, err := os.ReadFile(name)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(work, name), b, 0o644))
	}
	const greeting = "hello by libvirt\n"
	must(t, os.WriteFile(filepath.Join(work, "share/greeting"), []byte(greeting), 0o644))
	if mode == "session" {
		must(t, os.Chown(work, user, user))
		must(t, os.Chown(filepath.Join(work, "share"), user, user))
	}

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", enclose, "sh", trees, dir, mode)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	for _, line := range []string{"Client connected, servicing requests", "Client disconnected, shutting down"} {
		if !strings.Contains(string(out), line) {
			t.Errorf("the daemon has not logged %q", line)
		}
	}
	answer, errAnswer := os.ReadFile(filepath.Join(work, "share/answer"))
	if err != nil || string(answer) != greeting {
		console, _ := os.ReadFile(filepath.Join(work, "console"))
		lines := strings.Split(string(console), "\n")
		t.Fatalf("%v; the guest's answer is %q, %v; its console ends with\n%s", err, answer, errAnswer, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
