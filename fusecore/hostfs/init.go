// SPDX-License-Identifier: Apache-2.0

package hostfs

import "github.com/hanwen/go-fuse/v2/fuse"

// always is what the share wants whatever its configuration is.
const always = fuse.CAP_ASYNC_READ | fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_EXPORT_SUPPORT |
	fuse.CAP_BIG_WRITES | fuse.CAP_IOCTL_DIR | fuse.CAP_AUTO_INVAL_DATA | fuse.CAP_ASYNC_DIO |
	fuse.CAP_PARALLEL_DIROPS | fuse.CAP_MAX_PAGES | fuse.CAP_INIT_EXT | fuse.CAP_CREATE_SUPP_GROUP |
	fuse.CAP_ALLOW_IDMAP

// InitFlags says which features of FUSE_INIT the share wants of those that the guest offers.
func (fs *FS) InitFlags(offered uint64) uint64 {
	want := uint64(always)
	for _, f := range []struct {
		wanted bool
		flags  uint64
	}{
		{fs.policy.readDirPlus && !fs.cfg.NoReadDirPlus, fuse.CAP_READDIRPLUS | fuse.CAP_READDIRPLUS_AUTO},
		{fs.policy.cacheSymlinks(), fuse.CAP_CACHE_SYMLINKS},
		{fs.cfg.AllowMMap, fuse.CAP_DIRECT_IO_ALLOW_MMAP},
		{fs.cfg.Writeback, fuse.CAP_WRITEBACK_CACHE},
		{fs.cfg.KillPrivV2, fuse.CAP_HANDLE_KILLPRIV_V2},
		{fs.cfg.AnnounceSubmounts, fuse.CAP_SUBMOUNTS},
		{fs.cfg.ACL.wants() && offered&aclFlags == aclFlags, aclWants},
		{fs.cfg.SecurityLabel.wants(), fuse.CAP_SECURITY_CTX},
		{fs.cfg.PosixLocks, fuse.CAP_POSIX_LOCKS},
		{fs.cfg.Flock, fuse.CAP_FLOCK_LOCKS},
	} {
		if f.wanted {
			want |= f.flags
		}
	}
	fs.agree(want & offered)
	return want & offered
}

// agree remembers what was agreed upon with the guest that starts now.
func (fs *FS) agree(flags uint64) {
	fs.setExport(flags&fuse.CAP_EXPORT_SUPPORT != 0)
	fs.below.announced.Store(flags&fuse.CAP_SUBMOUNTS != 0)
	fs.acl.Store(flags&aclFlags != 0)
	fs.killPrivV2.Store(flags&fuse.CAP_HANDLE_KILLPRIV_V2 != 0)
	fs.writeback.Store(flags&fuse.CAP_WRITEBACK_CACHE != 0)
}

// InitRequires says which features the guest must have to be served.
func (fs *FS) InitRequires() (flags uint64) {
	if fs.cfg.ACL == NegotiateAlways {
		flags |= aclFlags
	}
	if fs.cfg.SecurityLabel == NegotiateAlways {
		flags |= fuse.CAP_SECURITY_CTX
	}
	return flags
}
