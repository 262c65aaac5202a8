// SPDX-License-Identifier: Apache-2.0

// Package threads makes threads for tests of what holds for all threads of a process.
package threads

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Sleep starts n threads that wait in a system call until stop is called.
func Sleep(n int) (stop func()) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		panic(err)
	}
	var started, ended sync.WaitGroup
	for range n {
		started.Add(1)
		ended.Go(func() {
			runtime.LockOSThread()
			started.Done()
			var b [1]byte
			for {
				if _, err := unix.Read(pipe[0], b[:]); err != unix.EINTR {
					return
				}
			}
		})
	}
	started.Wait()
	return func() {
		unix.Close(pipe[1])
		ended.Wait()
		unix.Close(pipe[0])
	}
}
