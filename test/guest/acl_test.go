// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// shifted is where the ids of a guest begin on the host with translated ids.
const shifted = 100000

// needRoot leaves a test out for ordinary users, who can neither mount nor give files to others.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount, and give files to other users")
	}
}

// TestACLs sets and uses POSIX ACLs in guests, with ids as they are and with translated ones.
func TestACLs(t *testing.T) {
	needRoot(t)
	kinds := []Kind{UML61}
	if full() {
		kinds = append(kinds, QEMU10, UML72)
	}
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			plain := aclShare(t, "plain", 0)
			moved := aclShare(t, "moved", shifted, fmt.Sprintf("--translate-uid=map:0:%d:65536", shifted),
				fmt.Sprintf("--translate-gid=map:0:%d:65536", shifted))
			b := boot(t, Spec{Kind: k, Shares: []Share{{plain.d.Socket, "plain", 1}, {moved.d.Socket, "moved", 1}}})
			for _, sh := range []share{plain, moved} {
				b.mount(filepath.Base(sh.guest))
				t.Run(filepath.Base(sh.guest), func(t *testing.T) {
					b := b.on(t)
					checkACLs(b, sh)
					checkDefaultACLs(b, sh)
					checkUserNamespace(b, sh)
				})
			}
		})
	}
}

// aclShare is a share with ACLs whose root belongs to the guest's root.
func aclShare(t *testing.T, tag string, owner int, args ...string) share {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chown(dir, owner, owner); err != nil {
		t.Fatal(err)
	}
	args = append(args, "--posix-acl", "--cache=auto")
	return share{dir, "/mnt/" + tag, serve(t, DaemonSpec{Shared: dir, Tag: tag, Args: args, Race: true})}
}

// base is where the guest's ids begin on the host.
func (sh share) base() uint32 {
	if strings.HasSuffix(sh.guest, "moved") {
		return shifted
	}
	return 0
}

// as runs a command in the guest as one of its users.
func as(uid int, script string) string {
	return fmt.Sprintf("setpriv --reuid %d --regid %d --clear-groups sh -c '%s'", uid, uid, script)
}

// checkACLs: an ACL comes back as it was set, decides who may do what, goes with chmod and cp, and
// has the host's ids on the host.
func checkACLs(b *box, sh share) {
	b.t.Helper()
	b.must("cd %s; echo old > f; chmod 600 f; setfacl -m u:1000:rw,g:2000:r f", sh.guest)
	const want = "user::rw-\nuser:1000:rw-\ngroup::---\ngroup:2000:r--\nmask::rw-\nother::---\n\n"
	if got := b.must("cd %s; getfacl -cnE f", sh.guest); got != want {
		b.t.Errorf("getfacl says\n%swant\n%s", got, want)
	}
	b.must("cd %s; %s; ! %s 2>/dev/null; ! %s 2>/dev/null", sh.guest, as(1000, "echo new >> f"), as(1001, "cat f"), as(2000, "echo >> f"))
	b.must("cd %s; test \"$(%s)\" = \"old\nnew\"", sh.guest, as(2000, "cat f"))
	// The value on the host, without the guest's kernel in between.
	value := make([]byte, 128)
	n, err := unix.Getxattr(filepath.Join(sh.host, "f"), "system.posix_acl_access", value)
	if err != nil {
		b.t.Fatal(err)
	}
	hostACL := func(perm string) string {
		id := func(n uint32) string { n += sh.base(); return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), 0}) }
		const none = "\xff\xff\xff\xff"
		return "\x02\x00\x00\x00" + "\x01\x00\x06\x00" + none + "\x02\x00\x06\x00" + id(1000) + "\x04\x00\x00\x00" + none +
			"\x08\x00\x04\x00" + id(2000) + "\x10\x00" + perm + "\x00" + none + "\x20\x00\x00\x00" + none
	}
	if got := string(value[:n]); got != hostACL("\x06") {
		b.t.Errorf("the host has the ACL %x, want %x", got, hostACL("\x06"))
	}
	// chmod of the group is a change of the mask.
	b.must("cd %s; chmod g-w f; ! %s 2>/dev/null; getfacl -cE f | grep -qx mask::r--", sh.guest, as(1000, "echo >> f"))
	b.must("cd %s; cp -a f g; test \"$(getfacl -cnE g)\" = \"$(getfacl -cnE f)\"; setfacl -b g; test \"$(stat -c %%a g)\" = 600", sh.guest)
	if _, err := unix.Getxattr(filepath.Join(sh.host, "g"), "system.posix_acl_access", nil); err != unix.ENODATA {
		b.t.Errorf("the host still has the ACL that setfacl -b took away: %v", err)
	}
}

// checkDefaultACLs: what is made in a directory gets its default ACL in the place of the umask, and the
// umask where there is none.
func checkDefaultACLs(b *box, sh share) {
	b.t.Helper()
	b.must("cd %s; mkdir -m 755 d n; setfacl -d -m u:1000:rwx,g::rx,o::- d", sh.guest)
	b.must("cd %s; umask 077; touch d/f n/f; mkdir d/s n/s; mkfifo d/p n/p", sh.guest)
	for name, want := range map[string]string{
		"d/f": "user::rw-\nuser:1000:rwx\ngroup::r-x\nmask::rw-\nother::---\n\n",
		"d/p": "user::rw-\nuser:1000:rwx\ngroup::r-x\nmask::rw-\nother::---\n\n",
		"d/s": "user::rwx\nuser:1000:rwx\ngroup::r-x\nmask::rwx\nother::---\n" +
			"default:user::rwx\ndefault:user:1000:rwx\ndefault:group::r-x\ndefault:mask::rwx\ndefault:other::---\n\n",
		"n/f": "user::rw-\ngroup::---\nother::---\n\n",
		"n/p": "user::rw-\ngroup::---\nother::---\n\n",
		"n/s": "user::rwx\ngroup::---\nother::---\n\n",
	} {
		if got := b.must("cd %s; getfacl -cnE %s", sh.guest, name); got != want {
			b.t.Errorf("%s has\n%swant\n%s", name, got, want)
		}
	}
	b.must("cd %s; %s", sh.guest, as(1000, "echo hello > d/s/f"))
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(sh.host, "d/s/f"), &st); err != nil || st.Uid != sh.base()+1000 || st.Gid != sh.base()+1000 {
		b.t.Errorf("on the host, what user 1000 made is of %d:%d, %v", st.Uid, st.Gid, err)
	}
}

// checkUserNamespace: a container's users write through the share, too: ids of the namespace, of the
// guest and of the host are three things.
func checkUserNamespace(b *box, sh share) {
	b.t.Helper()
	b.must(`cd %s; mkdir -m 777 c; cd c
		cat > /tmp/inside << 'END'
			set -e
			echo container > f
			chown 5:6 f
			mkdir d
			stat -c %%u:%%g f d
			! chown 40000:0 f 2>/dev/null
END
		unshare --user sh -c 'touch /tmp/up; exec sleep 100' &
		while test ! -e /tmp/up; do kill -0 $!; sleep 0.1; done
		echo '0 1000 100' > /proc/$!/uid_map; echo '0 1000 100' > /proc/$!/gid_map
		nsenter --target $! --user --setuid 0 --setgid 0 sh /tmp/inside > /tmp/out 2>&1 || { cat /tmp/out; exit 1; }
		kill $!; rm /tmp/up`, sh.guest)
	if got := b.must("cat /tmp/out"); got != "5:6\n0:0\n" {
		b.t.Errorf("the container sees\n%s", got)
	}
	if got := b.must("cd %s/c; stat -c %%u:%%g f d", sh.guest); got != "1005:1006\n1000:1000\n" {
		b.t.Errorf("the guest sees\n%s", got)
	}
	for name, want := range map[string][2]uint32{"f": {1005, 1006}, "d": {1000, 1000}} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(sh.host, "c", name), &st); err != nil || st.Uid != sh.base()+want[0] || st.Gid != sh.base()+want[1] {
			b.t.Errorf("the host sees %s of %d:%d, %v", name, st.Uid, st.Gid, err)
		}
	}
}

// TestACLsOff: without the option a guest has no ACLs, and programs that copy them live with it.
func TestACLsOff(t *testing.T) {
	dir := t.TempDir()
	d := serve(t, DaemonSpec{Shared: dir, Tag: "share", Args: []string{"--xattr"}})
	b := boot(t, Spec{Kind: UML61, Shares: []Share{{d.Socket, "share", 1}}})
	b.mount("share")
	out, code := b.run(commandTime, "cd /mnt/share; touch f; setfacl -m u:1000:rw f 2>&1")
	if code == 0 || !strings.Contains(out, "Operation not supported") {
		t.Errorf("setfacl: status %d, %s", code, out)
	}
	b.must("cd /mnt/share; cp -a f g; umask 027; mkdir d; test $(stat -c %%a d) = 750")
}
