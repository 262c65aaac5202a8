// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
)

// makeInstall runs make install with variables.
func makeInstall(t *testing.T, variables ...string) {
	t.Helper()
	cmd := exec.Command("make", append([]string{"-C", "../..", "install", "BUILD=" + t.TempDir()}, variables...)...)
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestInstallTree(t *testing.T) {
	dest := t.TempDir()
	makeInstall(t, "DESTDIR="+dest, "PREFIX=/opt/v")
	want := map[string]fs.FileMode{
		"/opt/v/bin/virtiofsd-go":                           0o755,
		"/opt/v/share/man/man8/virtiofsd-go.8":              0o644,
		"/opt/v/share/doc/virtiofsd-go/example.conf":        0o644,
		"/opt/v/share/qemu/vhost-user/50-virtiofsd-go.json": 0o644,
		"/opt/v/lib/systemd/system/virtiofsd-go@.service":   0o644,
		"/opt/v/lib/systemd/system/virtiofsd-go@.socket":    0o644,
	}
	got := map[string]fs.FileMode{}
	err := filepath.WalkDir(dest, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		got[strings.TrimPrefix(p, dest)] = st.Mode()
		return err
	})
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("installed %v, %v; want %v", got, err, want)
	}
	var backend struct{ Description, Type, Binary string } // QEMU's docs/interop/vhost-user.json, VhostUserBackend
	b, err := os.ReadFile(dest + "/opt/v/share/qemu/vhost-user/50-virtiofsd-go.json")
	if err == nil {
		err = json.Unmarshal(b, &backend)
	}
	if err != nil || backend.Type != "fs" || backend.Binary != "/opt/v/bin/virtiofsd-go" || backend.Description == "" {
		t.Errorf("the description for QEMU is %+v, %v", backend, err)
	}
	out, err := exec.Command(dest+"/opt/v/bin/virtiofsd-go", "--version").Output()
	if want := "virtiofsd-go " + config.Version + "\n"; string(out) != want || err != nil {
		t.Errorf("the daemon says %q, %v; want %q", out, err, want)
	}
}

// The units are what systemd takes, and lead to the daemon that was installed with them.
func TestInstalledUnits(t *testing.T) {
	prefix := t.TempDir()
	makeInstall(t, "PREFIX="+prefix)
	for _, unit := range []string{"virtiofsd-go@.service", "virtiofsd-go@.socket"} {
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", prefix+"/lib/systemd/system/"+unit).CombinedOutput()
		if complaints := regexp.MustCompile(`(?m)^[^ ]*virtiofsd-go@.*$`).FindAllString(string(out), -1); err != nil || len(complaints) > 0 {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}
