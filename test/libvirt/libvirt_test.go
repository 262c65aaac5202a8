// SPDX-License-Identifier: Apache-2.0

package libvirt

import (
	"context"
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

// libvirt9 is libvirt 9.0 with QEMU 7.2 and Linux 6.1.
var libvirt9 = debs.Bundle{
	Name: "libvirt-9", Suites: []string{"bookworm"},
	Packages: []string{"libvirt-daemon", "libvirt-clients", "qemu-system-x86", "linux-image-cloud-amd64", "busybox-static"},
}

// enclose is run in a mount and PID namespace of its own: it lays a writable layer over the tree $1,
// makes what a system has, and runs inside.sh there. The layer is in memory and goes with it.
const enclose = `set -e
mount -t tmpfs layer "$2/mnt"
mkdir "$2/mnt/upper" "$2/mnt/work" "$2/mnt/root"
root=$2/mnt/root
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/mnt/upper,workdir=$2/mnt/work" "$root"
for d in proc sys dev run tmp etc/libvirt work var/log/libvirt/qemu var/lib/libvirt/qemu var/cache/libvirt/qemu; do mkdir -p "$root/$d"; done
[ -e "$root/var/run" ] || ln -s /run "$root/var/run"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs run "$root/run"
mount --bind "$2/work" "$root/work"
printf 'root:x:0:0:root:/root:/bin/sh\nlibvirt-qemu:x:64055:36::/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nkvm:x:36:\nlibvirt:x:37:\nlibvirt-qemu:x:64055:\n' >"$root/etc/group"
cat >"$root/etc/libvirt/qemu.conf" <<END
security_driver = "none"
user = "root"
group = "root"
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
END
exec chroot "$root" /bin/busybox sh /work/inside.sh`

func TestLibvirtStartsTheDaemon(t *testing.T) {
	tree, err := guest.OpenBundle(libvirt9, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
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

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", enclose, "sh", tree, dir)
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
