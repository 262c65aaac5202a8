// SPDX-License-Identifier: Apache-2.0

package fusecore

import "github.com/hanwen/go-fuse/v2/fuse"

// handleSetxattr decodes name and value itself: the value takes all that follows the name.
func handleSetxattr(s *Session, r *Request) fuse.Status {
	in := argsAs[fuse.SetXAttrIn](r)
	if in.Size > maxAttrValue {
		return errAttrSize
	}
	buf := getBuffer(maxAttrName + 1 + maxAttrValue)
	defer buf.put()
	raw, ok := r.rest(buf.bytes[:maxAttrName+1+maxAttrValue])
	if !ok {
		return errMalformed
	}
	name, value, ok := cutName(raw)
	if !ok || len(value) != int(in.Size) {
		return errMalformed
	}
	if st := checkAttrName(name); !st.Ok() {
		return st
	}
	return s.fs.SetXAttr(r.cancel(), in, nameString(name, s.has.borrows), value)
}

// handleGetxattr carries out GETXATTR and LISTXATTR. Size 0 asks for the length of the answer,
// anything else for the answer itself.
func handleGetxattr(s *Session, r *Request) fuse.Status {
	size := argsAs[fuse.GetXAttrIn](r).Size
	if size == 0 {
		return attrLength(s, r)
	}
	n := min(r.space(size), maxAttrValue)
	buf := getBuffer(n)
	defer buf.put()
	got, st := attrCall(s, r, buf.bytes[:n])
	switch {
	case !st.Ok():
		return st
	case int64(got) > int64(n):
		return fuse.ERANGE
	}
	r.putTail(0, buf.bytes[:got])
	return fuse.OK
}

// attrLength answers with the length. File systems may say ERANGE with it.
func attrLength(s *Session, r *Request) fuse.Status {
	out := replyAs[fuse.GetXAttrOut](r)
	if !r.setFixed(8) {
		return errMalformed
	}
	got, st := attrCall(s, r, nil)
	if st == fuse.ERANGE {
		st = fuse.OK
	}
	out.Size = got
	return st
}

func attrCall(s *Session, r *Request, buf []byte) (uint32, fuse.Status) {
	if r.op.code == OpListxattr {
		return s.fs.ListXAttr(r.cancel(), r.header(), buf)
	}
	return s.fs.GetXAttr(r.cancel(), r.header(), r.name, buf)
}

func handleRemovexattr(s *Session, r *Request) fuse.Status {
	return s.fs.RemoveXAttr(r.cancel(), r.header(), r.name)
}
