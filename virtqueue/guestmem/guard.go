// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Guard calls fn and turns a memory fault in it (SIGBUS or SIGSEGV at an address that is not a nil
// pointer's) into an error that wraps ErrFault. Every other panic passes through.
//
// A fault unwinds fn like a panic: locks held over an access to guest memory need a deferred
// unlock. It costs some 50 ns, so it belongs around a batch, not around each access. It holds for
// the calling goroutine only, not for those that fn starts.
func Guard(fn func()) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		r := recover()
		if r == nil {
			return
		}
		// The runtime gives faults, and nothing else, an address.
		fault, ok := r.(interface {
			runtime.Error
			Addr() uintptr
		})
		if !ok {
			panic(r)
		}
		err = fmt.Errorf("%w at address %#x", ErrFault, fault.Addr())
	}()
	fn()
	return nil
}
