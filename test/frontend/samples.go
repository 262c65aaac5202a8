// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Samples are a well-formed request of each operation by its name, and an unknown one, with node and
// handle to be used. Replies of variable length are asked for with room bytes. Names are "sample".
func Samples(node, fh uint64, room uint32) map[string]Message {
	b := func(words ...uint64) []byte {
		var out []byte
		for _, w := range words {
			out = binary.NativeEndian.AppendUint64(out, w)
		}
		return out
	}
	two := func(lo, hi uint32) uint64 { return uint64(lo) | uint64(hi)<<32 }
	name := []string{"sample"}
	return map[string]Message{
		"LOOKUP":             {Op: OpLookup, Node: RootID, Names: name},
		"GETATTR":            {Op: OpGetattr, Node: node, Args: b(0, 0)},
		"SETATTR":            {Op: OpSetattr, Node: node, Args: make([]byte, 88)},
		"READLINK":           {Op: OpReadlink, Node: node},
		"SYMLINK":            {Op: OpSymlink, Node: RootID, Names: []string{"sample", "target"}},
		"MKNOD":              {Op: OpMknod, Node: RootID, Args: b(two(unix.S_IFREG|0o600, 0), 0), Names: name},
		"MKDIR":              {Op: OpMkdir, Node: RootID, Args: b(two(0o700, 0)), Names: name},
		"UNLINK":             {Op: OpUnlink, Node: RootID, Names: name},
		"RMDIR":              {Op: OpRmdir, Node: RootID, Names: name},
		"RENAME":             {Op: OpRename, Node: RootID, Args: b(RootID), Names: []string{"sample", "other"}},
		"RENAME2":            {Op: OpRename2, Node: RootID, Args: b(RootID, 0), Names: []string{"sample", "other"}},
		"LINK":               {Op: OpLink, Node: RootID, Args: b(node), Names: name},
		"OPEN":               {Op: OpOpen, Node: node, Args: b(two(unix.O_RDWR, 0))},
		"READ":               {Op: OpRead, Node: node, Args: b(fh, 0, two(room, 0), 0, 0)},
		"WRITE":              {Op: OpWrite, Node: node, Args: b(fh, 0, two(4, 0), 0, 0), Data: []byte("data")},
		"STATFS":             {Op: OpStatfs, Node: RootID},
		"RELEASE":            {Op: OpRelease, Node: node, Args: b(1<<40, 0, 0)},
		"FSYNC":              {Op: OpFsync, Node: node, Args: b(fh, 0)},
		"SETXATTR":           {Op: OpSetxattr, Node: node, Args: b(two(1, 0)), Names: []string{"user.x"}, Data: []byte("v")},
		"GETXATTR":           {Op: OpGetxattr, Node: node, Args: b(two(100, 0)), Names: []string{"user.x"}},
		"LISTXATTR":          {Op: OpListxattr, Node: node, Args: b(two(100, 0))},
		"REMOVEXATTR":        {Op: OpRemovexattr, Node: node, Names: []string{"user.x"}},
		"FLUSH":              {Op: OpFlush, Node: node, Args: b(fh, 0, 0)},
		"OPENDIR":            {Op: OpOpendir, Node: RootID, Args: b(0)},
		"READDIR":            {Op: OpReaddir, Node: RootID, Args: b(fh, 0, two(room, 0), 0, 0)},
		"READDIRPLUS":        {Op: OpReaddirplus, Node: RootID, Args: b(fh, 0, two(room, 0), 0, 0)},
		"RELEASEDIR":         {Op: OpReleasedir, Node: RootID, Args: b(1<<40, 0, 0)},
		"FSYNCDIR":           {Op: OpFsyncdir, Node: RootID, Args: b(fh, 0)},
		"GETLK":              {Op: OpGetlk, Node: node, Args: b(fh, 1, 0, 10, two(unix.F_WRLCK, 1), 0)},
		"ACCESS":             {Op: OpAccess, Node: node, Args: b(two(unix.R_OK, 0))},
		"CREATE":             {Op: OpCreate, Node: RootID, Args: b(two(unix.O_RDWR, 0o600), 0), Names: name},
		"TMPFILE":            {Op: OpTmpfile, Node: RootID, Args: b(two(unix.O_TMPFILE|unix.O_RDWR, 0o600), 0), Names: []string{"/"}},
		"IOCTL":              {Op: OpIoctl, Node: node, Args: b(fh, two(0, 0x5401), 0, two(8, 8)), Data: make([]byte, 8)},
		"FALLOCATE":          {Op: OpFallocate, Node: node, Args: b(fh, 0, 100, 0)},
		"LSEEK":              {Op: OpLseek, Node: node, Args: b(fh, 0, two(unix.SEEK_DATA, 0))},
		"COPY_FILE_RANGE":    {Op: OpCopyFileRange, Node: node, Args: b(fh, 0, node, fh, 100, 1, 0)},
		"COPY_FILE_RANGE_64": {Op: OpCopyFileRange64, Node: node, Args: b(fh, 0, node, fh, 100, 1, 0)},
		"SYNCFS":             {Op: OpSyncfs, Node: RootID, Args: b(0)},
		"STATX":              {Op: OpStatx, Node: node, Args: b(0, 0, two(0, unix.STATX_BASIC_STATS))},
		"INTERRUPT":          {Op: OpInterrupt, Args: b(99)},
		"FORGET":             {Op: OpForget, Node: 1 << 40, Args: b(1)},
		"BATCH_FORGET":       {Op: OpBatchForget, Args: b(two(1, 0), 1<<40, 1)},
		"SETUPMAPPING":       {Op: OpSetupmapping, Node: node, Args: b(fh, 0, 1<<21, 3, 0)},
		"REMOVEMAPPING":      {Op: OpRemovemapping, Args: b(two(1, 0), 0, 1<<21)},
		"unknown":            {Op: 4000, Node: node, Args: b(1, 2, 3)},
	}
}

// Bytes are the request without a Client: unique 2, the caller is root. Clients have Frame.
func (m Message) Bytes() []byte {
	b := make([]byte, inHeaderSize)
	b = append(b, m.Args...)
	for _, n := range m.Names {
		b = append(append(b, n...), 0)
	}
	b = append(b, m.Data...)
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint32(b[4:], uint32(m.Op))
	binary.NativeEndian.PutUint64(b[8:], 2)
	binary.NativeEndian.PutUint64(b[16:], m.Node)
	return b
}
