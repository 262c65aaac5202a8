// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what VM to play. The zero value is QEMU 11 with 64 MiB of memory, one request
// queue of 128 entries and a driver like Linux's.
type Options struct {
	// VMM fixes the order of the messages. nil: QEMU11.
	VMM VMM
	// Memory is the guest's memory at start. nil: one region of 64 MiB where the VMM puts it.
	Memory []MemSpec
	// Unsealed leaves the memory's file open for shrinking.
	Unsealed bool
	// Queues is the number of request queues. 0: 1.
	Queues int
	// RingSize is the number of entries of each ring, a power of two. 0: 128.
	RingSize uint16
	// Decline are feature bits that the driver does not take though they are offered.
	Decline uint64
	// Direct makes chains without indirect tables even if these were negotiated.
	Direct bool
	// Timeout is how long to wait for a reply or a completion. 0: 10 s.
	Timeout time.Duration
	// Fail is told when the back-end broke the protocol; it must not return (testing.TB's
	// Fatal will do). nil: panic.
	Fail func(error)
}

func (o Options) withDefaults() Options {
	if o.VMM == nil {
		o.VMM = QEMU11
	}
	if o.Memory == nil {
		o.Memory = []MemSpec{{GPA: o.VMM.traits().ramBase, Size: 64 << 20}}
	}
	if o.Queues == 0 {
		o.Queues = 1
	}
	if o.RingSize == 0 {
		o.RingSize = 128
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return o
}

// VM is the VMM's side of a guest. Its methods are for one goroutine; the Queues and Clients
// that it hands out each have their own.
type VM struct {
	Conn *Conn
	RAM  *RAM

	opt       Options
	offered   uint64 // feature bits of the back-end
	protocol  uint64 // protocol features acknowledged
	rings     []*vring
	memSent   map[*Region]bool // regions that the back-end was told of one by one
	back      [2]int           // back-end channel: ours, theirs until it was sent; -1: none
	log       *dirtyLog
	driver    *Driver
	ownerSent bool
}

// Connect connects to the socket and makes the handshake up to where a VMM waits for its
// guest's driver.
func Connect(path string, o Options) (*VM, error) {
	o = o.withDefaults()
	c, err := Dial(path, o.Timeout)
	if err != nil {
		return nil, err
	}
	return newVM(c, o)
}

// New is Connect over a connected socket, which it takes over, also on error.
func New(fd int, o Options) (*VM, error) {
	o = o.withDefaults()
	c, err := NewConn(fd, o.Timeout)
	if err != nil {
		return nil, err
	}
	return newVM(c, o)
}

func newVM(c *Conn, o Options) (*VM, error) {
	ram, err := newRAM(o.Memory, o.VMM.traits().userBias, !o.Unsealed)
	if err != nil {
		c.Close()
		return nil, err
	}
	vm := &VM{Conn: c, RAM: ram, opt: o, memSent: map[*Region]bool{}, back: [2]int{-1, -1}}
	for i := range o.Queues + 1 {
		r, err := newVring(i, o.VMM.traits())
		if err != nil {
			vm.Close()
			return nil, err
		}
		vm.rings = append(vm.rings, r)
	}
	if err := o.VMM.realize(vm); err != nil {
		vm.Close()
		return nil, fmt.Errorf("%s: handshake: %w", o.VMM.Name(), err)
	}
	return vm, nil
}

// Close is the VM's sudden end: every fd goes, nothing is said. Queues must be idle.
func (vm *VM) Close() {
	vm.Conn.Close()
	vm.closeBack()
	for _, r := range vm.rings {
		r.close()
	}
	if vm.log != nil {
		vm.log.close()
	}
	vm.RAM.Close()
}

// Features are the feature bits that the driver takes: all that are offered and that Linux's
// virtio-fs knows, less Options.Decline.
func (vm *VM) Features() uint64 {
	const known = FeatureIndirect | FeatureEventIdx | FeatureProtocolFeatures | FeatureVersion1
	return vm.offered & known &^ vm.opt.Decline
}

// Offered are all feature bits of the back-end, Protocol the acknowledged protocol features.
func (vm *VM) Offered() uint64 { return vm.offered }

// Protocol are the acknowledged protocol features.
func (vm *VM) Protocol() uint64 { return vm.protocol }

// Start is a driver's probe: new rings, features, memory, rings started. It returns the
// driver, which replaces an earlier one.
func (vm *VM) Start() *Driver {
	for _, r := range vm.rings {
		r.layOut(vm.RAM, vm.opt.RingSize)
	}
	if err := vm.opt.VMM.probe(vm); err != nil {
		vm.fail(fmt.Errorf("start: %w", err))
	}
	vm.driver = newDriver(vm)
	return vm.driver
}

// Stop halts the device as the VMM does when the VM is paused; the rings keep their place.
// What the driver had sent is then either completed or still in the ring.
func (vm *VM) Stop() {
	if err := vm.opt.VMM.stop(vm); err != nil {
		vm.fail(fmt.Errorf("stop: %w", err))
	}
	if vm.driver != nil {
		vm.checkDrained()
	}
}

// Cont resumes after Stop.
func (vm *VM) Cont() {
	if err := vm.opt.VMM.start(vm); err != nil {
		vm.fail(fmt.Errorf("cont: %w", err))
	}
}

// Reset is a reboot or an unbound driver: the device is stopped and put back. Start is next.
func (vm *VM) Reset() {
	if err := vm.opt.VMM.reset(vm); err != nil {
		vm.fail(fmt.Errorf("reset: %w", err))
	}
	vm.driver = nil
}

// Replug unplugs the device and plugs a new one on the same connection, as QEMU does with
// device_del and device_add on one chardev. Start is next.
func (vm *VM) Replug() {
	vm.Reset()
	vm.closeBack()
	for i, r := range vm.rings {
		r.close()
		n, err := newVring(i, vm.opt.VMM.traits())
		if err != nil {
			vm.fail(err)
		}
		vm.rings[i] = n
	}
	clear(vm.memSent)
	vm.ownerSent = false
	if err := vm.opt.VMM.realize(vm); err != nil {
		vm.fail(fmt.Errorf("replug: %w", err))
	}
}

func (vm *VM) closeBack() {
	for i, fd := range vm.back {
		if fd >= 0 {
			unix.Close(fd)
		}
		vm.back[i] = -1
	}
}

// checkDrained holds a stopped ring against what the back-end said: the used index has come
// up to the base, so nothing is in flight.
func (vm *VM) checkDrained() {
	for _, q := range vm.driver.queues {
		r := vm.rings[q.index]
		if used := q.UsedIdx(); r.stopped && used != r.base {
			vm.fail(fmt.Errorf("ring %d stopped at %d with used index %d: requests were left in flight", q.index, r.base, used))
		}
	}
}

func (vm *VM) fail(err error) {
	if vm.opt.Fail != nil {
		vm.opt.Fail(err)
	}
	panic(err)
}
