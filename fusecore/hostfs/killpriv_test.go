// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// aCapability is a security.capability attribute: struct vfs_cap_data of Linux linux/capability.h,
// revision 2, with CAP_NET_RAW effective.
const aCapability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// changes are the operations that change a file's data. asked is what Linux says of a caller who
// loses the bits, where the operation can say it.
var changes = map[string]func(s *share, node, fh uint64, h fuse.InHeader, asked bool) fuse.Status{
	"write": func(s *share, node, fh uint64, h fuse.InHeader, asked bool) fuse.Status {
		in := fuse.WriteIn{InHeader: h, Fh: fh, Size: 1}
		if asked {
			in.WriteFlags = fuse.WRITE_KILL_SUIDGID
		}
		_, st := s.Write(nil, &in, []byte("y"))
		return st
	},
	"truncate": func(s *share, node, fh uint64, h fuse.InHeader, asked bool) fuse.Status {
		return truncateTo(s, h, 0, fuse.FATTR_SIZE, asked)
	},
	"truncate by handle": func(s *share, node, fh uint64, h fuse.InHeader, asked bool) fuse.Status {
		return truncateTo(s, h, fh, fuse.FATTR_SIZE|fuse.FATTR_FH, asked)
	},
	"open": func(s *share, node, fh uint64, h fuse.InHeader, asked bool) fuse.Status {
		in := fuse.OpenIn{InHeader: h, Flags: unix.O_WRONLY | unix.O_TRUNC}
		if asked {
			in.Mode = fuse.OPEN_KILL_SUIDGID
		}
		return s.Open(nil, &in, &fuse.OpenOut{})
	},
	"create": func(s *share, node, fh uint64, h fuse.InHeader, asked bool) fuse.Status {
		h.NodeId = 1
		in := fuse.CreateIn{InHeader: h, Flags: unix.O_WRONLY | unix.O_TRUNC}
		if asked {
			in.OpenFlags = fuse.OPEN_KILL_SUIDGID
		}
		return s.Create(nil, &in, "f", &fuse.CreateOut{})
	},
	"fallocate": func(s *share, node, fh uint64, h fuse.InHeader, asked bool) fuse.Status {
		return s.Fallocate(nil, &fuse.FallocateIn{InHeader: h, Fh: fh, Length: 1 << 16})
	},
	"copy": func(s *share, node, fh uint64, h fuse.InHeader, asked bool) fuse.Status {
		s.put("source", "z")
		from := s.nodeOf("source")
		in := fuse.CopyFileRangeIn{InHeader: h, FhIn: s.openFile(from, unix.O_RDONLY), NodeIdOut: node, FhOut: fh, Len: 1}
		in.NodeId = from
		_, st := s.CopyFileRange(nil, &in)
		return st
	},
}

func truncateTo(s *share, h fuse.InHeader, fh uint64, valid uint32, asked bool) fuse.Status {
	if asked {
		valid |= fuse.FATTR_KILL_SUIDGID
	}
	in := fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: h, Valid: valid, Fh: fh, Size: 1}}
	return s.SetAttr(nil, &in, &fuse.AttrOut{})
}

// TestKillPrivs: whoever changes a file's data takes its setuid and setgid bits and its
// capabilities off, whatever was agreed upon, but for callers who may keep the bits.
func TestKillPrivs(t *testing.T) {
	for name, change := range changes {
		byUID := name == "fallocate" || name == "copy" // no flag is sent with these
		for _, v2 := range []bool{false, true} {
			for _, asked := range []bool{false, true} {
				for _, uid := range []uint32{0, 1000} {
					t.Run(fmt.Sprintf("%s v2=%v asked=%v uid=%d", name, v2, asked, uid), func(t *testing.T) {
						kept := !asked
						switch {
						case byUID:
							kept = uid == 0
						case !v2 && uid != 0 && (name == "open" || name == "create"):
							kept = false // Linux relies on the file system there
						}
						kept = kept && os.Geteuid() == 0 // else the host clears them in any case
						s := newShare(t, Config{KillPrivV2: v2})
						if got := s.InitFlags(^uint64(0))&fuse.CAP_HANDLE_KILLPRIV_V2 != 0; got != v2 {
							t.Errorf("wants FUSE_HANDLE_KILLPRIV_V2: %v", got)
						}
						s.killPrivs(t, change, uid, asked, kept)
					})
				}
			}
		}
	}
}

func (s *share) killPrivs(t *testing.T, change func(*share, uint64, uint64, fuse.InHeader, bool) fuse.Status, uid uint32, asked, kept bool) {
	t.Helper()
	s.put("f", "data")
	node := s.nodeOf("f")
	fh := s.openFile(node, unix.O_RDWR)
	if os.Geteuid() == 0 {
		if err := unix.Setxattr(s.path("f"), "security.capability", []byte(aCapability), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Chmod(s.path("f"), 0o6755); err != nil {
		t.Fatal(err)
	}
	h := header(node)
	h.Uid = uid
	s.ok("change", change(s, node, fh, h, asked))
	want := uint32(0o755)
	if kept {
		want = 0o6755
	}
	if a, _ := s.attrOf(node); a.Mode&0o7777 != want {
		t.Errorf("mode %o, want %o", a.Mode&0o7777, want)
	}
	if _, err := unix.Getxattr(s.path("f"), "security.capability", nil); err != unix.ENODATA {
		t.Errorf("security.capability: %v, want it gone", err)
	}
}

// Before the guest has agreed to clear bits itself, the daemon does.
func TestKillPrivsNotOffered(t *testing.T) {
	s := newShare(t, Config{KillPrivV2: true})
	if s.InitFlags(0) != 0 {
		t.Error("wants what was not offered")
	}
	s.killPrivs(t, changes["open"], 1000, false, false)
}

// A write to a file without bits leaves the thread's capabilities alone: no system call but one
// statx, and no allocation.
func TestKillPrivsAllocations(t *testing.T) {
	s := newShare(t, Config{})
	f := s.createFile("f", unix.O_RDWR)
	h, err := s.open.file(f.Fh, f.NodeId)
	if err != nil {
		t.Fatal(err)
	}
	defer h.release()
	write := func() error { return nil } // a real one takes buffers from pools, which the race detector empties
	if n := testing.AllocsPerRun(100, func() {
		if err := s.FS.killPrivs(h.fd, true, write); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestLifetimeOfSetIDs: the guest looks at the mode of a file that may lose bits each time.
func TestLifetimeOfSetIDs(t *testing.T) {
	s := newShare(t, Config{Cache: CacheAlways})
	s.put("f", "x")
	s.mkdir(1, "d")
	for _, c := range []struct {
		name    string
		mode    uint32
		seconds uint64
	}{{"f", 0o755, 86400}, {"f", 0o4755, 0}, {"f", 0o2644, 0}, {"d", 0o2755, 86400}} {
		if err := unix.Chmod(s.path(c.name), c.mode); err != nil {
			t.Fatal(err)
		}
		e := s.lookupAt(1, c.name)
		var out fuse.AttrOut
		s.ok("getattr", s.GetAttr(nil, &fuse.GetAttrIn{InHeader: header(e.NodeId)}, &out))
		if e.AttrValid != c.seconds || out.AttrValid != c.seconds || e.EntryValid != 86400 {
			t.Errorf("%s with mode %o: attributes are valid for %d and %d s, want %d", c.name, c.mode, e.AttrValid, out.AttrValid, c.seconds)
		}
	}
}

// TestKillRenamedCapabilities: capabilities that the host does not know as such go as well, with every
// change of the data and of the owner.
func TestKillRenamedCapabilities(t *testing.T) {
	chown := func(s *share, node, _ uint64, h fuse.InHeader, _ bool) fuse.Status {
		in := fuse.SetAttrInCommon{InHeader: h, Valid: fuse.FATTR_UID, Owner: fuse.Owner{Uid: uint32(os.Geteuid())}}
		return s.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: in}, &fuse.AttrOut{})
	}
	all := maps.Clone(changes)
	all["chown"] = chown
	for name, change := range all {
		s := newShare(t, Config{XAttr: true, XAttrMap: attrMap(t, ":map:security.:user.virtiofs.:")})
		s.put("f", "data")
		node := s.nodeOf("f")
		fh := s.openFile(node, unix.O_RDWR)
		s.ok("set", s.setAttrOf(node, "security.capability", aCapability))
		s.ok("set", s.setAttrOf(node, "security.other", "stays"))
		for range 2 { // there is nothing to remove the second time
			s.ok(name, change(s, node, fh, header(node), false))
			_, st := s.attrNamed(node, "security.capability")
			want(t, "security.capability after "+name, st, unix.ENODATA)
		}
		if got := s.hostAttrNamed("f", "user.virtiofs.security.other"); got != "stays" {
			t.Errorf("after %s another attribute is %q", name, got)
		}
	}
}

// TestNoRoomForCapabilities: where the guest's capabilities would have too long a name on the host there are
// none, and nothing is in the way of changes; what is no regular file has none either.
func TestNoRoomForCapabilities(t *testing.T) {
	for _, prefix := range []string{"user.virtiofs.", "user." + strings.Repeat("p", nameMax)} {
		for name, change := range changes {
			s := newShare(t, Config{XAttr: true, XAttrMap: attrMap(t, ":map:security.:"+prefix+":")})
			s.put("f", "data")
			node := s.nodeOf("f")
			s.ok(name, change(s, node, s.openFile(node, unix.O_RDWR), header(node), false))
		}
		s := newShare(t, Config{XAttr: true, XAttrMap: attrMap(t, ":map:security.:"+prefix+":")})
		if err := errors.Join(unix.Mkfifo(s.path("fifo"), 0o600), os.Symlink("x", s.path("link"))); err != nil {
			t.Fatal(err)
		}
		for name, errno := range map[string]unix.Errno{"fifo": unix.EINVAL, "link": unix.EINVAL, ".": unix.EISDIR} {
			node := uint64(1)
			if name != "." {
				node = s.nodeOf(name)
			}
			want(t, "truncate of "+name, truncateTo(s, header(node), 0, fuse.FATTR_SIZE, false), errno)
		}
	}
}
