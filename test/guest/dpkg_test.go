// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/debs"
)

// systemBundle is a small Debian system that can install packages, and those of which it is made.
var systemBundle = debs.Bundle{
	Name: "system", Suites: bookworm, Keep: true, Finish: finishSystem,
	Packages: []string{"coreutils", "dash", "diffutils", "dpkg", "findutils", "grep", "iputils-ping", "libc-bin", "sed"},
}

// finishSystem adds what dpkg expects, as debootstrap does; nothing counts as installed.
func finishSystem(dir string) error {
	for _, d := range []string{"var/lib/dpkg", "var/log"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"status", "available"} {
		if err := os.WriteFile(filepath.Join(dir, "var/lib/dpkg", name), nil, 0o644); err != nil {
			return err
		}
	}
	return finishRoot(dir)
}

// TestDpkg installs the packages of a small Debian system into it, by a chroot on the share: dpkg writes
// each file beside the old one, syncs and renames, makes links and diversions, and runs scripts, one of
// which gives ping a capability by setcap. As with debootstrap, dependencies do not count until all is there.
func TestDpkg(t *testing.T) {
	needRoot(t)
	tree, err := OpenBundle(systemBundle, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	packages, atLeast := "dash_* iputils-ping_* libcap2* sed_*", 80
	if full() {
		packages, atLeast = "*.deb", 500
	}
	for _, k := range behaveKinds() {
		t.Run(string(k), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "system")
			if out, err := exec.Command("cp", "-a", tree, dir).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			old := inodesOf(t, dir)
			g, sh := alone(t, k, DaemonSpec{Shared: dir, Args: []string{"--xattr", "--cache=auto"}})
			g.must("mount -t proc proc %[1]s/proc; mount -t devtmpfs dev %[1]s/dev", sh.guest)
			out := g.mustFor(workTime, "chroot %s sh -c 'cd /%s; dpkg --force-depends --install %s' 2>&1", sh.guest, debs.ArchivesDir, packages)
			if !strings.Contains(out, "Setting up iputils-ping") {
				t.Errorf("dpkg says\n%s", out)
			}
			if out := g.must("chroot %s sh -c 'dpkg --audit; dpkg --verify'", sh.guest); out != "" {
				t.Errorf("dpkg finds\n%s", out)
			}
			checkInstalled(t, dir, old, atLeast)
			checkCapability(g, sh)
			g.must("chroot %s dpkg --purge iputils-ping; test ! -e %[1]s/usr/bin/ping; umount %[1]s/proc %[1]s/dev", sh.guest)
			if _, err := os.Lstat(filepath.Join(dir, "usr/bin/ping")); !os.IsNotExist(err) {
				t.Errorf("ping is still on the host: %v", err)
			}
		})
	}
}

// inodesOf returns the inode numbers of the regular files below dir.
func inodesOf(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	inodes := map[string]uint64{}
	for name := range readTree(t, dir) {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Fatal(err)
		}
		inodes[strings.TrimPrefix(name, "/")] = st.Ino
	}
	return inodes
}

// checkInstalled compares the files that dpkg says it has installed with their sums, on the host; each
// must be another file than the one that was there.
func checkInstalled(t *testing.T, dir string, old map[string]uint64, atLeast int) {
	t.Helper()
	lists, err := filepath.Glob(filepath.Join(dir, "var/lib/dpkg/info/*.md5sums"))
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, list := range lists {
		f, err := os.Open(list)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for in := bufio.NewScanner(f); in.Scan(); files++ {
			want, name, _ := strings.Cut(in.Text(), "  ")
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
				t.Fatal(err)
			}
			if sum := md5.Sum(data); hex.EncodeToString(sum[:]) != want {
				t.Errorf("%s: the host has not what was installed", name)
			}
			if st.Ino == old[name] {
				t.Errorf("%s: dpkg has not replaced it", name)
			}
		}
	}
	if files < atLeast {
		t.Errorf("%d packages of %d files are installed: too few", len(lists), files)
	}
}

// checkCapability: what setcap gave to a program works, is on the host, and goes when the program is
// written to, by root as by its owner.
func checkCapability(b *box, sh share) {
	b.t.Helper()
	const user = "chroot --userspec=1000:1000 "
	b.must(`cd %s; cp usr/bin/cat tmp/read; chown 1000 tmp/read; echo secret > tmp/secret; chmod 600 tmp/secret
		! %[2]s. /tmp/read /tmp/secret 2>/dev/null
		chroot . setcap cap_dac_override+ep /tmp/read`, sh.guest, user)
	capabilities := func(want error) {
		b.t.Helper()
		for _, name := range []string{"usr/bin/ping", "tmp/read"} {
			if _, err := unix.Lgetxattr(filepath.Join(sh.host, name), "security.capability", nil); err != want {
				b.t.Errorf("the capability of %s on the host: %v, want %v", name, err, want)
			}
		}
	}
	capabilities(nil)
	if out := b.must("%s%s /tmp/read /tmp/secret; chroot %[2]s getcap /usr/bin/ping", user, sh.guest); out != "secret\n/usr/bin/ping cap_net_raw=ep\n" {
		b.t.Errorf("with their capabilities: %s", out)
	}
	b.must("cd %s; %s. sh -c 'echo >> /tmp/read'; echo >> usr/bin/ping", sh.guest, user)
	capabilities(unix.ENODATA)
	out, code := b.run(commandTime, "%s%s /tmp/read /tmp/secret 2>&1; chroot %[2]s getcap /usr/bin/ping", user, sh.guest)
	if code != 0 || out != "/tmp/read: /tmp/secret: Permission denied\n" {
		b.t.Errorf("after they were written to: %s", out)
	}
}
