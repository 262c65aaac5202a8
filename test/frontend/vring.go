// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// vring is a ring as the VMM knows it: where it lies, its fds, its base.
type vring struct {
	index             int
	size              uint16
	desc, avail, used uint64 // guest addresses
	base              uint16
	stopped           bool
	kick              int    // eventfd
	call              [2]int // read and write end; the same eventfd, or a socket pair
	err               int    // eventfd
}

func newVring(index int, t traits) (*vring, error) {
	r := &vring{index: index, kick: -1, call: [2]int{-1, -1}, err: -1}
	var err error
	if r.kick, err = eventfd(t.kickCount); err != nil {
		return nil, err
	}
	if r.err, err = eventfd(0); err == nil {
		err = r.newCall(t.callSocket)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func eventfd(count uint) (int, error) {
	fd, err := unix.Eventfd(count, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return fd, os.NewSyscallError("eventfd", err)
}

// newCall replaces the call fd. User-mode Linux gives the end of a socket pair.
func (r *vring) newCall(socket bool) error {
	var fds [2]int
	var err error
	if socket {
		fds, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		err = os.NewSyscallError("socketpair", err)
	} else {
		fds[0], err = eventfd(0)
		fds[1] = fds[0]
	}
	if err == nil {
		r.closeCall()
		r.call = fds
	}
	return err
}

func (r *vring) closeCall() {
	if r.call[1] >= 0 && r.call[1] != r.call[0] {
		unix.Close(r.call[1])
	}
	if r.call[0] >= 0 {
		unix.Close(r.call[0])
	}
	r.call = [2]int{-1, -1}
}

func (r *vring) close() {
	r.closeCall()
	for _, fd := range []*int{&r.kick, &r.err} {
		if *fd >= 0 {
			unix.Close(*fd)
		}
		*fd = -1
	}
}

// layOut gives the ring fresh memory as Linux's vring_init does: the used ring starts on the
// next cache line after the available ring.
func (r *vring) layOut(ram *RAM, size uint16) {
	n := uint64(size)
	availOff := 16 * n
	usedOff := (availOff + 6 + 2*n + 63) &^ 63
	r.size, r.base, r.stopped = size, 0, false
	r.desc = ram.Run(usedOff + 6 + 8*n)
	r.avail = r.desc + availOff
	r.used = r.desc + usedOff
	clear(ram.Slice(r.desc, usedOff+6+8*n))
}

// The messages about one ring, each by its own name so that the orders read like transcripts.

func (vm *VM) sendNum(r *vring) error {
	return vm.tell(SetVringNum, VringState(uint32(r.index), uint32(r.size)))
}

func (vm *VM) sendBase(r *vring) error {
	return vm.tell(SetVringBase, VringState(uint32(r.index), uint32(r.base)))
}

func (vm *VM) vringAddr(r *vring) VringAddr {
	bias := vm.RAM.bias
	a := VringAddr{Index: uint32(r.index), Desc: r.desc + bias, Used: r.used + bias, Avail: r.avail + bias, Log: r.used}
	if vm.log != nil {
		a.Flags = VringLog
	}
	return a
}

func (vm *VM) sendAddr(r *vring) error {
	return vm.tell(SetVringAddr, vm.vringAddr(r).Bytes())
}

func (vm *VM) sendKick(r *vring) error {
	return vm.tellRing(SetVringKick, U64(uint64(r.index)), r.kick)
}

func (vm *VM) sendCall(r *vring) error {
	return vm.tellRing(SetVringCall, U64(uint64(r.index)), r.call[1])
}

func (vm *VM) sendErr(r *vring) error {
	return vm.tellRing(SetVringErr, U64(uint64(r.index)), r.err)
}

func (vm *VM) sendEnable(r *vring, on bool) error {
	num := uint32(0)
	if on {
		num = 1
	}
	return vm.tellRing(SetVringEnable, VringState(uint32(r.index), num))
}

// askBase stops the ring and takes over where it stands.
func (vm *VM) askBase(r *vring) error {
	b, err := vm.Conn.ask(vm, GetVringBase, VringState(uint32(r.index), 0))
	if err != nil {
		return err
	}
	if len(b) != 8 || binary.NativeEndian.Uint32(b) != uint32(r.index) {
		return fmt.Errorf("GET_VRING_BASE of ring %d: %w: %x", r.index, ErrReply, b)
	}
	r.base = uint16(binary.NativeEndian.Uint32(b[4:]))
	r.stopped = true
	return nil
}

// ReplaceCall gives the back-end a new call fd for a ring, as a VMM does when the guest masks
// or unmasks an interrupt. The old fd's pending signals are lost; the guest is signalled once
// instead, as KVM's irqfd set-up does.
func (vm *VM) ReplaceCall(ring int) {
	r := vm.rings[ring]
	old := r.call
	r.call = [2]int{-1, -1}
	err := r.newCall(vm.opt.VMM.traits().callSocket)
	if err == nil {
		err = vm.sendCall(r)
	}
	if err == nil {
		err = vm.Conn.Alive()
	}
	(&vring{call: old, kick: -1, err: -1}).closeCall()
	if err != nil {
		vm.fail(fmt.Errorf("new call fd: %w", err))
	}
	signal(r.call[1])
}

// ErrSignals is how often the back-end has reported an error of the ring since the last call.
func (vm *VM) ErrSignals(ring int) uint64 {
	var b [8]byte
	if n, _ := unix.Read(vm.rings[ring].err, b[:]); n != 8 {
		return 0
	}
	return binary.NativeEndian.Uint64(b[:])
}

// signal adds one to an eventfd, or writes the same 8 bytes to a socket.
func signal(fd int) {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], 1)
	for {
		if _, err := unix.Write(fd, b[:]); err != unix.EINTR {
			return
		}
	}
}
