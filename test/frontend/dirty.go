// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// dirtyLog is the bitmap of written pages that the back-end fills during a migration: a bit
// per page of 4 KiB from guest address 0, bit 0 of byte 0 first.
type dirtyLog struct {
	file *os.File
	bits []byte
}

func (l *dirtyLog) close() {
	unix.Munmap(l.bits)
	l.file.Close()
}

// LogOn starts dirty logging as a migration does, on running rings.
func (vm *VM) LogOn() {
	if err := vm.logOn(); err != nil {
		vm.fail(fmt.Errorf("dirty log: %w", err))
	}
}

func (vm *VM) logOn() error {
	var end uint64
	for _, r := range vm.RAM.Regions() {
		end = max(end, r.GPA+r.Size)
	}
	size := (end/PageSize + 7) / 8
	file, err := Memfd("dirty-log", size, true)
	if err != nil {
		return err
	}
	bits, err := unix.Mmap(int(file.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		file.Close()
		return os.NewSyscallError("mmap", err)
	}
	vm.log = &dirtyLog{file: file, bits: bits}
	payload := binary.NativeEndian.AppendUint64(U64(size), 0)
	if _, err := vm.Conn.Ask(SetLogBase, payload, int(file.Fd())); err != nil {
		return err
	}
	return steps(vm.setFeatures, vm.eachRing(func(r *vring) error {
		return vm.tellSync(SetVringAddr, vm.vringAddr(r).Bytes())
	}))
}

// LogOff ends dirty logging on running rings, as a migration that failed does.
func (vm *VM) LogOff() {
	l := vm.log
	vm.log = nil
	err := steps(func() error { return vm.tellSync(SetFeatures, U64(vm.Features())) },
		vm.eachRing(func(r *vring) error { return vm.tellSync(SetVringAddr, vm.vringAddr(r).Bytes()) }),
		vm.Conn.Alive)
	l.close()
	if err != nil {
		vm.fail(fmt.Errorf("dirty log off: %w", err))
	}
}

// TakeDirty returns whether the page of a guest address was marked, as a snapshot that clears
// the log: pages written while it is taken are in this one or the next.
func (vm *VM) TakeDirty() func(gpa uint64) bool {
	snap := append([]byte(nil), vm.log.bits...)
	clear(vm.log.bits)
	return func(gpa uint64) bool {
		p := gpa / PageSize
		return snap[p/8]&(1<<(p%8)) != 0
	}
}
