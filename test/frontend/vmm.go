// SPDX-License-Identifier: Apache-2.0

package frontend

// VMM is a kind of virtual machine monitor: which messages it sends, in which order.
type VMM interface {
	Name() string
	traits() traits
	realize(vm *VM) error // from the connection to where the VMM waits for a driver
	probe(vm *VM) error   // a driver has set the device up: new rings
	start(vm *VM) error   // resume with rings that were stopped
	stop(vm *VM) error    // pause
	reset(vm *VM) error   // the driver has gone
}

// traits are what differs besides the order.
type traits struct {
	protocol   uint64 // protocol features that it acknowledges when offered
	ackFrom    bool   // NEED_REPLY on everything that has no reply of its own
	ackReplies bool   // NEED_REPLY also on messages that have a reply of their own
	ackRings   bool   // NEED_REPLY on ENABLE, KICK, CALL, ERR
	noAck      bool   // never NEED_REPLY
	callSocket bool   // call fds are socket ends
	kickCount  uint   // count of a new kick eventfd
	ramBase    uint64 // guest address of the memory
	userBias   uint64 // VMM address - guest address
	memTable   bool   // SET_MEM_TABLE at start even if memory slots were negotiated
	minTable   int    // least number of regions that a SET_MEM_TABLE has room for
}

// tell sends a message without a reply of its own in the VMM's manner.
func (vm *VM) tell(req Request, payload []byte, fds ...int) error {
	if vm.opt.VMM.traits().ackFrom {
		return vm.Conn.TellAck(req, payload, fds...)
	}
	return vm.Conn.Tell(req, payload, fds...)
}

// tellRing is tell for the messages that newer QEMUs want acknowledged.
func (vm *VM) tellRing(req Request, payload []byte, fds ...int) error {
	if vm.opt.VMM.traits().ackRings {
		return vm.Conn.TellAck(req, payload, fds...)
	}
	return vm.tell(req, payload, fds...)
}

// tellSync is for messages that every VMM wants to be sure of: with an acknowledgement where
// it can have one.
func (vm *VM) tellSync(req Request, payload []byte, fds ...int) error {
	if vm.opt.VMM.traits().noAck {
		return vm.Conn.Tell(req, payload, fds...)
	}
	return vm.Conn.TellAck(req, payload, fds...)
}

// ask is Ask in the VMM's manner: rust-vmm front-ends set NEED_REPLY here too; the reply must
// be one message all the same.
func (c *Conn) ask(vm *VM, req Request, payload []byte) ([]byte, error) {
	flags := FlagVersion
	if vm.opt.VMM.traits().ackReplies && c.replyAck {
		flags |= FlagNeedReply
	}
	if err := c.SendBytes(Frame(req, flags, uint32(len(payload)), payload)); err != nil {
		return nil, err
	}
	return c.Recv(req)
}

// steps runs the steps in order up to the first error.
func steps(fs ...func() error) error {
	for _, f := range fs {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// eachRing makes a step that does the given ones for every ring in turn.
func (vm *VM) eachRing(fs ...func(*vring) error) func() error {
	return func() error {
		for _, r := range vm.rings {
			for _, f := range fs {
				if err := f(r); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func (vm *VM) enable(r *vring) error  { return vm.sendEnable(r, true) }
func (vm *VM) disable(r *vring) error { return vm.sendEnable(r, false) }
