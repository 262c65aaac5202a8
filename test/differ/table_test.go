// SPDX-License-Identifier: Apache-2.0

package differ

// Timeouts.
const (
	notAtAll = "0.000000000 s"
	second   = "1.000000000 s"
)

// known are all differences, in the order of docs/differences.md.
var known = []knownDifference{
	// What the guest's kernel is told.
	{"version", "", "init", "*", "version", "7.38", "7.*"},
	{"version", "", "init", "no flags", "max_pages", "256", "0"},
	{"negotiated", "", "init", "*", "flag 4", "0", "1"},
	{"negotiated", "!--cache=never", "init", "*", "flag 23", "0", "1"},
	{"no-submounts", "--no-announce-submounts", "init", "*", "flag 27", "1", "0"},
	{"old-acl-guests", "--posix-acl !--posix-acl=auto", "init", "Linux 5.4;7.27", status, "EPROTO", "ok"},
	{"old-acl-guests", "--posix-acl=auto", "init", "Linux 5.4;7.27", "flag 6;flag 20", "0", "1"},
	{"old-acl-guests", "--posix-acl=auto", "init", "Linux 5.4:*;7.27:*;host dir/*", "mode", "0100666", "0100640"},
	{"old-acl-guests", "--posix-acl !--posix-acl=auto", "init", "host dir/Linux 5.4;host dir/7.27", status, none, "file"},
	{"old-acl-guests", "--posix-acl=auto", "init", "Linux 5.4: ACL;7.27: ACL", status, "ENOTSUP", "ENODATA"},
	{"negative-names", "!--cache=never", "lookup;init", "missing;*: missing", "entry timeout", notAtAll, second},
	{"setuid-timeout", "!--cache=never", "*", "*", "attribute timeout", "*", notAtAll},
	{"direct-writes", "--cache=never", "*", "*", "open flags", "0x1", "0x41"},
	{"direct-writes", "--cache=metadata", "*", "*", "open flags", "0x1", "0x41"},

	// More than there.
	{"operations", "", "statx;tmpfile;copy;others", "file;tmpfile;64 bits;ioctl FS_IOC_GETFLAGS", status, "ENOSYS", "ok"},
	{"operations", "", "tmpfile", "as overlayfs", status, "ENOSYS", "ENOTSUP;EOPNOTSUPP"},
	{"operations", "--readonly", "tmpfile", "tmpfile;as overlayfs", status, "ENOSYS", "EROFS"},
	{"operations", "", "others", "unknown ioctl", status, "ENOSYS", "ENOTTY"},
	{"operations", "", "tmpfile", "host tmp", status, none, "file"},
	{"operations", "", "tmpfile", "host ", "mtime", "as before", "now"},
	{"removed-on-host", "", "stale", "*", status, "ESTALE", "ok;ENOENT"},
	{"removed-on-host", "", "link", "without a name", status, "ESTALE", "ENOENT"},

	// Bits and capabilities of files that change.
	{"setuid-cleared", "!--killpriv-v2", "truncate;suid;suid-kill", "with kill;after*;host suid", "mode", "0106755", "0100755"},
	{"setuid-cleared", "", "fallocate;copy", "after of a setuid file;host suid", "mode", "0106755", "0100755"},
	{"capabilities-cleared", "--xattrmap", "capability", "after copy;after fallocate", status, "*mapped*", "*"},
	{"capabilities-cleared", "--xattrmap", "capability;copy;fallocate", "host suid", "extended attributes", "*mapped*", "*"},
	{"capabilities-stay", "--xattrmap", "xattr-kinds", "security.capability of suid", status, "ENODATA", "ok"},
	{"capabilities-stay", "--xattrmap --posix-acl", "acl-kill", "host suid", "extended attributes", "*", "*mapped*"},
	{"groups-stay", "", "create-users", "create 1500:999+-1 in setgid;mknod 1500:999+-1 in setgid;host setgid/*7", "mode", "0102770;0102750", "0100770;0100750"},

	// Who may.
	{"create-rights", "", "create-users", "* in guarded", status, "EACCES", "ok"},
	{"create-rights", "", "create-users", "host guarded/*", status, none, "*"},
	{"create-rights", "", "create-users", "host guarded", "links;mtime", "*", "*"},
	{"forbidden-ids", "--translate-uid=map:0:100000:1000 !--readonly", "*", "*", status, "EIO", "EPERM"},
	{"forbidden-ids", "--translate-uid=map:0:100000:1000 !--readonly", "access;ids", "* as 1*", status, "ok;EACCES", "EPERM"},
	{"label-names", "#label", "label", "*, extension 2", status, "ok;EPERM", "EINVAL"},
	{"label-names", "#label", "label", "host *2", status, "file;directory", none},
	{"label-names", "#label", "label", "host ", "links", "10", "9"},
	{"label-names", "#label", "label-without-name", "*", "*", "*", "*"},

	// Data.
	{"direct-unaligned", "", "create-flags;open;direct", "odd write to *O_DIRECT;bytes *;written back *;end *", status, "EINVAL", "ok"},
	{"direct-unaligned", "", "create-flags;open;direct", "host *", "contents;size", "*", "*"},
	{"cut-attributes", "", "create-flags", "* O_WRONLY|O_TRUNC", "size;mtime;sparse", "*", "*"},
	{"write-only", "", "create-flags;open", "read of *", status, "EBADF", "ok"},

	// Errnos.
	{"kinds", "", "create-flags;open-kinds", "dir *;sticky *;setgid *", status, "ok", "EISDIR"},
	{"kinds", "", "symlink", "readlink of *", status, "ENOENT", "EINVAL"},
	{"kinds", "", "truncate;symlink;create-flags;open-kinds;opendir;write", "*", status, "EBADF", "ELOOP;EINVAL;ENOTDIR;EISDIR"},
	{"rename-flags", "", "rename2", "flags 0x8*", status, "ENOENT;ENOTDIR", "EINVAL"},
	{"lseek", "", "lseek", "whence 0 *;whence 1 *", status, "ok", "EINVAL"},
	{"directory-room", "", "readdir;readdirplus", "room of *;negative offset", status, "ok", "EINVAL"},
	{"xattr-limits", "", "xattr;xattr-names", "65 KiB;* (256)", status, "ENOSYS;EROFS", "E2BIG;ERANGE"},
	{"xattr-limits", "--xattrmap", "xattr-mapped", "get ;set ;remove ", status, "ENOTSUP;ok", "ERANGE"},
	{"xattr-limits", "--xattrmap=:map:: --posix-acl", "xattr-mapped", "host file", "extended attributes", "*", "*user.virtiofs.=*"},
	{"xattr-limits", "--xattrmap", "xattr-names", "* (2*)", status, "ERANGE", "ENODATA"},
	{"hidden-names", "--xattrmap", "*", "list*, too small", status, "ERANGE", "ok"},
	{"readonly-order", "--readonly", "*", "*", status, "EROFS", "ENOSYS;ENAMETOOLONG"},
	{"readonly-order", "--readonly", "create-flags;open", "* O_RDONLY|O_TRUNC", status, "EINVAL", "EROFS"},

	// Requests as Linux does not send them.
	{"malformed", "", "*", theDaemon, status, "ends;does not answer", none},
	{"malformed", "", "extension-unknown;label-missing", "host *", "*", "*", "*"},
	{"lengths", "", "length-*", "getattr", status, "16 bytes, error -12;120 bytes, error 0", "16 bytes, error -22"},
	{"lengths", "", "write-too-long;write-too-short", "write", status, "EIO;ok", "EINVAL"},
	{"lengths", "", "write-too-long;write-too-short", "host file", "contents;mtime", "*", "as before"},
	{"lengths", "", "read", "with more room than asked for", status, "EIO", "ok"},
	{"names", "", "names", "*", status, "*", "EINVAL;ENAMETOOLONG"},
	{"names", "", "names", "lookup up;lookup self", "links;mtime", "*", "*"},
	{"names", "", "names", "host *", "*", "*", "*"},
	{"names", "", "empty-name;empty-new-name", "*", status, "ENOENT", "EINVAL"},
	{"open-flags", "", "create-flags;open", "*O_DIRECTORY;*O_PATH;*O_TMPFILE;*O_EXCL;*unknown flags", status, "EINVAL;ENOTDIR;EEXIST;EBADF;ok", "ok;EISDIR;ELOOP;EBADF"},
	{"open-flags", "", "create-flags", "host new*", status, none, "file"},
	{"handles", "", "getattr", "no such handle", status, "ok", "EBADF"},
	{"handles", "", "sync", "release again;releasedir again", status, "EBADF", "ok"},
	{"unknown-nodes", "", "*", "*", status, "EBADF", "ESTALE;EIO"},
	{"root-stays", "", "forget-root", "root", status, "EBADF", "ok"},
	{"destroy", "", "destroy", "destroy", status, "0 bytes*", "16 bytes, error 0"},
}
