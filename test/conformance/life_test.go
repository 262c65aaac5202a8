// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// vmms are all orders of messages.
var vmms = []frontend.VMM{frontend.QEMU11, frontend.QEMU72, frontend.UML72, frontend.UML61, frontend.CloudHypervisor, frontend.Crosvm, frontend.Libkrun}

// A VM's life in the order of each VMM: boot, use, pause, resume, reboot, use, off.
func TestOrders(t *testing.T) {
	for _, vmm := range vmms {
		t.Run(vmm.Name(), func(t *testing.T) {
			g := newGuest(t, frontend.Options{VMM: vmm, Queues: 3})
			node, fh := g.create("f")
			for round := range 3 {
				data := []byte(fmt.Sprint("round ", round))
				_, errno := g.Write(node, fh, 0, data)
				ok(t, "WRITE", errno)
				g.vm.Stop()
				g.vm.Cont()
				got := make([]byte, 100)
				for q := range 3 {
					n, errno := g.On(q).Read(node, fh, 0, got)
					ok(t, "READ", errno)
					if !bytes.Equal(got[:n], data) {
						t.Errorf("READ after a pause: %q, want %q", got[:n], data)
					}
				}
			}
			if vmm == frontend.Libkrun {
				return // it cannot reboot
			}
			g.vm.Reset()
			g.boot()
			want(t, "GETATTR of a node from before the reboot", second(g.GetAttr(node)), syscall.ESTALE)
			if got := read(t, g.path("f")); got != "round 2" {
				t.Errorf("the file holds %q", got)
			}
			g.alive()
		})
	}
}

// VMMs that read the configuration space see tag and number of queues.
func TestConfigSpace(t *testing.T) {
	for _, vmm := range []frontend.VMM{frontend.UML72, frontend.Crosvm, frontend.Libkrun} {
		g := newGuest(t, frontend.Options{VMM: vmm})
		wanted := append(append([]byte("conformance"), make([]byte, 36-11)...), 4, 0, 0, 0)
		if got := g.vm.Config(); !bytes.Equal(got, wanted) {
			t.Errorf("%s: %q, want %q", vmm.Name(), got, wanted)
		}
	}
}

// Unplugged and plugged in again on one connection, as QEMU does.
func TestReplug(t *testing.T) {
	for _, vmm := range []frontend.VMM{frontend.QEMU11, frontend.QEMU72} {
		t.Run(vmm.Name(), func(t *testing.T) {
			g := newGuest(t, frontend.Options{VMM: vmm})
			for i := range 3 {
				g.create(fmt.Sprint("f", i))
				g.vm.Replug()
				g.boot()
				g.lookup(root, fmt.Sprint("f", i))
			}
		})
	}
}

// newSlowGuest is a guest on a file system that waits.
func newSlowGuest(t *testing.T, o frontend.Options) (*guest, *slowFS) {
	t.Helper()
	checkLeaks(t)
	slow := newSlowFS()
	g := attach(t, slow, o)
	t.Cleanup(slow.release) // runs before the power goes off
	return g, slow
}

// fsyncs sends n FSYNCs that will wait in the file system.
func fsyncs(c *frontend.Client, n int) []*frontend.Pending {
	var ps []*frontend.Pending
	for range n {
		ps = append(ps, c.Send(frontend.Message{Op: frontend.OpFsync, Node: root, Args: make([]byte, 16)}))
	}
	return ps
}

// A pause waits for what is in flight; what is in flight stands in nobody's way before.
func TestStopWaitsForRequestsInFlight(t *testing.T) {
	for _, vmm := range []frontend.VMM{frontend.QEMU11, frontend.QEMU72, frontend.UML72, frontend.Crosvm} {
		t.Run(vmm.Name(), func(t *testing.T) {
			g, slow := newSlowGuest(t, frontend.Options{VMM: vmm})
			pending := fsyncs(g.Client, 5)
			slow.waitEntered(t, 5)
			for range 100 {
				_, errno := g.GetAttr(root)
				ok(t, "GETATTR beside slow requests", errno)
			}
			stopped := make(chan bool)
			go func() {
				g.vm.Stop() // also checks that nothing is left in flight
				stopped <- slow.released.Load()
			}()
			// A daemon that does not wait has this long to show it; one that does never fails.
			time.Sleep(50 * time.Millisecond)
			slow.release()
			if early := !<-stopped; early {
				t.Error("the ring was stopped before its requests were done")
			}
			q := g.Client.Queue()
			if q.UsedIdx() != q.AvailIdx() {
				t.Errorf("stopped with used index %d, available index %d", q.UsedIdx(), q.AvailIdx())
			}
			g.vm.Cont()
			replies(t, pending, 0)
			_, errno := g.GetAttr(root)
			ok(t, "GETATTR after a pause", errno)
		})
	}
}

// replies takes the replies of FSYNCs. On a machine that stands still for seconds they may have
// been interrupted.
func replies(t *testing.T, pending []*frontend.Pending, wanted syscall.Errno) {
	t.Helper()
	for _, p := range pending {
		if _, errno, err := p.Reply(); errno != wanted && errno != syscall.EINTR || err != nil {
			t.Errorf("FSYNC over a pause: %v, %v", errno, err)
		}
		p.Free()
	}
}

// A pause does not wait for ever: what does not end by itself is interrupted.
func TestStopInterruptsWhatDoesNotEnd(t *testing.T) {
	g, slow := newSlowGuest(t, frontend.Options{})
	pending := fsyncs(g.Client, 5)
	slow.waitEntered(t, 5)
	g.vm.Stop()
	g.vm.Cont()
	replies(t, pending, syscall.EINTR)
	_, errno := g.GetAttr(root)
	ok(t, "GETATTR after a pause", errno)
}

// The VM goes away with requests in the file system: these are cancelled.
func TestPowerOffInFlight(t *testing.T) {
	g, slow := newSlowGuest(t, frontend.Options{Queues: 2})
	fsyncs(g.Client, 10)
	fsyncs(g.On(1), 10)
	slow.waitEntered(t, 20)
	g.powerOff() // waits for the daemon; the file system still holds the requests
	if slow.released.Load() {
		t.Error("the file system was released too early")
	}
}

// Memory is plugged in and out while requests are in flight; rings and buffers in the new
// memory work; the old memory is let go only when nobody is in it.
func TestMemoryHotplug(t *testing.T) {
	for _, vmm := range []frontend.VMM{frontend.QEMU11, frontend.UML72} {
		t.Run(vmm.Name(), func(t *testing.T) {
			g, slow := newSlowGuest(t, frontend.Options{VMM: vmm, Queues: 2})
			in := frontend.ReadMessage(root, 0, 0, 10*frontend.PageSize)
			p := g.Send(in)
			slow.waitEntered(t, 1)
			added := g.vm.AddMemory(1<<32, 16<<20)
			c := g.On(1)
			for range 10 {
				_, errno := c.GetAttr(root)
				ok(t, "GETATTR with buffers in the new memory", errno)
			}
			slow.release()
			n, errno, err := p.Reply()
			if n != 10*frontend.PageSize || errno != 0 || err != nil {
				t.Fatalf("READ over a memory plug: %d bytes, %v, %v", n, errno, err)
			}
			got := make([]byte, n)
			p.Read(got, 16)
			if !bytes.Equal(got, bytes.Repeat([]byte("r"), n)) {
				t.Error("READ over a memory plug: other bytes")
			}
			p.Free()
			// New rings lie in the new memory.
			g.vm.Reset()
			g.boot()
			_, errno = g.GetAttr(root)
			ok(t, "GETATTR over rings in the new memory", errno)
			g.vm.Reset()
			g.vm.RemoveMemory(added)
			g.boot()
			_, errno = g.GetAttr(root)
			ok(t, "GETATTR after the new memory has gone", errno)
		})
	}
}

// A VMM takes memory away that requests are still using: they finish in memory that nobody
// sees any more, and the daemon lives.
func TestMemoryGoesInFlight(t *testing.T) {
	g, slow := newSlowGuest(t, frontend.Options{Queues: 2})
	first := g.vm.RAM.Regions()[0]
	p := g.Send(frontend.ReadMessage(root, 0, 0, 10*frontend.PageSize))
	slow.waitEntered(t, 1)
	if err := g.vm.Conn.TellAck(frontend.RemMemReg, frontend.MemReg(first.MemRegion)); err != nil {
		t.Fatal(err)
	}
	slow.release()
	if err := g.vm.Conn.Alive(); err != nil {
		t.Fatal(err)
	}
	_ = p
	if err := g.vm.Conn.TellAck(frontend.AddMemReg, frontend.MemReg(first.MemRegion), first.FD()); err != nil {
		t.Fatal(err)
	}
	g.vm.Reset()
	g.boot()
	_, errno := g.GetAttr(root)
	ok(t, "GETATTR after the memory came back", errno)
}

// The call eventfd is replaced under load; no completion is lost.
func TestReplaceCall(t *testing.T) {
	g := newGuest(t, frontend.Options{})
	for range 200 {
		p := g.Send(frontend.Message{Op: frontend.OpGetattr, Node: root, Args: make([]byte, 16), Out: 104})
		g.vm.ReplaceCall(1)
		if _, errno, err := p.Reply(); errno != 0 || err != nil {
			t.Fatalf("GETATTR: %v, %v", errno, err)
		}
		p.Free()
	}
}

// A full ring of requests on every queue at once.
func TestManyQueues(t *testing.T) {
	const queues = 64
	g := newGuest(t, frontend.Options{Queues: queues, Memory: []frontend.MemSpec{{Size: 256 << 20}}})
	node, fh := g.create("f")
	data := pattern(8*frontend.PageSize, 1)
	_, errno := g.Write(node, fh, 0, data)
	ok(t, "WRITE", errno)
	errs := make(chan error, queues)
	for q := range queues {
		go func() { errs <- hammer(g.On(q), node, fh, data) }()
	}
	for range queues {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func hammer(c *frontend.Client, node, fh uint64, data []byte) error {
	for range 5 {
		var ps []*frontend.Pending
		for range 100 {
			ps = append(ps, c.Add(frontend.ReadMessage(node, fh, 0, len(data))))
		}
		c.Queue().Kick()
		got := make([]byte, len(data))
		for _, p := range ps {
			n, errno, err := p.Reply()
			if err != nil || errno != 0 || n != len(data) {
				return fmt.Errorf("queue %d: READ: %d bytes, %v, %v", c.Queue().Index(), n, errno, err)
			}
			if p.Read(got, 16); !bytes.Equal(got, data) {
				return fmt.Errorf("queue %d: READ: other bytes", c.Queue().Index())
			}
			p.Free()
		}
	}
	return nil
}
