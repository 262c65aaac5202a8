// SPDX-License-Identifier: Apache-2.0

package frontend

import "fmt"

// User-mode Linux's orders, as recorded from virtio_uml.
var (
	// UML72 is user-mode Linux 7.2.
	UML72 VMM = uml{name: "UML 7.2", protocol: PFMQ, minTable: 1}
	// UML61 is user-mode Linux 6.1 and 6.12: its memory table is longer than its one region.
	UML61 VMM = uml{name: "UML 6.1", minTable: 2}
)

type uml struct {
	name     string
	protocol uint64
	minTable int
}

func (u uml) Name() string { return u.name }

func (u uml) traits() traits {
	return traits{
		protocol:   PFReplyAck | PFBackendReq | PFConfig | PFInbandNotify | u.protocol,
		ackFrom:    true,
		callSocket: true,
		// The kernel's own virtual addresses serve as guest addresses; memory starts after
		// its image.
		ramBase:  0x6100_0000,
		minTable: u.minTable,
	}
}

func (u uml) realize(vm *VM) error {
	return steps(vm.setOwner, vm.getFeatures, vm.protocolFeatures, vm.backendChannel, vm.queueNum)
}

// probe reads the tag byte by byte before it sets the rings up.
func (u uml) probe(vm *VM) error {
	return steps(vm.setFeatures, vm.readTag, vm.memory,
		vm.eachRing(vm.sendCall, vm.sendNum, vm.sendBase, vm.sendAddr), vm.eachRing(vm.sendKick, vm.enable))
}

// readTag makes the 37 reads of the configuration space: sizes 1 to 36, then all 40 bytes.
func (vm *VM) readTag() error {
	if vm.protocol&PFConfig == 0 {
		return nil
	}
	for n := uint32(1); n <= 37; n++ {
		size := n
		if n == 37 {
			size = 40
		}
		if _, err := vm.config(0, size); err != nil {
			return err
		}
	}
	return nil
}

// config reads size bytes of the configuration space.
func (vm *VM) config(off, size uint32) ([]byte, error) {
	b, err := vm.Conn.ask(vm, GetConfig, ConfigSpace(off, size, 0, nil))
	if err == nil && len(b) != 12+int(size) {
		err = fmt.Errorf("GET_CONFIG of %d bytes: %w: %d", size, ErrReply, len(b))
	}
	if err != nil {
		return nil, err
	}
	return b[12:], nil
}

// Config is the device's configuration space (virtio 1.2 section 5.11.4): 36 bytes of tag,
// then the number of request queues.
func (vm *VM) Config() []byte {
	b, err := vm.config(0, 40)
	if err != nil {
		vm.fail(err)
	}
	return b
}

// start and stop are what comes nearest to a pause, which user-mode Linux does not have: the
// rings are only switched.
func (u uml) start(vm *VM) error { return vm.eachRing(vm.enable)() }

// stop disables the rings from the last to the first, then asks for the features as a
// barrier. GET_VRING_BASE never comes.
func (u uml) stop(vm *VM) error {
	for i := len(vm.rings) - 1; i >= 0; i-- {
		if err := vm.disable(vm.rings[i]); err != nil {
			return err
		}
	}
	return vm.getFeatures()
}

func (u uml) reset(vm *VM) error { return u.stop(vm) }
