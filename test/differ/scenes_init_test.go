// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// guests are what guests offer in FUSE_INIT.
var guests = []struct {
	what string
	in   fuse.InitIn
}{
	{"Linux 6.12", fuse.InitIn{Major: 7, Minor: 41, MaxReadAhead: 0x20000, Flags: 0x7bff_fffb, Flags2: 0x1ff}},
	{"Linux 6.1", fuse.InitIn{Major: 7, Minor: 37, MaxReadAhead: 0x20000, Flags: 0x73ff_fffb, Flags2: 0x1}},
	{"Linux 5.4", fuse.InitIn{Major: 7, Minor: 31, MaxReadAhead: 0x20000, Flags: 0x03ff_fffb}},
	{"everything", fuse.InitIn{Major: 7, Minor: 45, MaxReadAhead: 1 << 30, Flags: 0xffff_ffff, Flags2: 0xffff_ffff}},
	{"second flags without their bit", fuse.InitIn{Major: 7, Minor: 38, Flags: 0xffff_ffff &^ fuse.CAP_INIT_EXT, Flags2: 0xffff_ffff}},
	{"no flags", fuse.InitIn{Major: 7, Minor: 31, MaxReadAhead: 4096}},
	{"7.27", fuse.InitIn{Major: 7, Minor: 27, Flags: 0x03ff_fffb}},
	{"7.26", fuse.InitIn{Major: 7, Minor: 26, Flags: 0x03ff_fffb}},
	{"6.99", fuse.InitIn{Major: 6, Minor: 99}},
	{"8.0", fuse.InitIn{Major: 8}},
	{"7.99", fuse.InitIn{Major: 7, Minor: 99, Flags: 0x7bff_fffb, Flags2: 0x1ff}},
}

// playInit reboots the guest, each time with another driver.
func playInit(s *session) {
	for _, g := range guests {
		s.reset()
		out, errno := s.InitWith(g.in)
		if !s.errno(g.what, errno) {
			continue
		}
		s.say(g.what, "version", fmt.Sprintf("%d.%d", out.Major, out.Minor))
		for i := range 64 {
			s.say(g.what, fmt.Sprint("flag ", i), out.Flags64()>>i&1)
		}
		s.say(g.what, "max_readahead", out.MaxReadAhead)
		s.say(g.what, "max_background", out.MaxBackground)
		s.say(g.what, "congestion_threshold", out.CongestionThreshold)
		s.say(g.what, "max_write", out.MaxWrite)
		s.say(g.what, "time_gran", out.TimeGran)
		s.say(g.what, "max_pages", out.MaxPages)
		if g.in.Major == 7 {
			s.firstSteps(g.what, out.Flags64())
		}
	}
	s.reset()
	_, errno := s.Lookup(root, s.scene)
	s.errno("lookup before INIT", errno)
	_, errno = s.Init()
	s.errno("then INIT", errno)
	dir := s.node(root, s.scene)
	_, errno = s.Init()
	s.errno("INIT again", errno)
	_, errno = s.GetAttr(dir)
	s.errno("a node of before", errno)
}

// firstSteps are requests whose replies depend on what was negotiated.
func (s *session) firstSteps(guest string, flags uint64) {
	dir := s.node(root, s.scene)
	e, errno := s.Lookup(dir, "missing")
	s.errno(guest+": missing", errno)
	s.say(guest+": missing", "entry timeout", timeout(e.EntryValid, e.EntryValidNsec))
	in := s.node(dir, "dir")
	if flags&fuse.CAP_SECURITY_CTX != 0 {
		s.Extensions = labelExtension("security.selinux", label)
	}
	f, errno := s.Create(in, guest, unix.O_RDWR, 0o666, 0o027)
	s.Extensions = nil
	s.created(guest+": create", f, errno)
	o, errno := s.Open(s.node(dir, "file"), unix.O_RDWR)
	s.opened(guest+": open", o, errno)
	s.writing(guest+": write", s.node(dir, "file"), o.Fh, 0, []byte("x"), 0)
	d, errno := s.OpenDir(dir)
	s.opened(guest+": opendir", d, errno)
	s.get(guest+": ACL", dir, "system.posix_acl_access", 100)
}

// reset is a reboot of the guest, up to where it sends INIT.
func (s *session) reset() {
	s.vm.Reset()
	s.Driver = s.vm.Start()
}

// restart is a reboot of the guest.
func (s *session) restart() {
	s.reset()
	s.MustInit()
}
