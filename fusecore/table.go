// SPDX-License-Identifier: Apache-2.0

package fusecore

import "github.com/hanwen/go-fuse/v2/fuse"

// operation is one row of the table: all that the session knows about an opcode.
type operation struct {
	code   Opcode
	name   string
	args   int      // bytes of fixed arguments behind the header; INIT and SETXATTR may have more
	reply  int      // bytes of the reply's fixed part, 0: none or the handler decides
	names  nameKind // what follows the arguments
	blocks blocking
	handle func(*Session, *Request) fuse.Status

	control   bool // of the session itself: needs none, does not enter the file system
	creates   bool // may carry extensions: the caller's groups, a label
	noReply   bool // never answered
	anyRoom   bool // carried out even when its reply has no room
	anyLength bool // the header's length is not believed
}

// blocking says whether an operation may be carried out on a queue's own loop.
type blocking uint8

const (
	askFileSystem    blocking = iota // a worker, unless the file system has MayBlock and denies it
	never                            // the loop
	always                           // a worker
	ifFileSystemSays                 // the loop, unless MayBlock claims it
	tryFirst                         // the loop when the file system has a call that cannot block
	forOthers                        // the loop tries; then it may wait for ever, for another request
)

// operations has a row for each opcode; rows without a name are unknown ones. Sizes are those
// of the structures in Linux include/uapi/linux/fuse.h; a test holds them against go-fuse's.
var operations = [...]operation{
	OpLookup:          {name: "LOOKUP", names: oneName, reply: 128, handle: handleLookup},
	OpForget:          {name: "FORGET", args: 8, noReply: true, blocks: ifFileSystemSays, handle: handleForget},
	OpGetattr:         {name: "GETATTR", args: 16, reply: 104, handle: handleGetattr},
	OpSetattr:         {name: "SETATTR", args: 88, reply: 104, handle: handleSetattr},
	OpReadlink:        {name: "READLINK", handle: handleReadlink},
	OpSymlink:         {name: "SYMLINK", reply: 128, creates: true, handle: handleSymlink},
	OpMknod:           {name: "MKNOD", args: 16, names: oneName, reply: 128, creates: true, handle: handleMknod},
	OpMkdir:           {name: "MKDIR", args: 8, names: oneName, reply: 128, creates: true, handle: handleMkdir},
	OpUnlink:          {name: "UNLINK", names: oneName, handle: handleUnlink},
	OpRmdir:           {name: "RMDIR", names: oneName, handle: handleRmdir},
	OpRename:          {name: "RENAME", args: 8, names: twoNames, handle: handleRename},
	OpLink:            {name: "LINK", args: 8, names: oneName, reply: 128, handle: handleLink},
	OpOpen:            {name: "OPEN", args: 8, reply: 16, handle: handleOpen},
	OpRead:            {name: "READ", args: 40, blocks: tryFirst, anyLength: true, handle: handleRead},
	OpWrite:           {name: "WRITE", args: 40, reply: 8, handle: handleWrite},
	OpStatfs:          {name: "STATFS", reply: 80, handle: handleStatfs},
	OpRelease:         {name: "RELEASE", args: 24, handle: handleRelease},
	OpFsync:           {name: "FSYNC", args: 16, handle: handleFsync},
	OpSetxattr:        {name: "SETXATTR", args: 8, handle: handleSetxattr},
	OpGetxattr:        {name: "GETXATTR", args: 8, names: attrName, handle: handleGetxattr},
	OpListxattr:       {name: "LISTXATTR", args: 8, handle: handleGetxattr},
	OpRemovexattr:     {name: "REMOVEXATTR", names: attrName, handle: handleRemovexattr},
	OpFlush:           {name: "FLUSH", args: 24, handle: handleFlush},
	OpInit:            {name: "INIT", args: 16, reply: 64, control: true, blocks: always, handle: handleInit},
	OpOpendir:         {name: "OPENDIR", args: 8, reply: 16, handle: handleOpendir},
	OpReaddir:         {name: "READDIR", args: 40, handle: handleReaddir},
	OpReleasedir:      {name: "RELEASEDIR", args: 24, handle: handleReleasedir},
	OpFsyncdir:        {name: "FSYNCDIR", args: 16, handle: handleFsyncdir},
	OpGetlk:           {name: "GETLK", args: 48, reply: 24, handle: handleGetlk},
	OpSetlk:           {name: "SETLK", args: 48, handle: handleSetlk},
	OpSetlkw:          {name: "SETLKW", args: 48, blocks: forOthers, handle: handleSetlkw},
	OpAccess:          {name: "ACCESS", args: 8, handle: handleAccess},
	OpCreate:          {name: "CREATE", args: 16, names: oneName, reply: 144, creates: true, handle: handleCreate},
	OpInterrupt:       {name: "INTERRUPT", args: 8, control: true, anyRoom: true, blocks: never, handle: handleInterrupt},
	OpBmap:            {name: "BMAP", blocks: never, handle: handleUnsupported},
	OpDestroy:         {name: "DESTROY", control: true, anyRoom: true, blocks: always, handle: handleDestroy},
	OpIoctl:           {name: "IOCTL", args: 32, reply: 16, handle: handleIoctl},
	OpPoll:            {name: "POLL", blocks: never, handle: handleUnsupported},
	OpNotifyReply:     {name: "NOTIFY_REPLY", blocks: never, handle: handleUnsupported},
	OpBatchForget:     {name: "BATCH_FORGET", args: 8, noReply: true, blocks: askFileSystem, handle: handleBatchForget},
	OpFallocate:       {name: "FALLOCATE", args: 32, handle: handleFallocate},
	OpReaddirplus:     {name: "READDIRPLUS", args: 40, handle: handleReaddirplus},
	OpRename2:         {name: "RENAME2", args: 16, names: twoNames, handle: handleRename},
	OpLseek:           {name: "LSEEK", args: 24, reply: 8, handle: handleLseek},
	OpCopyFileRange:   {name: "COPY_FILE_RANGE", args: 56, reply: 8, handle: handleCopyFileRange},
	OpSetupmapping:    {name: "SETUPMAPPING", blocks: never, handle: handleUnsupported},
	OpRemovemapping:   {name: "REMOVEMAPPING", blocks: never, handle: handleUnsupported},
	OpSyncfs:          {name: "SYNCFS", args: 8, handle: handleSyncfs},
	OpTmpfile:         {name: "TMPFILE", args: 16, reply: 144, creates: true, handle: handleTmpfile},
	OpStatx:           {name: "STATX", args: 24, reply: 288, handle: handleStatx},
	OpCopyFileRange64: {name: "COPY_FILE_RANGE_64", args: 56, reply: 8, handle: handleCopyFileRange64},
}

// unknownOperation stands for all opcodes without a row.
var unknownOperation = operation{name: "unknown", blocks: never, handle: handleUnsupported}

func init() {
	for i := range operations {
		operations[i].code = Opcode(i)
	}
}

// lookupOperation returns the row of an opcode.
func lookupOperation(code Opcode) *operation {
	if int64(code) >= int64(len(operations)) || operations[code].handle == nil {
		return &unknownOperation
	}
	return &operations[code]
}

func handleUnsupported(*Session, *Request) fuse.Status { return errUnsupported }
