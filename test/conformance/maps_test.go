// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/xattrmap"
	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// newMappedGuest boots a guest on an empty directory that everybody may write to.
func newMappedGuest(t *testing.T, c hostfs.Config) *guest {
	t.Helper()
	checkLeaks(t)
	c.Root = filepath.Join(t.TempDir(), "share")
	if err := os.Mkdir(c.Root, 0o777); err != nil {
		t.Fatal(err)
	}
	fs := shareFS(t, c)
	t.Cleanup(func() { fs.Close() })
	g := attach(t, fs, frontend.Options{})
	g.dir = c.Root
	return g
}

func ids(t *testing.T, rules ...string) *idmap.Map {
	t.Helper()
	m, err := idmap.Parse(rules)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// groupsExtension is struct fuse_ext_header and struct fuse_supp_groups (Linux linux/fuse.h).
func groupsExtension(groups ...uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, 0)
	b = binary.NativeEndian.AppendUint32(b, 32) // FUSE_EXT_GROUPS
	b = binary.NativeEndian.AppendUint32(b, uint32(len(groups)))
	for _, g := range groups {
		b = binary.NativeEndian.AppendUint32(b, g)
	}
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

// TestTranslatedIDs: the ids of requests and of all replies with attributes are the guest's.
func TestTranslatedIDs(t *testing.T) {
	own := [2]uint32{uint32(os.Geteuid()), uint32(os.Getegid())}
	m := func(id uint32, more string) *idmap.Map {
		return ids(t, "squash-guest:0:"+decimal(id)+":60000", "squash-host:0:77:60000", more)
	}
	g := newMappedGuest(t, hostfs.Config{UIDs: m(own[0], "forbid-guest:60000:1"), GIDs: m(own[1], "forbid-guest:60001:1")})
	g.Caller.Uid, g.Caller.Gid = 1234, 2345
	seen := func(what string, a fuse.Attr, errno syscall.Errno) {
		t.Helper()
		ok(t, what, errno)
		if a.Uid != 77 || a.Gid != 77 {
			t.Errorf("%s shows %d:%d", what, a.Uid, a.Gid)
		}
	}
	d, errno := g.Mkdir(root, "d", 0o755, 0)
	seen("MKDIR", d.Attr, errno)
	n, errno := g.Mknod(root, "n", unix.S_IFREG|0o644, 0, 0)
	seen("MKNOD", n.Attr, errno)
	l, errno := g.Symlink(root, "l", "x")
	seen("SYMLINK", l.Attr, errno)
	f, errno := g.Create(root, "f", unix.O_RDWR|unix.O_CREAT, 0o644, 0)
	seen("CREATE", f.Attr, errno)
	tmp, errno := g.Tmpfile(root, unix.O_TMPFILE|unix.O_RDWR, 0o644, 0)
	seen("TMPFILE", tmp.Attr, errno)
	e, errno := g.Link(tmp.NodeId, root, "tmp")
	seen("LINK", e.Attr, errno)
	e, errno = g.Lookup(root, "f")
	seen("LOOKUP", e.Attr, errno)
	a, errno := g.GetAttr(f.NodeId)
	seen("GETATTR", a.Attr, errno)
	x, errno := g.Statx(f.NodeId, 0, unix.STATX_BASIC_STATS)
	seen("STATX", fuse.Attr{Owner: fuse.Owner{Uid: x.Uid, Gid: x.Gid}}, errno)
	owner := func(uid, gid uint32) (fuse.AttrOut, syscall.Errno) {
		return g.SetAttr(f.NodeId, fuse.SetAttrInCommon{Valid: fuse.FATTR_UID | fuse.FATTR_GID, Owner: fuse.Owner{Uid: uid, Gid: gid}})
	}
	a, errno = owner(5, 6)
	seen("SETATTR", a.Attr, errno)
	for _, name := range []string{"d", "n", "l", "f", "tmp"} {
		var st unix.Stat_t
		if err := unix.Lstat(g.path(name), &st); err != nil || st.Uid != own[0] || st.Gid != own[1] {
			t.Errorf("%s on the host: %v, %d:%d", name, err, st.Uid, st.Gid)
		}
	}
	_, errno = owner(60000, 6)
	want(t, "SETATTR with a forbidden user", errno, syscall.EPERM)
	_, errno = owner(5, 60001)
	want(t, "SETATTR with a forbidden group", errno, syscall.EPERM)
	g.Caller.Uid = 60000
	_, errno = g.Mkdir(root, "forbidden", 0o755, 0)
	want(t, "MKDIR by a forbidden user", errno, syscall.EPERM)
	want(t, "ACCESS by a forbidden user", g.Access(root, 4), syscall.EPERM)
	g.alive()
}

// TestGroupsInRequests: FUSE_CREATE_SUPP_GROUP is agreed upon, and the group that came with a request
// decides who keeps a setgid bit, whatever came before.
func TestGroupsInRequests(t *testing.T) {
	g := newMappedGuest(t, hostfs.Config{})
	if out := g.MustInit(); out.Flags64()&fuse.CAP_CREATE_SUPP_GROUP == 0 {
		t.Fatalf("INIT's flags %#x are without CREATE_SUPP_GROUP", out.Flags64())
	}
	const group = 4321
	privileged := os.Geteuid() == 0
	if privileged {
		if err := os.Chown(g.dir, -1, group); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(g.dir, 0o777|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		uid    uint32
		groups []uint32
		kept   bool
	}{
		{1000, nil, false}, {1000, []uint32{group}, true}, {1000, nil, false}, {1000, []uint32{group + 1}, false},
		{0, []uint32{group}, true}, {1001, nil, false},
	} {
		g.Caller.Uid, g.Caller.Gid, g.Extensions = tt.uid, tt.uid, nil
		if tt.groups != nil {
			g.Extensions = groupsExtension(tt.groups...)
		}
		out, errno := g.Create(root, "f"+decimal(uint32(i)), unix.O_RDWR|unix.O_CREAT, 0o2755, 0)
		ok(t, "CREATE", errno)
		if kept := out.Mode&unix.S_ISGID != 0; privileged && kept != tt.kept {
			t.Errorf("%d: user %d with groups %v has a file of mode %o", i, tt.uid, tt.groups, out.Mode)
		}
	}
}

// TestACLsNeedTheGuest: with ACLs required, a guest that does not obey them gets no session, and the
// next that does is served.
func TestACLsNeedTheGuest(t *testing.T) {
	g := newMappedGuest(t, hostfs.Config{ACL: hostfs.NegotiateAlways})
	if out := g.MustInit(); out.Flags64()&(fuse.CAP_POSIX_ACL|fuse.CAP_DONT_MASK) != fuse.CAP_POSIX_ACL|fuse.CAP_DONT_MASK {
		t.Errorf("INIT's flags are %#x", out.Flags64())
	}
	for _, lacks := range []uint32{fuse.CAP_POSIX_ACL, fuse.CAP_DONT_MASK} {
		_, errno := g.InitWith(fuse.InitIn{Major: 7, Minor: 41, Flags: ^lacks &^ (1 << 30)}) // no FUSE_INIT_EXT
		want(t, "INIT", errno, syscall.EPROTO)
		if _, errno := g.GetAttr(root); errno == 0 {
			t.Error("a guest that was refused is served")
		}
	}
	g.MustInit()
	g.alive()
	umaskCounts(g)
}

// umaskCounts looks whether the mode is masked here, as the guest leaves it to us.
func umaskCounts(g *guest) {
	g.t.Helper()
	out, errno := g.Mkdir(root, "masked", 0o777, 0o027)
	ok(g.t, "MKDIR", errno)
	if out.Mode&0o777 != 0o750 {
		g.t.Errorf("mode %o with umask 027", out.Mode)
	}
}

// TestRenamedAttributes: names in requests and in lists are the guest's.
func TestRenamedAttributes(t *testing.T) {
	m, err := xattrmap.Parse("/map/security.selinux/user.virtiofs./")
	if err != nil {
		t.Fatal(err)
	}
	g := newMappedGuest(t, hostfs.Config{XAttr: true, XAttrMap: m})
	write(t, g.path("f"), "")
	node := g.lookup(root, "f")
	ok(t, "SETXATTR", g.SetXAttr(node, "security.selinux", []byte("label"), 0))
	buf := make([]byte, 64)
	if n, err := unix.Getxattr(g.path("f"), "user.virtiofs.security.selinux", buf); err != nil || string(buf[:n]) != "label" {
		t.Errorf("on the host: %q, %v", buf[:max(n, 0)], err)
	}
	v, errno := g.GetXAttr(node, "security.selinux", 64)
	ok(t, "GETXATTR", errno)
	names, errno := g.ListXAttr(node, 4096)
	ok(t, "LISTXATTR", errno)
	size, errno := g.ListXAttrSize(node)
	ok(t, "size of LISTXATTR", errno)
	if string(v) != "label" || !slices.Equal(names, []string{"security.selinux"}) || size != len("security.selinux")+1 {
		t.Errorf("value %q, names %q of %d bytes", v, names, size)
	}
	_, errno = g.GetXAttr(node, "user.virtiofs.security.selinux", 64)
	want(t, "GETXATTR past the map", errno, syscall.ENODATA)
	want(t, "SETXATTR past the map", g.SetXAttr(node, "user.virtiofs.x", nil, 0), syscall.EPERM)
	_, errno = g.ListXAttr(node, 3)
	want(t, "LISTXATTR of 3 bytes", errno, syscall.ERANGE)
	ok(t, "REMOVEXATTR", g.RemoveXAttr(node, "security.selinux"))
	if names, errno := g.ListXAttr(node, 4096); errno != 0 || len(names) != 0 {
		t.Errorf("after that: %q, %v", names, errno)
	}
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// labelExtension is struct fuse_secctx_header with one struct fuse_secctx (Linux linux/fuse.h).
func labelExtension(name, value string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, 0)
	b = binary.NativeEndian.AppendUint32(b, 1)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(value)))
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, name+"\x00"+value...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

// TestLabelsInRequests: what is created has the label that came with the request; a request without
// one, or with half of one, costs nobody anything.
func TestLabelsInRequests(t *testing.T) {
	m, err := xattrmap.Parse(":map:security.selinux:user.virtiofs.:")
	if err != nil {
		t.Fatal(err)
	}
	g := newMappedGuest(t, hostfs.Config{SecurityLabel: hostfs.NegotiateAlways, XAttrMap: m})
	if out := g.MustInit(); out.Flags64()&fuse.CAP_SECURITY_CTX == 0 {
		t.Fatalf("INIT's flags are %#x", out.Flags64())
	}
	const label = "system_u:object_r:user_home_t:s0\x00"
	whole := labelExtension("security.selinux", label)
	own := groupsExtension(uint32(os.Getegid()))
	for i, ext := range [][]byte{whole, slices.Concat(whole, own), slices.Concat(own, whole)} {
		name := "d" + decimal(uint32(i))
		g.Extensions = ext
		d, errno := g.Mkdir(root, name, 0o755, 0)
		ok(t, "MKDIR", errno)
		g.Extensions = nil
		v, errno := g.GetXAttr(d.NodeId, "security.selinux", 256)
		ok(t, "GETXATTR", errno)
		host := make([]byte, 256)
		n, err := unix.Getxattr(g.path(name), "user.virtiofs.security.selinux", host)
		if err != nil || string(v) != label || string(host[:n]) != label {
			t.Errorf("label %q in the guest, %q on the host, %v", v, host[:max(n, 0)], err)
		}
	}
	d, errno := g.Mkdir(root, "without", 0o755, 0)
	ok(t, "MKDIR without a label", errno)
	_, errno = g.GetXAttr(d.NodeId, "security.selinux", 256)
	want(t, "its label", errno, syscall.ENODATA)
	// All beginnings of the record, told as they are and as a whole one, and in the form without a length.
	for n := range len(whole) {
		for _, told := range []int{n / 8, len(whole) / 8, 0} {
			frame := g.Frame(frontend.Message{Op: frontend.OpMkdir, Node: root, Args: make([]byte, 8), Names: []string{"cut"}})
			frame = append(frame, whole[:n]...)
			binary.NativeEndian.PutUint32(frame, uint32(len(frame)))
			binary.NativeEndian.PutUint16(frame[36:], uint16(told))
			g.raw(frame)
			if errno := g.Rmdir(root, "cut"); errno == 0 && n >= 16 && told == 0 {
				t.Errorf("a label cut to %d bytes was taken", n)
			}
		}
	}
	g.alive()
}
