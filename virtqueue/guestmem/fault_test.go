// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// shrunk returns a view of memory whose file has been truncated under it.
func shrunk(t *testing.T) []byte {
	m := New()
	fd := memfd(t, "shrunk", 0x3000)
	file := closing(t, mustDup(t, fd))
	mustAdd(t, m, Region{Size: 0x3000}, fd)
	tab := m.Acquire()
	m.Reset()
	t.Cleanup(tab.Release)
	if err := unix.Ftruncate(file, 0x1000); err != nil {
		t.Fatal(err)
	}
	b, err := tab.Slice(0, 0x3000)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGuardFaults(t *testing.T) {
	b := shrunk(t)
	var sink byte
	for name, touch := range map[string]func(){
		"load":       func() { sink = b[0x1000] },
		"store":      func() { b[0x2fff] = 1 },
		"copy out":   func() { copy(make([]byte, 64), b[0xff0:]) },
		"copy in":    func() { copy(b[0xff0:], make([]byte, 64)) },
		"load word":  func() { sink = byte(LoadAcquire16(b[0x1000:])) },
		"store word": func() { StoreRelease16(b[0x1ffe:], 1) },
		"set bits":   func() { orWord(b, 0x2000/4, 1) },
		"nested":     func() { _ = Guard(func() {}); sink = b[0x1000] },
	} {
		t.Run(name, func(t *testing.T) {
			after := false
			err := Guard(func() { touch(); after = true })
			if !errors.Is(err, ErrFault) || after {
				t.Errorf("%v, want ErrFault", err)
			}
		})
	}
	_ = sink
	if err := Guard(func() { b[0xfff]++ }); err != nil {
		t.Errorf("what is left of the file: %v", err)
	}
	// System calls answer by themselves.
	if _, err := unix.Pread(memfd(t, "src", 0x2000), b[0x1000:], 0); !errors.Is(err, unix.EFAULT) {
		t.Errorf("pread: %v, want EFAULT", err)
	}
}

// What is not a fault on memory is not Guard's.
func TestGuardLetsPanicsPass(t *testing.T) {
	var nilPointer *int
	for name, fn := range map[string]func(){
		"value":       func() { panic("mine") },
		"nil pointer": func() { *nilPointer = 1 },
		"bounds":      func() { var b []byte; _ = b[len(b)] },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				r := recover()
				if r == nil {
					t.Error("the panic was swallowed")
				}
				if err, ok := r.(runtime.Error); ok && errors.Is(err, ErrFault) {
					t.Errorf("the panic became %v", err)
				}
			}()
			err := Guard(fn)
			t.Errorf("Guard returned %v", err)
		})
	}
}
