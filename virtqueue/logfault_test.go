// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// The file behind the dirty log shrinks: that is reported once, wherever it is noticed, and leaves no
// lock behind: the queue stops, and the memory takes another log.
func TestLogFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		desc    desc // of the request
		logUsed bool
		worker  bool
	}{
		"buffers, on the loop":   {desc{0, 64, wr, 0}, false, false},
		"buffers, in a worker":   {desc{0, 64, wr, 0}, false, true},
		"used ring, on the loop": {desc{0, 64, 0, 0}, true, false},
		"used ring, in a worker": {desc{0, 64, 0, 0}, true, true},
		"all of it, in a worker": {desc{0, 64, wr, 0}, true, true},
		"all of it, on the loop": {desc{0, 64, wr, 0}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newLoopDriver(t, 8, true)
			tc.desc.addr = d.buf(0)
			d.set(0, tc.desc)
			d.ring.LogUsed, d.ring.LogAddr = tc.logUsed, d.ring.Used
			held, faults := make(chan *Chain, 1), make(chan error, 10)
			handle := handlerFunc(func(c *Chain) { c.Done(0) })
			if tc.worker {
				handle = func(c *Chain) { held <- c }
			}
			l := start(t, d, handle, Options{OnFault: func(err error) { faults <- err }})

			log := sparse(t, 1<<20)
			kept, err := unix.Dup(log)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(kept)
			if err := d.mem.SetLog(log, 1<<20, 0); err != nil {
				t.Fatal(err)
			}
			if err := unix.Ftruncate(kept, 0); err != nil {
				t.Fatal(err)
			}
			d.offer(0)
			if tc.worker {
				d.kick()
				c := <-held
				d.mem.EnableLog(true) // now, as the loop's own writes are logged too
				c.Done(0)
			} else {
				d.mem.EnableLog(true)
				d.kick()
			}
			if err := <-faults; !errors.Is(err, guestmem.ErrFault) {
				t.Errorf("%v, want ErrFault", err)
			}
			if base := l.Stop(); base > 1 {
				t.Errorf("base %d", base)
			}
			if len(faults) > 0 {
				t.Errorf("reported again: %v", <-faults)
			}
			if err := d.mem.SetLog(sparse(t, 1<<20), 1<<20, 0); err != nil {
				t.Error(err)
			}
			d.mem.MarkDirty(0, 1)
		})
	}
}
