// SPDX-License-Identifier: Apache-2.0

package hostfs

import "golang.org/x/sys/unix"

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

// guestOwner changes the owner in attributes of the host for the guest.
func (fs *FS) guestOwner(st *unix.Statx_t) {
	st.Uid, st.Gid = fs.cfg.UIDs.ToGuest(st.Uid), fs.cfg.GIDs.ToGuest(st.Gid)
}
