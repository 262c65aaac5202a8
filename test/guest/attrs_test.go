// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestXAttrs: extended attributes go both ways, under their own names and under others, and are not there
// without the option; a program is told what is wrong with one.
func TestXAttrs(t *testing.T) {
	for _, k := range behaveKinds() {
		t.Run(string(k), func(t *testing.T) {
			plain, moved, off := attrShare(t, "plain", "--xattr"), attrShare(t, "moved", "--xattrmap=:map::user.virtiofs.:"), attrShare(t, "off")
			g := boot(t, Spec{Kind: k, Shares: []Share{{plain.d.Socket, "plain", 1}, {moved.d.Socket, "moved", 1}, {off.d.Socket, "off", 1}}})
			for _, sh := range []share{plain, moved, off} {
				g.mount(filepath.Base(sh.guest))
			}
			checkXAttrs(g, plain, "", "user.color")
			checkXAttrs(g, moved, "user.virtiofs.", "user.color", "trusted.secret", "security.other")
			g.refuses("touch %s/f; setfattr -n user.color -v blue %[1]s/f", off.guest)
			g.refuses("setfattr -n nowhere.a -v b %s/f", plain.guest) // a name of no namespace
		})
	}
}

func attrShare(t *testing.T, tag string, args ...string) share {
	t.Helper()
	dir := t.TempDir()
	return share{dir, "/mnt/" + tag, serve(t, DaemonSpec{Shared: dir, Tag: tag, Args: args, Race: true})}
}

// checkXAttrs sets attributes in the guest and on the host, where prefix stands before the guest's names.
func checkXAttrs(b *box, sh share, prefix string, names ...string) {
	b.t.Helper()
	path := filepath.Join(sh.host, "f")
	b.must("cd %s; echo text > f; mkdir d", sh.guest)
	for _, name := range names {
		for _, file := range []string{"f", "d"} {
			b.must(`cd %s; setfattr -n %s -v "from the guest" %s; test "$(getfattr --only-values -n %[2]s %[3]s)" = "from the guest"`, sh.guest, name, file)
			value := make([]byte, 100)
			n, err := unix.Lgetxattr(filepath.Join(sh.host, file), prefix+name, value)
			if err != nil || string(value[:n]) != "from the guest" {
				b.t.Errorf("%s of %s on the host is %q, %v", prefix+name, file, value[:max(n, 0)], err)
			}
		}
		if err := unix.Setxattr(path, prefix+name, []byte("from the host"), unix.XATTR_REPLACE); err != nil {
			b.t.Fatal(err)
		}
		if got := b.must("cd %s; getfattr --only-values -n %s f", sh.guest, name); got != "from the host" {
			b.t.Errorf("%s in the guest is %q", name, got)
		}
	}
	var listed []string
	for line := range strings.Lines(b.must("cd %s; getfattr -m - f", sh.guest)) {
		if name := strings.TrimSpace(line); name != "" && !strings.HasPrefix(name, "#") {
			listed = append(listed, name)
		}
	}
	slices.Sort(names)
	if slices.Sort(listed); !slices.Equal(listed, names) {
		b.t.Errorf("the guest lists %q, want %q", listed, names)
	}
	for _, name := range names {
		b.must("cd %s; setfattr -x %s f; ! setfattr -x %[2]s f 2>/dev/null", sh.guest, name)
		if _, err := unix.Lgetxattr(path, prefix+name, nil); err != unix.ENODATA {
			b.t.Errorf("%s on the host after it was removed: %v", prefix+name, err)
		}
	}
}

// refuses runs a command that ends with one that the share does not support.
func (b *box) refuses(format string, a ...any) {
	b.t.Helper()
	out, code := b.run(commandTime, format+" 2>&1", a...)
	if code == 0 || !strings.Contains(out, "Operation not supported") {
		b.t.Errorf(format+": status %d, %s", append(a, code, out)...)
	}
}

// TestBirthTime: the guest sees when the host's file was made (FUSE_STATX, Linux 6.6).
func TestBirthTime(t *testing.T) {
	kinds := []Kind{QEMU10}
	if full() {
		kinds = append(kinds, UML72, QEMU11)
	}
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			g, sh := alone(t, k, DaemonSpec{})
			writeFile(t, filepath.Join(sh.host, "f"), "text")
			if err := os.Mkdir(filepath.Join(sh.host, "d"), 0o755); err != nil {
				t.Fatal(err)
			}
			g.must("echo text > %s/made-here", sh.guest)
			for _, name := range []string{"f", "d", "made-here"} {
				want, err := exec.Command("stat", "-c", "%.9W", filepath.Join(sh.host, name)).Output()
				if err != nil || strings.HasPrefix(string(want), "0") {
					t.Fatalf("the host's file system has no birth times: %q, %v", want, err)
				}
				if got := g.must("stat -c %%.9W %s/%s", sh.guest, name); got != string(want) {
					t.Errorf("%s was born at %s in the guest, %s on the host", name, got, want)
				}
			}
		})
	}
}
