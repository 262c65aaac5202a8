// SPDX-License-Identifier: Apache-2.0

package inodes

import "sync"

// attic remembers files that the guest has forgotten, the last ones up to a limit, so that a file
// handle that a program of the guest's took in time still means something (Linux
// fs/fuse/inode.c, fuse_get_dentry, asks by the node id in it). They have no fd: what lies there
// keeps no removed file's space.
type attic struct {
	mu   sync.Mutex
	ring []ID // nil: nothing is kept
	at   int  // the oldest entry, or an empty place
}

// put enters id and returns the oldest id if there is no room for both, else 0.
func (a *attic) put(id ID) (oldest ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.ring) == 0 {
		return id // the limit has changed meanwhile
	}
	oldest, a.ring[a.at] = a.ring[a.at], id
	a.at = (a.at + 1) % len(a.ring)
	return oldest
}

// Keep has the table remember the last n files that were forgotten, from now on; those that it
// remembers now are forgotten. Recall finds them, and Insert gives them their old ids.
func (t *Table) Keep(n int) {
	t.attic.mu.Lock()
	old := t.attic.ring
	t.attic.ring, t.attic.at = make([]ID, n), 0
	t.attic.mu.Unlock()
	t.keeps.Store(n > 0)
	for _, id := range old {
		t.discard(id)
	}
}

// Recall is Get, also for files that are remembered after they were forgotten.
func (t *Table) Recall(id ID) (Node, error) {
	n, opened, err := t.get(id, 0)
	if opened {
		t.shrink()
	}
	return n, err
}

// store gives up the fd of a pinned record that the guest has forgotten, and remembers the
// record. A file that ends with its last fd, or is in use, is not remembered.
func (t *Table) store(slot uint32) {
	r := &t.records[slot]
	cold := r.ctl.Load()&bitFD == 0
	if !cold {
		r.ctl.And(^uint64(bitUsed))
		cold = t.evict(slot)
	}
	s, _ := t.shardOf(slot)
	s.mu.Lock()
	fresh := false // not in the ring yet
	switch {
	case r.nlookup != 0 || r.ctl.Load()&bitLive == 0: // looked up again, or reset
	case !cold:
		r.kept = false // from an earlier time
	default:
		fresh, r.kept = !r.kept, true
		r.ctl.Or(bitGone)
		r.ctl.And(^uint64(Refused)) // Opened stays, as somebody may be opening the file right now
	}
	s.mu.Unlock()
	if fresh {
		t.discard(t.attic.put(r.id(slot)))
	}
}

// discard forgets a file that was remembered; 0 and ids that mean nothing any more are ignored.
func (t *Table) discard(id ID) {
	if id == 0 || !t.pin(id) {
		return
	}
	slot := id.slot()
	s, _ := t.shardOf(slot)
	s.mu.Lock()
	t.records[slot].kept = false
	t.settle(s, slot)
	s.mu.Unlock()
	t.unpin(slot)
}
