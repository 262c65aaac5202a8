// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/xattrmap"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sys"
	"golang.org/x/sys/unix"
)

// What a user without CAP_FSETID changes loses its setuid and setgid bits. The host's kernel sees
// the daemon's capabilities, not the guest's, so the guest has to say when bits are to go:
//
//   - WRITE past the guest's page cache, and with FUSE_HANDLE_KILLPRIV_V2 every WRITE, SETATTR of a
//     size and truncating OPEN, has a flag for it (fs/fuse/file.c and dir.c).
//   - Without FUSE_HANDLE_KILLPRIV_V2 Linux sends a SETATTR of the mode before other writes, but
//     none for OPEN with O_TRUNC; and nothing ever comes with FALLOCATE and COPY_FILE_RANGE. There
//     the caller's uid has to tell.
//
// security.capability goes with any write and chown: the host's kernel sees to it, whoever writes. Where
// Config.XAttrMap keeps it under another name, which means nothing to the host, it is removed here.

// capabilities is the host's name of the guest's security.capability, if it is another one, under
// which there can be an attribute.
func (c *Config) capabilities() string {
	const name = "security.capability"
	prefix, verdict := c.XAttrMap.Client(name)
	if verdict != xattrmap.Pass || prefix == "" || len(prefix+name) > nameMax {
		return ""
	}
	return prefix + name
}

// dropCapabilities removes what the guest takes for capabilities from the regular file that fd refers
// to. It costs nothing if they have their own name, and a system call else.
func (fs *FS) dropCapabilities(fd int) error {
	if fs.capName == "" {
		return nil
	}
	err := sys.Removexattr(fs.host.proc, fd, fs.capName)
	if err == unix.ENODATA || err == unix.EOPNOTSUPP {
		err = nil
	}
	return err
}

// killAtOpen tells whether OPEN or CREATE with these flags of open(2) and FUSE_OPEN_* clears the bits.
func (fs *FS) killAtOpen(flags, openFlags, uid uint32) bool {
	if flags&unix.O_TRUNC == 0 {
		return false
	}
	return openFlags&fuse.OPEN_KILL_SUIDGID != 0 || !fs.killPrivV2.Load() && !mayKeepPrivs(uid)
}

// mayKeepPrivs tells by the caller's uid, for operations that do not say it, whether bits stay. With
// FUSE_ALLOW_IDMAP, Linux says who it is only where something is created; then they never do.
func mayKeepPrivs(uid uint32) bool { return uid == 0 }

// killPrivs runs call, which changes the data of the regular file that fd refers to, so that setuid
// and setgid bits are cleared if kill is set, and capabilities in any case. A file without such bits
// costs one statx.
func (fs *FS) killPrivs(fd int, kill bool, call func() error) error {
	if err := fs.dropCapabilities(fd); err != nil {
		return err
	}
	if !kill || !setID(fd) {
		return call()
	}
	return fs.creds.WithoutFSETID(call)
}

// losesBits tells whether a file can lose mode bits by a WRITE. Linux does not look after one
// whether it has, so it must not trust the mode of such a file for any time.
func losesBits(st *unix.Statx_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0
}

// setID tells whether a file has a setuid or setgid bit. One that cannot be asked may have.
func setID(fd int) bool {
	var st unix.Statx_t
	if err := sys.Statx(fd, unix.AT_STATX_DONT_SYNC, unix.STATX_MODE, &st); err != nil {
		return true
	}
	return st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0
}
