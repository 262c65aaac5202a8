// SPDX-License-Identifier: Apache-2.0

package fusecore

import "github.com/hanwen/go-fuse/v2/fuse"

// Operations on a node's attributes, and on the file system as a whole.

func handleGetattr(s *Session, r *Request) fuse.Status {
	return s.fs.GetAttr(r.cancel(), argsAs[fuse.GetAttrIn](r), replyAs[fuse.AttrOut](r))
}

func handleSetattr(s *Session, r *Request) fuse.Status {
	in := argsAs[fuse.SetAttrIn](r)
	if r.inline && in.Valid&fuse.FATTR_SIZE != 0 {
		r.again = true // it may have to wait for who is writing
		return fuse.OK
	}
	return s.fs.SetAttr(r.cancel(), in, replyAs[fuse.AttrOut](r))
}

func handleStatx(s *Session, r *Request) fuse.Status {
	return s.fs.Statx(r.cancel(), argsAs[fuse.StatxIn](r), replyAs[fuse.StatxOut](r))
}

func handleAccess(s *Session, r *Request) fuse.Status {
	return s.fs.Access(r.cancel(), argsAs[fuse.AccessIn](r))
}

func handleStatfs(s *Session, r *Request) fuse.Status {
	return s.fs.StatFs(r.cancel(), r.header(), replyAs[fuse.StatfsOut](r))
}

func handleSyncfs(s *Session, r *Request) fuse.Status {
	if s.has.syncFs == nil {
		return errUnsupported
	}
	return s.has.syncFs.SyncFs(r.cancel(), r.header())
}
