// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// upper is a share that holds the upper layer of an overlay in the guest.
type upper struct {
	share
	options string // of the overlay's mount
	opaque  string // the host's name of the attribute that hides the directory below
}

// TestOverlayUpper has the upper layers of overlays on shares: the kernel insists on rename with
// whiteouts, file types in directories and its attributes, as a share counts as remote. Its attributes
// are kept by a daemon that may set them, kept under other names, or of the user namespace.
func TestOverlayUpper(t *testing.T) {
	needRoot(t)
	for _, k := range behaveKinds() {
		t.Run(string(k), func(t *testing.T) {
			uppers := []upper{
				{overlayShare(t, "trusted", "--cache=never", "--modcaps=+sys_admin"), "", "trusted.overlay.opaque"},
				{overlayShare(t, "mapped", "--cache=auto", "--xattrmap=:map:trusted.:user.virtiofs.:"), "", "user.virtiofs.trusted.overlay.opaque"},
				{overlayShare(t, "user", "--cache=always"), ",userxattr", "user.overlay.opaque"},
			}
			spec := Spec{Kind: k}
			for _, u := range uppers {
				spec.Shares = append(spec.Shares, Share{Socket: u.d.Socket, Tag: filepath.Base(u.guest)})
			}
			g := boot(t, spec)
			for _, u := range uppers {
				g.mount(filepath.Base(u.guest))
				t.Run(filepath.Base(u.guest), func(t *testing.T) { checkOverlay(g.on(t), u) })
			}
			checkOverlayRefused(g, uppers[2])
		})
	}
}

func overlayShare(t *testing.T, tag string, args ...string) share {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d := serve(t, DaemonSpec{Shared: dir, Tag: tag, Args: append(args, "--xattr")})
	return share{dir, "/mnt/" + tag, d}
}

// merged is the script that shows the whole overlay: kinds, modes, sizes, times, attributes and contents.
const merged = `cd /mnt/merged; find . -mindepth 1 ! -type d -printf '%%p %%y %%m %%s %%n %%T@\n' -o -printf '%%p d %%m\n' | sort
	getfattr -hdR . | sort; find . -type f | sort | xargs sha256sum`

// checkOverlay changes everything that a lower layer holds, looks at what is on the host, and finds the
// same after a new mount with empty caches.
func checkOverlay(b *box, u upper) {
	b.t.Helper()
	// Programs have files without names on the share itself, which the kernel must not use for its layer.
	b.must("/tools/probe tmpfile %s/nameless", u.guest)
	mount := "mount -t overlay -o lowerdir=/mnt/lower,upperdir=" + u.guest + "/upper,workdir=" + u.guest + "/work" + u.options + " overlay /mnt/merged"
	b.must(`mkdir -p /mnt/merged /mnt/lower; cd /mnt/lower; rm -rf -- *
		mkdir kept gone again moved; echo old > changed; echo old > replaced; echo gone > removed; echo l > linked; ln -s changed symlink
		for d in *; do test ! -d $d || touch $d/a $d/b; done
		seq 400000 > big`)
	b.must("%s", mount)
	b.must(`cd /mnt/merged
		echo new >> changed; rm removed symlink; chmod 751 kept; chown 7:8 kept/a; ln linked name2
		rm -r gone again; mkdir again; echo c > again/c
		mv moved elsewhere; mv kept/b kept/e; mv -T kept/a big.old; mv -T big kept/a
		dd if=/dev/zero of=kept/a bs=1 seek=1000000 count=1 conv=notrunc status=none
		echo new >> replaced; echo newer > tmp; mv tmp replaced
		mkfifo fifo; setfattr -n user.color -v blue changed
		test ! -e removed; test "$(ls again elsewhere kept | tr '\n' ' ')" = "again: c  elsewhere: a b  kept: a e "`)
	before := b.must(merged)
	for name, text := range map[string]string{"changed": "old\nnew\n", "replaced": "newer\n"} {
		wantFile(b.t, filepath.Join(u.host, "upper", name), text)
	}
	for _, name := range []string{"removed", "symlink", "gone", "moved", "kept/b"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(u.host, "upper", name), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
			b.t.Errorf("%s is no whiteout on the host: mode %o, device %x, %v", name, st.Mode, st.Rdev, err)
		}
	}
	value := make([]byte, 8)
	if n, err := unix.Lgetxattr(filepath.Join(u.host, "upper/again"), u.opaque, value); err != nil || string(value[:n]) != "y" {
		b.t.Errorf("%s of again is %q, %v", u.opaque, value[:max(n, 0)], err)
	}
	b.must("umount /mnt/merged; echo 3 > /proc/sys/vm/drop_caches; %s", mount)
	if after := b.must(merged); after != before {
		b.t.Errorf("after a new mount there is\n%s\nbefore there was\n%s", after, before)
	}
	// The kernel keeps one name of an upper file, and loses the others when that is removed from a remote share.
	b.must("rm /mnt/merged/linked; umount /mnt/merged; %s", mount)
	b.must("rm -rf /mnt/merged/*; test -z \"$(ls /mnt/merged)\"; umount /mnt/merged; test -f /mnt/lower/big")
}

// checkOverlayRefused: where the kernel's attributes cannot be kept there is no overlay, rather than one
// that loses them.
func checkOverlayRefused(b *box, u upper) {
	b.t.Helper()
	out, code := b.run(commandTime, "mount -t overlay -o lowerdir=/mnt/lower,upperdir=%s/upper,workdir=%[1]s/work overlay /mnt/merged 2>&1", u.guest)
	if code == 0 || !strings.Contains(out, "wrong fs type, bad option") {
		b.t.Errorf("an overlay without attributes: status %d, %s", code, out)
	}
}
