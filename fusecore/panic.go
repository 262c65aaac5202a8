// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/zap"
)

// call runs the request's handler.
func (s *Session) call(r *Request) (st fuse.Status) {
	defer s.recovered(r.op.name, &st)
	return r.op.handle(s, r)
}

// resetFileSystem runs the file system's Reset, when it has one.
func (s *Session) resetFileSystem() (st fuse.Status) {
	if s.has.reset == nil {
		return fuse.OK
	}
	defer s.recovered("Reset", &st)
	s.has.reset.Reset()
	return fuse.OK
}

// recovered, deferred, turns a panic of the file system into EIO and one log line: other guests
// and other requests go on. A fault in guest memory is not the file system's doing; it passes
// on to the caller of Handle, who knows what to do about the guest.
func (s *Session) recovered(operation string, st *fuse.Status) {
	p := recover()
	if p == nil {
		return
	}
	if isMemoryFault(p) {
		panic(p)
	}
	s.guestLog.Error("file system panicked", zap.String("operation", operation),
		zap.String("panic", fmt.Sprint(p)), zap.ByteString("stack", debug.Stack()))
	*st = errInternal
}

// isMemoryFault tells a fault at an address (debug.SetPanicOnFault) from all other panics. The
// Go runtime gives such an error, and no other, an Addr method; a nil pointer has none.
func isMemoryFault(p any) bool {
	err, ok := p.(runtime.Error)
	if !ok {
		return false
	}
	_, ok = err.(interface{ Addr() uintptr })
	return ok
}
