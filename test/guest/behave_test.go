// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// behaveKinds are the guests of the tests of this file.
func behaveKinds() []Kind {
	if full() {
		return []Kind{UML61, QEMU10, UML72}
	}
	return []Kind{UML61}
}

// alone boots a guest with one share that a daemon with these options serves.
func alone(t *testing.T, k Kind, d DaemonSpec) (*box, share) {
	t.Helper()
	if d.Shared == "" {
		d.Shared = t.TempDir()
	}
	d.Tag = "share"
	sh := share{host: d.Shared, guest: "/mnt/share", d: serve(t, d)}
	g := boot(t, Spec{Kind: k, Shares: []Share{{Socket: sh.d.Socket, Tag: "share"}}})
	g.mount("share")
	return g, sh
}

// TestKillPrivs: what a user of the guest writes to loses its setuid and setgid bits and its
// capabilities on the host, in every cache mode, and the guest sees it.
func TestKillPrivs(t *testing.T) {
	for _, k := range behaveKinds() {
		for _, cache := range []string{"never", "metadata", "auto", "always"} {
			for _, v2 := range []string{"--killpriv-v2", "--no-killpriv-v2"} {
				t.Run(fmt.Sprint(k, cache, v2), func(t *testing.T) {
					g, sh := alone(t, k, DaemonSpec{Args: []string{"--xattr", "--cache=" + cache, v2}})
					checkKillPrivs(g, sh)
				})
			}
		}
	}
}

// aCapability is cap_net_raw+ep as setcap puts it into security.capability (Linux include/uapi/linux/capability.h).
const aCapability = "0x0100000200200000000000000000000000000000"

func checkKillPrivs(b *box, sh share) {
	for name, change := range map[string]string{
		"append":    "echo more >> %s",
		"overwrite": "echo more | dd of=%s conv=notrunc status=none",
		"direct":    "head -c 4096 /dev/zero | dd of=%s conv=notrunc oflag=direct bs=4096 status=none",
		"open":      ": > %s",
		"truncate":  "truncate -s 1 %s",
		"allocate":  "fallocate -l 100k %s",
	} {
		path := filepath.Join(sh.host, name)
		writeFile(b.t, path, "text\n")
		if err := os.Chmod(path, 0o777|os.ModeSetuid|os.ModeSetgid); err != nil {
			b.t.Fatal(err)
		}
		in := sh.guest + "/" + name
		if os.Geteuid() == 0 {
			b.must("setfattr -n security.capability -v %s %s", aCapability, in)
		}
		b.must("stat -c %%A %s; getfattr -m . %[1]s", in)
		b.must("setpriv --reuid=1000 --regid=1000 --clear-groups sh -c '"+change+"'", in)
		st, err := os.Stat(path)
		if err != nil {
			b.t.Fatal(err)
		}
		if st.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
			b.t.Errorf("%s: mode %v on the host", name, st.Mode())
		}
		if got := b.must("stat -c %%a %s", in); got != "777\n" {
			b.t.Errorf("%s: mode %q in the guest", name, got)
		}
		if _, err := unix.Lgetxattr(path, "security.capability", nil); err != unix.ENODATA {
			b.t.Errorf("%s: a capability on the host: %v", name, err)
		}
		if got := b.must("getfattr -m . %s", in); got != "" {
			b.t.Errorf("%s: in the guest it has %s", name, got)
		}
	}
}

// TestFileHandles: a handle that a program took leads to the file after the guest has forgotten it,
// and nowhere once the file is gone.
func TestFileHandles(t *testing.T) {
	for _, k := range behaveKinds() {
		for _, use := range []string{"prefer", "never"} {
			t.Run(fmt.Sprint(k, use), func(t *testing.T) {
				g, sh := alone(t, k, DaemonSpec{Args: []string{"--inode-file-handles=" + use}})
				for _, name := range []string{"f", "d/e/f"} {
					path := filepath.Join(sh.host, name)
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					writeFile(t, path, "contents of "+name)
					if out := g.must("/tools/probe handle %s/%s", sh.guest, name); out != "the same file\n" {
						t.Errorf("%s: %s", name, out)
					}
					if out := g.must("/tools/probe stale %s/%s", sh.guest, name); out != "stale\n" {
						t.Errorf("%s: %s", name, out)
					}
				}
			})
		}
	}
}

// TestReplacedOnHost: programs in the guest never get ESTALE for a name that the host gives to
// another file all the time, with hardly any fds in the daemon to hold on to.
func TestReplacedOnHost(t *testing.T) {
	rounds, caches := 2000, []string{"never", "auto"}
	if full() {
		rounds, caches = 5000, []string{"never", "auto", "always"}
	}
	for _, k := range behaveKinds() {
		for _, cache := range caches {
			for _, use := range []string{"prefer", "never"} {
				t.Run(fmt.Sprint(k, cache, use), func(t *testing.T) {
					g, sh := alone(t, k, DaemonSpec{
						Args: []string{"--cache=" + cache, "--inode-file-handles=" + use},
						Wrap: []string{"prlimit", "--nofile=1000:1000"},
					})
					stop := replaceForever(t, sh.host)
					out := g.mustFor(workTime, "/tools/probe replaced %s/name %d", sh.guest, rounds)
					n := stop()
					t.Logf("replaced %d times: %s", n, out)
					if n < 100 {
						t.Errorf("the host replaced the file %d times only", n)
					}
				})
			}
		}
	}
}

// replaceForever makes dir/name a new file, a new link, and nothing, in turns, until stop is called.
func replaceForever(t *testing.T, dir string) (stop func() int) {
	t.Helper()
	name, tmp := filepath.Join(dir, "name"), filepath.Join(dir, "tmp")
	writeFile(t, filepath.Join(dir, "target"), "target")
	ended, done := make(chan int), make(chan struct{})
	once := func(n int) error {
		switch n % 5 {
		case 0, 2:
			return errors.Join(os.WriteFile(tmp, []byte("new"), 0o644), os.Rename(tmp, name))
		case 1, 3:
			return errors.Join(os.Symlink("target", tmp), os.Rename(tmp, name))
		}
		return os.Remove(name)
	}
	go func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				ended <- n
				return
			default:
			}
			if err := once(n); err != nil {
				t.Error(err)
			}
		}
	}()
	return func() int {
		close(done)
		return <-ended
	}
}

// TestSubmountsInGuest: file systems below the share are mounts of their own in the guest, whose
// device numbers stay, and what is written there and synced is on the host.
func TestSubmountsInGuest(t *testing.T) {
	needRoot(t)
	for _, k := range behaveKinds() {
		for _, announce := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s-%v", k, announce), func(t *testing.T) {
				dir := t.TempDir()
				below := mountBelow(t, dir)
				option := "--no-announce-submounts"
				if announce {
					option = "--announce-submounts"
				}
				g, sh := alone(t, k, DaemonSpec{Shared: dir, Args: []string{option}})
				devices := map[string]bool{g.dev(sh.guest): true}
				for _, name := range below {
					in := sh.guest + "/" + name
					g.must("echo from the guest > %s/f; sync -f %[1]s/f; sync", in)
					wantFile(t, filepath.Join(dir, name, "f"), "from the guest\n")
					dev := g.dev(in)
					devices[dev] = true
					g.must("echo 3 > /proc/sys/vm/drop_caches; ls -lR %s", sh.guest)
					if again := g.dev(in + "/f"); again != dev {
						t.Errorf("%s: device %s, then %s", name, dev, again)
					}
				}
				want := 1
				if announce {
					want += len(below)
				}
				if len(devices) != want {
					t.Errorf("%d devices, want %d: %v", len(devices), want, devices)
				}
			})
		}
	}
}

// dev is the device number of a file in the guest.
func (b *box) dev(path string) string { return strings.TrimSpace(b.must("stat -c %%d %s", path)) }

// mountBelow mounts a tmpfs, an overlay and an ext4 image in dir and returns where.
func mountBelow(t *testing.T, dir string) []string {
	t.Helper()
	work := t.TempDir()
	for _, d := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(work, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	image := filepath.Join(work, "image")
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", image, "16M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	overlay := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", work)
	var names []string
	for name, args := range map[string][]string{
		"tmpfs":   {"-t", "tmpfs", "none"},
		"overlay": {"-t", "overlay", "-o", overlay, "none"},
		"ext4":    {"-o", "loop", image},
	} {
		at := filepath.Join(dir, name)
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		mountAt(t, at, args...)
		names = append(names, name)
	}
	return names
}

// mountAt mounts on the host until the test has ended.
func mountAt(t *testing.T, at string, args ...string) {
	t.Helper()
	if out, err := exec.Command("mount", append(args, at)...).CombinedOutput(); err != nil {
		t.Fatalf("mount %v: %v\n%s", args, err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", at, err)
		}
	})
}

// TestCopiesShareBlocks: cp(1) in the guest, which asks for copy_file_range(2), takes no room on a
// host that can let files share blocks.
func TestCopiesShareBlocks(t *testing.T) {
	needRoot(t)
	const size = 64 << 20
	image := filepath.Join(t.TempDir(), "image")
	if out, err := exec.Command("mkfs.xfs", "-q", "-m", "reflink=1", "-d", "file,name="+image+",size=400m").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.xfs: %v\n%s", err, out)
	}
	dir := t.TempDir()
	mountAt(t, dir, "-o", "loop", image)
	for _, k := range behaveKinds() {
		t.Run(string(k), func(t *testing.T) {
			g, sh := alone(t, k, DaemonSpec{Shared: dir})
			g.must("head -c %d /dev/urandom > %s/a; sync", size, sh.guest)
			before := freeBytes(t, dir)
			g.must("cp %[1]s/a %[1]s/b; sync; cmp %[1]s/a %[1]s/b", sh.guest)
			if took := before - freeBytes(t, dir); took > size/8 {
				t.Errorf("the copy of %d bytes took %d", size, took)
			}
			if hashHostFile(t, filepath.Join(dir, "a")) != hashHostFile(t, filepath.Join(dir, "b")) {
				t.Error("the copy differs on the host")
			}
			g.must("rm %[1]s/a %[1]s/b", sh.guest)
		})
	}
}

// freeBytes is the room that is left on a file system of the host, with nothing on its way.
func freeBytes(t *testing.T, dir string) int64 {
	t.Helper()
	unix.Sync()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bfree) * st.Bsize
}

// TestWritebackWorkloads does what people do with a share while the guest's kernel keeps back what
// they write, with two cache modes and O_DIRECT down to the host's disk.
func TestWritebackWorkloads(t *testing.T) {
	kinds := []Kind{UML61}
	if full() {
		kinds = append(kinds, QEMU10, QEMU11)
	}
	for _, k := range kinds {
		for _, cache := range []string{"auto", "always"} {
			t.Run(string(k)+"-"+cache, func(t *testing.T) {
				g, sh := alone(t, k, DaemonSpec{Args: []string{"--writeback", "--cache=" + cache, "--xattr", "--allow-direct-io"}})
				t.Run("posix", func(t *testing.T) { checkPosix(g.on(t), sh, 10) })
				t.Run("fio", func(t *testing.T) { checkFio(g.on(t), sh, 10) })
				t.Run("git", func(t *testing.T) { checkGit(g.on(t), sh, 10) })
				t.Run("sqlite", func(t *testing.T) { checkSqlite(g.on(t), sh, 10) })
				t.Run("write-only", func(t *testing.T) { checkWriteOnly(g.on(t), sh) })
			})
		}
	}
}

// checkWriteOnly writes parts of pages of files that nobody may read, as a user who may not either.
func checkWriteOnly(b *box, sh share) {
	b.must("chmod 777 %s", sh.guest)
	b.must(`setpriv --reuid=1000 --regid=1000 --clear-groups sh -ec '
		umask 0577; echo new > %[1]s/wo-new
		for i in 1 2 3; do echo $i >> %[1]s/wo-append; done
		echo X | dd of=%[1]s/wo-append bs=1 seek=2 count=1 conv=notrunc status=none'; sync`, sh.guest)
	wantFile(b.t, filepath.Join(sh.host, "wo-new"), "new\n")
	wantFile(b.t, filepath.Join(sh.host, "wo-append"), "1\nX\n3\n")
	// Pages that the guest does not have any more: it has to read them to write a part of them.
	b.must(`echo 3 > /proc/sys/vm/drop_caches; setpriv --reuid=1000 --regid=1000 --clear-groups sh -ec '
		echo 4 >> %[1]s/wo-append; echo Y | dd of=%[1]s/wo-append bs=1 count=1 conv=notrunc status=none'; sync`, sh.guest)
	wantFile(b.t, filepath.Join(sh.host, "wo-append"), "Y\nX\n3\n4\n")
}

// TestMMapWithoutPages: with --allow-mmap several processes can map a file shared that the guest
// does not cache, as a write-ahead log's index is.
func TestMMapWithoutPages(t *testing.T) {
	g, sh := alone(t, QEMU10, DaemonSpec{Args: []string{"--cache=never", "--allow-mmap"}})
	checkSql(g, sh, "wal.db", "PRAGMA journal_mode=WAL;", "wal", 3)
}

// TestFlagsOfInodes: what chattr(1) does in the guest happens on the host.
func TestFlagsOfInodes(t *testing.T) {
	for _, k := range behaveKinds() {
		g, sh := alone(t, k, DaemonSpec{})
		for _, name := range []string{"file", "dir"} {
			path := filepath.Join(sh.host, name)
			if name == "file" {
				writeFile(t, path, "")
			} else if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
			g.must("/tools/probe nodump %s/%s", sh.guest, name)
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS); err != nil || flags&0x40 == 0 {
				t.Errorf("%s: flags %#x on the host, %v", name, flags, err)
			}
		}
	}
}
