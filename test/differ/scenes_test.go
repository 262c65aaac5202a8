// SPDX-License-Identifier: Apache-2.0

package differ

// submountScene is the one that has a file system mounted in its directory.
const submountScene = "submount"

// scenes are the script, in its order.
var scenes = []scene{
	{"lookup", playLookup, "#attrs"},
	{"getattr", playGetattr, "#attrs"},
	{"chmod", playChmod, "#attrs"},
	{"chown", playChown, "#attrs"},
	{"truncate", playTruncate, "#attrs"},
	{"utimes", playUtimes, "#attrs"},
	{"access", playAccess, "#attrs"},
	{"statx", playStatx, "#attrs"},

	{"create", playCreate, "#names"},
	{"create-flags", playCreateFlags, "#names"},
	{"create-users", playCreateUsers, "#names"},
	{"mknod", playMknod, "#names"},
	{"mkdir", playMkdir, "#names"},
	{"symlink", playSymlink, "#names"},
	{"link", playLink, "#names"},
	{"tmpfile", playTmpfile, "#names"},
	{"unlink", playUnlink, "#names"},
	{"rename", playRename, "#names"},
	{"rename2", playRename2, "#names"},
	{"names", playNames, "#names"},

	{"open", playOpen, "#data"},
	{"open-kinds", playOpenKinds, "#data"},
	{"read", playRead, "#data"},
	{"write", playWrite, "#data"},
	{"append", playAppend, "#data"},
	{"direct", playDirect, "#data"},
	{"suid", playSuid, "#data"},
	{"suid-kill", playSuidKill, "#data"},
	{"fallocate", playFallocate, "#data"},
	{"lseek", playLseek, "#data"},
	{"copy", playCopy, "#data"},
	{"sync", playSync, "#data"},

	{"opendir", playOpendir, "#dirs"},
	{"readdir", playReaddir, "#dirs"},
	{"readdirplus", playReaddirplus, "#dirs"},
	{submountScene, playSubmount, "#dirs"},
	{"statfs", playStatfs, "#dirs"},

	{"xattr", playXattr, "#xattrs"},
	{"xattr-names", playXattrNames, "#xattrs"},
	{"xattr-kinds", playXattrKinds, "#xattrs"},
	{"xattr-mapped", playXattrMapped, "#xattrmap"},
	{"acl", playACL, "#xattrs"},
	{"acl-kill", playACLKill, "--posix-acl"},
	{"acl-default", playDefaultACL, "#xattrs"},
	{"capability", playCapability, "#xattrs"},
	{"label", playLabel, "#label"},
	{"ids", playIDs, "#ids"},

	{"stale", playStale, "#more"},
	{"forget", playForget, "#more"},
	{"wrong", playWrong, "#more"},
	{"others", playOthers, "#more"},
	{"init", playInit, ""},
}
