// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// A VMM hands over files without end that are as large as can be and hold nothing: what it wants is the
// address space of the process, which has one for all of its shares.
func TestAddressSpaceHoard(t *testing.T) {
	huge, err := frontend.Memfd("huge", 1<<47, false)
	if err != nil {
		t.Fatal(err)
	}
	defer huge.Close()
	assault(t, func(t *testing.T, d *daemon, sock string) {
		v := readyVillain(t, sock)
		defer v.leave()
		at := uint64(1 << 40)
		for size := uint64(1 << 46); size >= 1<<26; size /= 2 {
			for range 20 {
				v.say(frontend.AddMemReg, frontend.MemReg(frontend.MemRegion{GPA: at, Size: size, UserAddr: at}), int(huge.Fd()))
				at += size
			}
		}
		d.alive()
		if size := d.virtualSize(); size > 96<<40 {
			t.Errorf("the daemon has %d TiB mapped", size>>40)
		}
		v.say(frontend.SetLogBase, append(frontend.U64(1<<46), frontend.U64(0)...), int(huge.Fd()))
	})
}

// The same with mappings, of which a process may have 65,530 (vm.max_map_count): memory is given anew
// again and again while requests wait, each of which keeps the memory that it came with.
func TestMappingHoard(t *testing.T) {
	assault(t, func(t *testing.T, d *daemon, sock string) {
		vm, g := guestOn(t, sock, frontend.Options{Queues: 64, RingSize: 16})
		defer vm.Close()
		f, errno := g.Create(frontend.RootID, "locked", unix.O_RDWR, 0o600, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		lock := func(op frontend.Opcode, owner uint64) frontend.Message {
			return frontend.Message{Op: op, Node: f.NodeId, Args: words(f.Fh, owner, 0, 1<<40, uint64(unix.F_WRLCK)|1<<32, 0)}
		}
		if _, errno, err := g.Send(lock(frontend.OpSetlk, 1)).Reply(); errno != 0 || err != nil {
			t.Fatalf("SETLK: %v, %v", errno, err)
		}
		small, err := frontend.Memfd("small", frontend.PageSize, false)
		if err != nil {
			t.Fatal(err)
		}
		defer small.Close()
		before := d.usage().mappings
		for i := range 5 {
			g.On(i % 64).Send(lock(frontend.OpSetlkw, uint64(2+i)))
			for n := range uint64(510) {
				at := uint64(1)<<40 + n*frontend.PageSize
				r := frontend.MemRegion{GPA: at, Size: frontend.PageSize, UserAddr: at}
				if err := vm.Conn.Tell(frontend.AddMemReg, frontend.MemReg(r), int(small.Fd())); err != nil {
					d.alive()
					t.Fatal(err)
				}
			}
		}
		if err := vm.Conn.Alive(); err != nil {
			d.alive()
			t.Fatal(err)
		}
		if n := d.usage().mappings - before; n < 510 || n > 3000 {
			t.Errorf("%d mappings more, want what one VM may have", n)
		}
	}, "--posix-lock")
}
