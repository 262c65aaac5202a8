// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// labelExtension is a security label (struct fuse_ext_header, type FUSE_SECCTX, struct fuse_secctx).
func labelExtension(name, value string) []byte {
	b := make([]byte, 4, 128)
	b = binary.NativeEndian.AppendUint32(b, 1) // FUSE_MAX_NR_SECCTX says how many
	b = binary.NativeEndian.AppendUint32(b, uint32(len(value)))
	b = binary.NativeEndian.AppendUint32(b, 0)
	return padded(append(b, name+"\x00"+value...))
}

const label = "system_u:object_r:user_home_t:s0\x00"

func playLabel(s *session) {
	for i, ext := range [][]byte{labelExtension("security.selinux", label), labelExtension("security.smack", label),
		labelExtension("user.label", "x"), append(labelExtension("security.selinux", label), groupsExtension(4321)...)} {
		s.Extensions = ext
		dir := s.dir
		what := fmt.Sprintf("extension %d", i)
		f, errno := s.Create(dir, fmt.Sprint("file", i), unix.O_RDWR, 0o644, 0)
		s.created("create, "+what, f, errno)
		e, errno := s.Mkdir(dir, fmt.Sprint("dir", i), 0o755, 0)
		s.entry("mkdir, "+what, e, errno)
		e, errno = s.Mknod(dir, fmt.Sprint("fifo", i), unix.S_IFIFO|0o644, 0, 0)
		s.entry("mknod, "+what, e, errno)
		e, errno = s.Symlink(dir, fmt.Sprint("link", i), "target")
		s.entry("symlink, "+what, e, errno)
		f, errno = s.Create(dir, "kept", unix.O_RDWR, 0o644, 0)
		s.created("existing, "+what, f, errno)
	}
}

// ids are around the borders of the rules in optionSets.
var ids = []uint32{0, 1, 5, 7, 9, 14, 15, 66, 999, 1000, 1001, 1999, 2000, 100000, 100999, 101000, 4294967294}

func playIDs(s *session) {
	for _, id := range ids {
		must(s.t, unix.Lchown(s.path("file"), int(id), int(id)))
		e, errno := s.Lookup(s.dir, "file")
		s.entry(fmt.Sprintf("the host's %d", id), e, errno)
	}
	for _, id := range ids {
		a, errno := s.SetAttr(s.at("file"), fuse.SetAttrInCommon{Valid: fuse.FATTR_UID | fuse.FATTR_GID, Owner: fuse.Owner{Uid: id, Gid: id}})
		what := fmt.Sprintf("chown to %d", id)
		s.attrs(what, a, errno)
		var st unix.Stat_t
		must(s.t, unix.Lstat(s.path("file"), &st))
		s.say("after "+what, status, fmt.Sprintf("%d:%d", st.Uid, st.Gid))
	}
	dir, setgid := s.at("sticky"), s.at("setgid")
	for _, id := range ids {
		for what, d := range map[string]uint64{"sticky": dir, "setgid": setgid} {
			s.as(id, id)
			f, errno := s.Create(d, fmt.Sprint("file", id), unix.O_RDWR, 0o644, 0)
			s.created(fmt.Sprintf("create as %d in %s", id, what), f, errno)
			s.Extensions = groupsExtension(id)
			e, errno := s.Mkdir(d, fmt.Sprint("dir", id), 0o755, 0)
			s.entry(fmt.Sprintf("mkdir as %d in %s", id, what), e, errno)
			s.Extensions = nil
			e, errno = s.Symlink(d, fmt.Sprint("link", id), "x")
			s.entry(fmt.Sprintf("symlink as %d in %s", id, what), e, errno)
		}
		s.errno(fmt.Sprintf("access as %d", id), s.Access(s.at("file"), 2))
	}
}

func playForget(s *session) {
	file := s.at("file")
	s.Forget(file, 1)
	_, errno := s.GetAttr(file)
	s.errno("forgotten", errno)
	file = s.at("file")
	s.at("file")
	s.Forget(file, 1)
	_, errno = s.GetAttr(file)
	s.errno("forgotten once of two", errno)
	s.Forget(file, 1<<40)
	_, errno = s.GetAttr(file)
	s.errno("forgotten more often than looked up", errno)
	s.Forget(1<<40, 1)
	node, fh := s.file("kept", unix.O_RDWR)
	s.Forget(node, 100)
	s.reading("read of what is forgotten", node, fh, 0, 16)
	s.errno("release of what is forgotten", s.Release(node, fh, unix.O_RDWR))
	a, b := s.at("file"), s.at("dir")
	s.BatchForget(frontend.Forgotten{Node: a, Lookups: 1}, frontend.Forgotten{Node: b, Lookups: 1}, frontend.Forgotten{Node: 1 << 40, Lookups: 1})
	_, errno = s.GetAttr(a)
	s.errno("forgotten with others", errno)
	s.BatchForget()
	s.Interrupt(12345)
	dir := s.at("dir")
	s.Forget(s.dir, 100)
	e, errno := s.Mkdir(dir, "new", 0o755, 0)
	s.entry("in a directory whose parent is forgotten", e, errno)
	e, errno = s.Lookup(root, s.scene)
	s.errno("looked up again", errno)
	e, errno = s.Lookup(e.NodeId, "kept")
	s.entry("kept", e, errno)
}

// playWrong asks for nodes that there are not, and of the wrong kind.
func playWrong(s *session) {
	for what, node := range map[string]uint64{"none": 1 << 40, "0": 0, "-1": 1<<64 - 1, "a file": s.at("file")} {
		_, errno := s.Lookup(node, "x")
		s.errno("lookup in "+what, errno)
		_, errno = s.Mkdir(node, "x", 0o755, 0)
		s.errno("mkdir in "+what, errno)
		_, errno = s.Create(node, "x", unix.O_RDWR, 0o644, 0)
		s.errno("create in "+what, errno)
		s.errno("unlink in "+what, s.Unlink(node, "x"))
		_, errno = s.OpenDir(node)
		s.errno("opendir of "+what, errno)
		_, errno = s.Link(s.at("file"), node, "x")
		s.errno("link into "+what, errno)
		if what != "a file" {
			_, errno = s.GetAttr(node)
			s.errno("getattr of "+what, errno)
			_, errno = s.Open(node, unix.O_RDONLY)
			s.errno("open of "+what, errno)
			_, errno = s.Readlink(node)
			s.errno("readlink of "+what, errno)
			_, errno = s.Link(node, s.dir, "x")
			s.errno("link of "+what, errno)
			_, errno = s.ListXAttr(node, 100)
			s.errno("listxattr of "+what, errno)
			s.errno("access of "+what, s.Access(node, 0))
			s.errno("chmod of "+what, s.truncate(node))
		}
	}
}

// playOthers asks for operations that the Rust virtiofsd has not, and for unknown ones.
func playOthers(s *session) {
	node, fh := s.file("file", unix.O_RDWR)
	for op, args := range map[frontend.Opcode]int{frontend.OpBmap: 16, frontend.OpPoll: 24, frontend.OpNotifyReply: 40,
		frontend.OpSetupmapping: 40, frontend.OpRemovemapping: 24, 0: 0, 7: 0, 19: 0, 54: 64, 200: 8, 4096: 8, 1 << 31: 0} {
		_, errno := s.Raw(op, node, make([]byte, args), 64)
		s.errno(op.String(), errno)
	}
	l := frontend.Lock{Fh: fh, Owner: 7, Lock: fuse.FileLock{Start: 0, End: 9, Typ: unix.F_WRLCK, Pid: 5}}
	_, errno := s.GetLk(node, l)
	s.errno("getlk", errno)
	s.errno("setlk", s.SetLk(node, l))
	s.errno("setlkw", s.SetLkw(node, l))
	l.Flock = true
	s.errno("flock", s.SetLk(node, l))
	_, errno = s.Ioctl(node, fh, unix.FS_IOC_GETFLAGS, 0, nil, 8)
	s.errno("ioctl FS_IOC_GETFLAGS", errno)
	_, errno = s.Ioctl(node, fh, 0x1234, 0, nil, 8)
	s.errno("unknown ioctl", errno)
	_, errno = s.Raw(frontend.OpLookup, s.dir, nil, 128, strings.Repeat("n", 5000))
	s.errno("name of 5000 bytes", errno)
}
