// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"cmp"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// The value of a POSIX ACL attribute is struct posix_acl_xattr_header {version} and struct
// posix_acl_xattr_entry {tag, perm, id} for each entry, little-endian (Linux
// linux/posix_acl_xattr.h). An empty value is no ACL.
const (
	aclHeaderSize = 4
	aclEntrySize  = 8
	aclVersion    = 2 // POSIX_ACL_XATTR_VERSION
	aclNoID       = ^uint32(0)
)

// The tags of entries, in the order that they stand in (Linux linux/posix_acl.h). Users and groups
// may come several times, the others once.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
)

type aclEntry struct {
	tag, perm uint16
	id        uint32 // of aclUser and aclGroup
}

func (e aclEntry) named() bool { return e.tag == aclUser || e.tag == aclGroup }

// parseACL appends the entries of a value to entries, which is empty. EINVAL for one that Linux would
// not take, EOPNOTSUPP for another version (posix_acl_from_xattr of Linux fs/posix_acl.c).
func parseACL(b []byte, entries []aclEntry) ([]aclEntry, error) {
	if len(b) == 0 {
		return entries, nil
	}
	if len(b) < aclHeaderSize || (len(b)-aclHeaderSize)%aclEntrySize != 0 {
		return nil, unix.EINVAL
	}
	if binary.LittleEndian.Uint32(b) != aclVersion {
		return nil, unix.EOPNOTSUPP
	}
	for b = b[aclHeaderSize:]; len(b) > 0; b = b[aclEntrySize:] {
		e := aclEntry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])}
		switch e.tag {
		case aclUserObj, aclGroupObj, aclMask, aclOther:
		case aclUser, aclGroup:
			if e.id == aclNoID {
				return nil, unix.EINVAL
			}
		default:
			return nil, unix.EINVAL
		}
		if n := len(entries); e.perm&^7 != 0 || n > 0 && (e.tag < entries[n-1].tag || e.tag == entries[n-1].tag && !e.named()) {
			return nil, unix.EINVAL
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// appendACL appends the value of entries, which may be none but the value was not empty.
func appendACL(b []byte, entries []aclEntry) []byte {
	b = binary.LittleEndian.AppendUint32(b, aclVersion)
	for _, e := range entries {
		id := e.id
		if !e.named() {
			id = aclNoID
		}
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return b
}

// sortACL brings entries whose ids have changed into order: users and groups stand by their ids. It
// tells whether no two are of one user or group.
func sortACL(entries []aclEntry) (distinct bool) {
	slices.SortStableFunc(entries, func(a, b aclEntry) int {
		if c := cmp.Compare(a.tag, b.tag); c != 0 || !a.named() {
			return c
		}
		return cmp.Compare(a.id, b.id)
	})
	for i := 1; i < len(entries); i++ {
		if entries[i].sameAs(entries[i-1]) {
			return false
		}
	}
	return true
}

func (e aclEntry) sameAs(o aclEntry) bool { return e.named() && e.tag == o.tag && e.id == o.id }

// mergeACL makes one entry of those of one user or group, with what all of them allow. entries are in
// order.
func mergeACL(entries []aclEntry) []aclEntry {
	merged := entries[:0]
	for _, e := range entries {
		if n := len(merged); n > 0 && e.sameAs(merged[n-1]) {
			merged[n-1].perm &= e.perm
			continue
		}
		merged = append(merged, e)
	}
	return merged
}
