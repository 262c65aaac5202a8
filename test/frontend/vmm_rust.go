// SPDX-License-Identifier: Apache-2.0

package frontend

// The Rust VMMs, after their sources (not recorded).
var (
	// CloudHypervisor is cloud-hypervisor of 2026: vhost_user/{mod,fs,vu_common_ctrl}.rs.
	CloudHypervisor VMM = cloudHypervisor{}
	// Crosvm is crosvm of 2026: devices/src/virtio/vhost_user_frontend.
	Crosvm VMM = crosvm{}
	// Libkrun is libkrun of 2026: src/devices/src/virtio/vhost_user/device.rs.
	Libkrun VMM = libkrun{}
)

// rustBias stands for the addresses at which those VMMs map guest memory.
const rustBias = 0x7e00_0000_0000

type cloudHypervisor struct{}

func (cloudHypervisor) Name() string { return "cloud-hypervisor" }

func (cloudHypervisor) traits() traits {
	return traits{
		protocol: PFMQ | PFConfigureMemSlots | PFReplyAck | PFInflightShmFD | PFLogShmFD | PFDeviceState,
		ackFrom:  true, ackReplies: true, memTable: true, userBias: rustBias,
	}
}

func (cloudHypervisor) realize(vm *VM) error {
	return steps(vm.setOwner, vm.getFeatures, vm.protocolFeatures, vm.queueNum)
}

// probe sends the base after the addresses.
func (cloudHypervisor) probe(vm *VM) error {
	return steps(vm.setFeatures, vm.memory, vm.eachRing(vm.sendNum),
		vm.eachRing(vm.sendAddr, vm.sendBase, vm.sendCall, vm.sendKick), vm.eachRing(vm.enable))
}

// start and stop, a pause, only switch the rings.
func (cloudHypervisor) start(vm *VM) error { return vm.eachRing(vm.enable)() }
func (cloudHypervisor) stop(vm *VM) error  { return vm.eachRing(vm.disable)() }

func (cloudHypervisor) reset(vm *VM) error { return vm.eachRing(vm.disable, vm.askBase)() }

type crosvm struct{}

func (crosvm) Name() string { return "crosvm" }

func (crosvm) traits() traits {
	return traits{
		protocol: PFConfig | PFMQ | PFBackendReq | PFDeviceState | PFShmem | PFReplyAck,
		noAck:    true, userBias: rustBias,
	}
}

func (crosvm) realize(vm *VM) error {
	return steps(vm.setOwner, vm.getFeatures, vm.protocolFeatures, vm.backendChannel, vm.queueNum)
}

func (c crosvm) probe(vm *VM) error {
	return steps(vm.setFeatures, func() error { return c.start(vm) })
}

func (crosvm) start(vm *VM) error {
	return steps(vm.memory, vm.eachRing(vm.sendNum, vm.sendAddr, vm.sendBase, vm.sendCall, vm.sendKick, vm.enable))
}

func (crosvm) stop(vm *VM) error    { return vm.eachRing(vm.disable, vm.askBase)() }
func (c crosvm) reset(vm *VM) error { return c.stop(vm) }

type libkrun struct{}

func (libkrun) Name() string { return "libkrun" }

func (libkrun) traits() traits {
	return traits{protocol: PFConfig | PFMQ, noAck: true, userBias: rustBias}
}

func (libkrun) realize(vm *VM) error {
	return steps(vm.getFeatures, vm.protocolFeatures, vm.queueNum)
}

// probe sends the owner only now, and the memory before the features.
func (l libkrun) probe(vm *VM) error {
	owner := vm.setOwner
	if vm.ownerSent {
		owner = func() error { return nil }
	}
	vm.ownerSent = true
	return steps(owner, vm.memory, vm.setFeatures,
		vm.eachRing(vm.sendNum, vm.sendBase, vm.sendAddr, vm.sendKick, vm.sendCall, vm.enable))
}

// libkrun neither stops nor resets; these are what its users do to it: nothing.
func (libkrun) start(*VM) error { return nil }
func (libkrun) stop(*VM) error  { return nil }
func (libkrun) reset(*VM) error { return nil }
