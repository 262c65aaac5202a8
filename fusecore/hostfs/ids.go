// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The guest's user and group ids and the host's are different things if Config.UIDs or GIDs is set.
// Inside this package all ids are the host's, but for those in requests and replies: the functions
// here are where they change. Forbidden ids end in EPERM.

// hostIDs returns the host's ids for those of the guest.
func (fs *FS) hostIDs(uid, gid uint32) (hostUID, hostGID uint32, err error) {
	hostUID, okUID := fs.cfg.UIDs.ToHost(uid)
	hostGID, okGID := fs.cfg.GIDs.ToHost(gid)
	if !okUID || !okGID {
		return 0, 0, unix.EPERM
	}
	return hostUID, hostGID, nil
}

// asCaller runs call, which creates something, with the ids of the request's caller.
func (fs *FS) asCaller(c *fuse.Caller, call func() error) error {
	uid, gid, err := fs.hostIDs(c.Uid, c.Gid)
	if err != nil {
		return err
	}
	return fs.creds.Do(uid, gid, call)
}

// guestOwner changes the owner in attributes of the host for the guest.
func (fs *FS) guestOwner(st *unix.Statx_t) {
	st.Uid, st.Gid = fs.cfg.UIDs.ToGuest(st.Uid), fs.cfg.GIDs.ToGuest(st.Gid)
}
