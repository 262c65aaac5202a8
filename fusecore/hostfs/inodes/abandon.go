// SPDX-License-Identifier: Apache-2.0

package inodes

import "golang.org/x/sys/unix"

// A host that replaces a file all the time leaves a guest that looks at it with ever more files that are gone,
// and whose fds are the last way to them. What of them the guest has only looked at is no loss: it gets
// ESTALE for them, and Linux looks the name up again. Files that it has opened may be in use.

// room gives fds up when there are as many as there may be, and tells whether there is room for another.
func (t *Table) room() bool {
	return !t.clock.full() || t.Relieve(relief) > 0 || t.abandon(relief) > 0
}

// abandon gives up to n fds up of files that cannot be opened again, are no directories and were never opened.
func (t *Table) abandon(n int) (freed int) {
	top := t.slots.high()
	for range top {
		slot := t.hand.Add(1) % top
		r := &t.records[slot]
		if c := r.ctl.Load(); slot <= uint32(Root) || c&bitFD == 0 || Marks(c)&Opened != 0 || !t.pin(r.id(slot)) {
			continue
		}
		if fd := t.cutOff(slot); fd >= 0 {
			t.host.Close(fd)
			freed++
		}
		t.unpin(slot)
		if freed == n {
			break
		}
	}
	return freed
}

// cutOff takes the fd away from a record that the caller alone has pinned, if it cannot be opened again. No lookup
// finds the record any more. It returns the fd, or -1.
func (t *Table) cutOff(slot uint32) int {
	r := &t.records[slot]
	s, h := t.shardOf(slot)
	s.mu.Lock()
	defer s.mu.Unlock()
	v := r.ctl.Load()
	if !r.stuck || r.typ == unix.S_IFDIR || v&pinMask != 1 || Marks(v)&Opened != 0 || !r.ctl.CompareAndSwap(v, v&^uint64(bitFD)) {
		return -1
	}
	t.clock.remove(slot)
	r.stuck = false
	if r.hashed {
		s.remove(h, slot)
		r.hashed = false
	}
	return int(r.fd)
}
