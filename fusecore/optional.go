// SPDX-License-Identifier: Apache-2.0

package fusecore

import "github.com/hanwen/go-fuse/v2/fuse"

// What fuse.RawFileSystem lacks is asked for through these interfaces. They use only go-fuse's
// types, so a file system has them without importing this package. NewSession looks for each
// of them once.

// ReadvFileSystem reads straight into the guest's buffers.
type ReadvFileSystem interface {
	// Readv fills dst from in.Offset on; dst holds in.Size bytes in all. A count below
	// in.Size means end of file. It may block.
	Readv(cancel <-chan struct{}, in *fuse.ReadIn, dst [][]byte) (n int, st fuse.Status)
}

// ReadvNowaitFileSystem reads what is in memory already.
type ReadvNowaitFileSystem interface {
	ReadvFileSystem
	// ReadvNowait is Readv for a caller that must not block. EAGAIN: it would block, or
	// could only deliver a part; nothing counts as done.
	ReadvNowait(in *fuse.ReadIn, dst [][]byte) (n int, st fuse.Status)
}

// WritevNowaitFileSystem writes what need not wait.
type WritevNowaitFileSystem interface {
	// WritevNowait is Writev for a caller that must not block. EAGAIN: it would block; nothing
	// counts as done. It is called if MayBlock says that WRITE does not block in general.
	WritevNowait(in *fuse.WriteIn, data [][]byte) (n uint32, st fuse.Status)
}

// SyncFileSystem carries out SYNCFS.
type SyncFileSystem interface {
	// SyncFs makes everything below the file system of node h.NodeId durable.
	SyncFs(cancel <-chan struct{}, h *fuse.InHeader) fuse.Status
}

// CopyFileRange64FileSystem carries out COPY_FILE_RANGE_64.
type CopyFileRange64FileSystem interface {
	// CopyFileRange64 is CopyFileRange with a result of 64 bits, in bytes.
	CopyFileRange64(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint64, fuse.Status)
}

// InitFlagsFileSystem takes part in the negotiation of INIT.
type InitFlagsFileSystem interface {
	// InitFlags gets the flags that the guest offers (fuse.CAP_*) and returns those that the
	// file system wants. The session drops what was not offered and what it cannot do.
	InitFlags(offered uint64) (wanted uint64)
}

// InitRequiresFileSystem cannot serve every guest.
type InitRequiresFileSystem interface {
	// InitRequires returns the flags (fuse.CAP_*) without which INIT fails with EPROTO.
	InitRequires() (flags uint64)
}

// ResetFileSystem can forget a session.
type ResetFileSystem interface {
	// Reset drops all nodes, lookup counts, handles and locks. No other call of the file
	// system is running. A file system without it keeps what a guest that was reset left
	// behind.
	Reset()
}

// BlockingFileSystem tells which operations may block.
type BlockingFileSystem interface {
	// MayBlock reports whether the operation (an Opcode) may wait for anything but a short
	// lock. The others are carried out on the queue's own loop, but for a SETATTR of a size and an
	// OPEN or CREATE that may truncate, which wait for who is writing. Without this interface everything but
	// FORGET goes to a worker. SETLKW is not asked about: it is tried like SETLK.
	MayBlock(opcode uint32) bool
}

// BorrowingFileSystem promises to keep nothing that it is handed.
type BorrowingFileSystem interface {
	// BorrowsNames reports true when names and data are used only during the call. The
	// session then hands out strings without allocating them.
	BorrowsNames() bool
}

// GroupsFileSystem takes the supplementary groups of callers that create something.
type GroupsFileSystem interface {
	// WithGroups returns the file system to carry out one creating operation (CREATE, MKDIR,
	// MKNOD, SYMLINK, TMPFILE) for a caller with these supplementary groups, at least one.
	// groups is valid during that operation. Its presence makes the session accept
	// FUSE_CREATE_SUPP_GROUP.
	WithGroups(groups []uint32) fuse.RawFileSystem
}

// SecurityContextFileSystem labels what it creates.
type SecurityContextFileSystem interface {
	// WithSecurityContext returns the file system to carry out one creating operation whose
	// outcome gets the extended attribute name with value, or the operation fails. Both are
	// valid during that operation. What is returned is asked for WithGroups, too. Its presence
	// makes the session accept FUSE_SECURITY_CTX if the file system wants it.
	WithSecurityContext(name string, value []byte) fuse.RawFileSystem
}

// extras are the optional interfaces of one file system; nil where it has not got one.
type extras struct {
	readv        ReadvFileSystem
	readvNowait  ReadvNowaitFileSystem
	writevNowait WritevNowaitFileSystem
	syncFs       SyncFileSystem
	copy64       CopyFileRange64FileSystem
	initFlags    InitFlagsFileSystem
	requires     InitRequiresFileSystem
	reset        ResetFileSystem
	blocking     BlockingFileSystem
	groups       GroupsFileSystem
	labels       SecurityContextFileSystem
	borrows      bool
}

func findExtras(fs fuse.RawFileSystem) extras {
	var x extras
	x.readv, _ = fs.(ReadvFileSystem)
	x.readvNowait, _ = fs.(ReadvNowaitFileSystem)
	x.writevNowait, _ = fs.(WritevNowaitFileSystem)
	x.syncFs, _ = fs.(SyncFileSystem)
	x.copy64, _ = fs.(CopyFileRange64FileSystem)
	x.initFlags, _ = fs.(InitFlagsFileSystem)
	x.requires, _ = fs.(InitRequiresFileSystem)
	x.reset, _ = fs.(ResetFileSystem)
	x.blocking, _ = fs.(BlockingFileSystem)
	x.groups, _ = fs.(GroupsFileSystem)
	x.labels, _ = fs.(SecurityContextFileSystem)
	if b, ok := fs.(BorrowingFileSystem); ok {
		x.borrows = b.BorrowsNames()
	}
	return x
}
