// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/zap"
)

// Versions of the protocol, Linux include/uapi/linux/fuse.h. 7.27 is Linux 4.18's, older than
// any virtio-fs driver.
const (
	protocolMajor    = 7
	protocolMinor    = 45
	protocolMinMinor = 27
)

// Bounds of INIT's reply.
const (
	fusePage    = 4096    // the page that max_pages counts in, at least
	maxMaxWrite = 1 << 20 // bytes; 256 pages, FUSE_MAX_MAX_PAGES before Linux 6.13
)

// Lengths of INIT's and SETXATTR's arguments beyond their oldest form, in bytes.
const (
	initExt     = 48 // flags2 and unused, 7.36
	setxattrExt = 8  // setxattr_flags and padding, with FUSE_SETXATTR_EXT, 7.33
)

// defaultFlags is what a file system without InitFlags gets: what every go-fuse file system can
// live with. Not among them: FUSE_ATOMIC_O_TRUNC, which asks OPEN to look at O_TRUNC, and
// FUSE_ALLOW_IDMAP, with which Linux tells the caller's ids only where something is created
// (fs/fuse/dev.c, fuse_get_req).
const defaultFlags = fuse.CAP_ASYNC_READ | fuse.CAP_IOCTL_DIR |
	fuse.CAP_AUTO_INVAL_DATA | fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO |
	fuse.CAP_ASYNC_DIO | fuse.CAP_PARALLEL_DIROPS | fuse.CAP_SUBMOUNTS |
	fuse.CAP_CREATE_SUPP_GROUP

// transportFlags is what the session wants whatever the file system is.
const transportFlags = fuse.CAP_BIG_WRITES | fuse.CAP_MAX_PAGES | fuse.CAP_INIT_EXT

// supportedFlags is what the session can carry out when the file system wants it. Not among
// them, and why: FILE_OPS and SPLICE_* (/dev/fuse only), MAP_ALIGNMENT and HAS_INODE_DAX (no
// mapping), PASSTHROUGH and OVER_IO_URING (local to one kernel), HAS_RESEND, HAS_EXPIRE_ONLY
// and REQUEST_TIMEOUT (nothing answers them).
const supportedFlags = transportFlags | defaultFlags | fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_POSIX_LOCKS |
	fuse.CAP_FLOCK_LOCKS | fuse.CAP_EXPORT_SUPPORT | fuse.CAP_DONT_MASK | fuse.CAP_WRITEBACK_CACHE |
	fuse.CAP_NO_OPEN_SUPPORT | fuse.CAP_NO_OPENDIR_SUPPORT | fuse.CAP_HANDLE_KILLPRIV |
	fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_POSIX_ACL | fuse.CAP_CACHE_SYMLINKS |
	fuse.CAP_EXPLICIT_INVAL_DATA | fuse.CAP_SETXATTR_EXT | fuse.CAP_DIRECT_IO_ALLOW_MMAP |
	fuse.CAP_NO_EXPORT_SUPPORT | fuse.CAP_ALLOW_IDMAP | fuse.CAP_SECURITY_CTX

// handleInit begins a session. One that was there ends first: a guest that was reset sends no
// DESTROY.
func handleInit(s *Session, r *Request) fuse.Status {
	in := argsAs[fuse.InitIn](r)
	off := inHeaderSize + r.op.args
	r.in.read(r.args.bytes()[off : off+initExt]) // stays zero in requests before 7.36
	if in.Major < protocolMajor || in.Major == protocolMajor && in.Minor < protocolMinMinor {
		s.guestLog.Warn("guest's FUSE is too old", zap.Uint32("major", in.Major), zap.Uint32("minor", in.Minor))
		return errVersion
	}

	s.control.Lock()
	defer s.control.Unlock()
	resets := s.resets.Load()
	s.end()
	s.wipe(true)

	out := replyAs[fuse.InitOut](r)
	if in.Major > protocolMajor {
		// The guest asks again with our major version.
		out.Major, out.Minor = protocolMajor, protocolMinor
		return fuse.OK
	}
	if missing := s.missing(in); missing != 0 {
		s.guestLog.Warn("guest's FUSE lacks features that the share needs", zap.Uint64("flags", missing))
		return errVersion
	}
	p := s.negotiate(in, out)
	s.dirty = true
	s.live.Store(p)
	if s.resets.Load() != resets {
		// The device was reset meanwhile: that comes last.
		s.live.CompareAndSwap(p, nil)
		return errNoSession
	}
	s.guestLog.Info("FUSE session started", zap.Uint32("minor", out.Minor), zap.Uint64("flags", p.flags))
	return fuse.OK
}

// offered are the flags that the guest has.
func offered(in *fuse.InitIn) uint64 {
	if uint64(in.Flags)&fuse.CAP_INIT_EXT != 0 {
		return in.Flags64()
	}
	return uint64(in.Flags)
}

// missing are the flags that the file system requires and the guest has not got.
func (s *Session) missing(in *fuse.InitIn) uint64 {
	if s.has.requires == nil {
		return 0
	}
	return s.has.requires.InitRequires() &^ offered(in)
}

// negotiate fills in INIT's reply.
func (s *Session) negotiate(in *fuse.InitIn, out *fuse.InitOut) *params {
	offered := offered(in)
	wanted := uint64(defaultFlags)
	if s.has.initFlags != nil {
		wanted = s.has.initFlags.InitFlags(offered)
	}
	flags := (wanted | transportFlags) & offered & supportedFlags
	if s.has.groups == nil {
		flags &^= fuse.CAP_CREATE_SUPP_GROUP
	}
	if s.has.labels == nil {
		flags &^= fuse.CAP_SECURITY_CTX
	}
	*out = fuse.InitOut{
		Major:               protocolMajor,
		Minor:               min(in.Minor, protocolMinor),
		MaxReadAhead:        in.MaxReadAhead,
		Flags:               uint32(flags),
		Flags2:              uint32(flags >> 32),
		MaxBackground:       s.opts.MaxBackground,
		CongestionThreshold: s.opts.MaxBackground / 4 * 3,
		MaxWrite:            s.opts.MaxWrite,
		TimeGran:            s.opts.TimeGran,
	}
	if flags&fuse.CAP_MAX_PAGES != 0 {
		out.MaxPages = uint16(s.opts.MaxWrite / fusePage)
	}
	return &params{flags: flags, maxWrite: s.opts.MaxWrite}
}

// handleDestroy ends the session. The reply has no content, but Linux 7 complains about one
// without a header.
func handleDestroy(s *Session, _ *Request) fuse.Status {
	s.control.Lock()
	defer s.control.Unlock()
	s.end()
	s.wipe(true)
	return fuse.OK
}

// handleInterrupt cancels the request that its argument names. Success has no reply; EAGAIN
// tells the guest that the request is not there (yet), as fuse.rst wants it.
func handleInterrupt(s *Session, r *Request) fuse.Status {
	if s.inflight.cancelUnique(argsAs[fuse.InterruptIn](r).Unique) {
		r.silent = true
		return fuse.OK
	}
	return fuse.EAGAIN
}
