// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The steps that the VMMs' orders are made of.

func (vm *VM) getFeatures() error {
	b, err := vm.Conn.ask(vm, GetFeatures, nil)
	if err == nil && len(b) != 8 {
		err = fmt.Errorf("GET_FEATURES: %w: %d bytes", ErrReply, len(b))
	}
	if err == nil {
		vm.offered = binary.NativeEndian.Uint64(b)
	}
	return err
}

// protocolFeatures takes what both sides know.
func (vm *VM) protocolFeatures() error {
	t := vm.opt.VMM.traits()
	v, err := vm.Conn.AskU64(GetProtocolFeatures)
	if err != nil {
		return err
	}
	vm.protocol = v & t.protocol
	if err := vm.Conn.Tell(SetProtocolFeatures, U64(vm.protocol)); err != nil {
		return err
	}
	vm.Conn.replyAck = vm.protocol&PFReplyAck != 0 && !t.noAck
	return nil
}

func (vm *VM) setOwner() error { return vm.tell(SetOwner, nil) }

func (vm *VM) setFeatures() error {
	f := vm.Features()
	if vm.log != nil {
		f |= FeatureLogAll
		return vm.tellSync(SetFeatures, U64(f))
	}
	return vm.tell(SetFeatures, U64(f))
}

// queueNum asks how many queues there are, and fails when they are too few.
func (vm *VM) queueNum() error {
	if vm.protocol&PFMQ == 0 {
		return nil
	}
	b, err := vm.Conn.ask(vm, GetQueueNum, nil)
	if err != nil {
		return err
	}
	if len(b) != 8 || binary.NativeEndian.Uint64(b) < uint64(len(vm.rings)) {
		return fmt.Errorf("GET_QUEUE_NUM: %w: %x, need %d", ErrReply, b, len(vm.rings))
	}
	return nil
}

func (vm *VM) maxMemSlots() error {
	if vm.protocol&PFConfigureMemSlots == 0 {
		return nil
	}
	n, err := vm.Conn.AskU64(GetMaxMemSlots)
	if err == nil && n < uint64(len(vm.RAM.Regions())) {
		err = fmt.Errorf("GET_MAX_MEM_SLOTS: %w: %d", ErrReply, n)
	}
	return err
}

// backendChannel gives the back-end its own channel for requests.
func (vm *VM) backendChannel() error {
	if vm.protocol&PFBackendReq == 0 {
		return nil
	}
	vm.closeBack()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	vm.back = fds
	err = vm.tellSync(SetBackendReqFD, nil, fds[1])
	unix.Close(fds[1])
	vm.back[1] = -1
	return err
}

func (vm *VM) resetDevice() error {
	if vm.protocol&PFResetDevice == 0 {
		return nil
	}
	return vm.Conn.Tell(ResetDevice, nil)
}

// memory tells of the guest's memory: region by region where that was negotiated, and only
// of the new ones; else the whole table.
func (vm *VM) memory() error {
	t := vm.opt.VMM.traits()
	if vm.protocol&PFConfigureMemSlots == 0 || t.memTable {
		return vm.sendMemTable(t.minTable)
	}
	for _, r := range vm.RAM.Regions() {
		if vm.memSent[r] {
			continue
		}
		if err := vm.tellSync(AddMemReg, MemReg(r.MemRegion), r.FD()); err != nil {
			return err
		}
		vm.memSent[r] = true
	}
	return nil
}

func (vm *VM) sendMemTable(minRegions int) error {
	var rs []MemRegion
	var fds []int
	for _, r := range vm.RAM.Regions() {
		rs = append(rs, r.MemRegion)
		fds = append(fds, r.FD())
	}
	b := MemTable(rs...)
	for len(b) < 8+32*minRegions {
		b = append(b, 0)
	}
	return vm.tellSync(SetMemTable, b, fds...)
}

// AddMemory plugs a region of guest memory in while the device runs. New rings and pages come
// out of it first.
func (vm *VM) AddMemory(gpa, size uint64) *Region {
	rs, err := vm.RAM.add([]MemSpec{{GPA: gpa, Size: size}}, !vm.opt.Unsealed)
	if err == nil && vm.protocol&PFConfigureMemSlots == 0 {
		err = vm.sendMemTable(vm.opt.VMM.traits().minTable)
	} else if err == nil {
		vm.memSent[rs[0]] = true
		err = vm.tellSync(AddMemReg, MemReg(rs[0].MemRegion), rs[0].FD())
	}
	if err != nil {
		vm.fail(fmt.Errorf("memory plug: %w", err))
	}
	return rs[0]
}

// RemoveMemory unplugs a region. The driver must use nothing of it any more.
func (vm *VM) RemoveMemory(r *Region) {
	var err error
	if vm.protocol&PFConfigureMemSlots != 0 {
		delete(vm.memSent, r)
		gone := r.MemRegion
		gone.Offset = 0 // QEMU leaves it 0 here
		err = vm.tellSync(RemMemReg, MemReg(gone))
	}
	vm.RAM.remove(r)
	if vm.protocol&PFConfigureMemSlots == 0 {
		err = vm.sendMemTable(vm.opt.VMM.traits().minTable)
	}
	if err != nil {
		vm.fail(fmt.Errorf("memory unplug: %w", err))
	}
}
