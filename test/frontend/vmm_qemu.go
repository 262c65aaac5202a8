// SPDX-License-Identifier: Apache-2.0

package frontend

// QEMU's orders, as recorded from vhost-user-fs-pci.
var (
	// QEMU11 is QEMU 11: RESET_DEVICE, acknowledged ring messages.
	QEMU11 VMM = qemu{name: "QEMU 11", newer: true}
	// QEMU72 is QEMU 7.2: never RESET_DEVICE for virtio-fs though it takes the feature.
	QEMU72 VMM = qemu{name: "QEMU 7.2"}
)

type qemu struct {
	name  string
	newer bool
}

func (q qemu) Name() string { return q.name }

func (q qemu) traits() traits {
	t := traits{
		// QEMU takes every bit that it knows, except CONFIG for vhost-user-fs.
		protocol: 0x1fdff,
		// A new kick eventfd is readable from the start.
		kickCount: 2,
		userBias:  0x7f00_0000_0000,
		ackRings:  q.newer,
	}
	if q.newer {
		t.protocol = 0x6ffdff
	}
	return t
}

func (q qemu) realize(vm *VM) error {
	return steps(vm.getFeatures, vm.protocolFeatures, vm.queueNum, vm.maxMemSlots, vm.backendChannel,
		vm.setOwner, vm.getFeatures, vm.eachRing(vm.sendCall, vm.sendErr), q.resetDevice(vm))
}

func (q qemu) resetDevice(vm *VM) func() error {
	if !q.newer {
		return func() error { return nil }
	}
	return vm.resetDevice
}

func (q qemu) probe(vm *VM) error {
	return steps(q.resetDevice(vm), vm.eachRing(vm.sendCall), func() error { return q.start(vm) })
}

func (q qemu) start(vm *VM) error {
	return steps(vm.setFeatures, vm.memory, vm.eachRing(vm.sendNum, vm.sendBase, vm.sendAddr, vm.sendKick),
		vm.eachRing(vm.enable), vm.eachRing(vm.sendCall))
}

func (q qemu) stop(vm *VM) error {
	return steps(vm.eachRing(vm.disable), vm.eachRing(vm.askBase), vm.eachRing(vm.sendCall))
}

// reset is a reboot: the second RESET_DEVICE comes from the reset itself.
func (q qemu) reset(vm *VM) error {
	return steps(func() error { return q.stop(vm) }, q.resetDevice(vm), q.resetDevice(vm))
}
