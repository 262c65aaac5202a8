// SPDX-License-Identifier: Apache-2.0

package inodes

// Marks are what the table's user keeps with a file. A mark that was set stays until the guest has
// forgotten the file.
type Marks uint64

const (
	// Opened: the file was opened through the page cache. Host.Unpin is told when its fd goes.
	Opened Marks = 1 << 26
	// Refused: the host has refused bytes that the guest may hold in its own page cache.
	Refused Marks = 1 << 27
)

const allMarks = Opened | Refused

// Mark sets marks of the file of id. False: id means no file.
func (t *Table) Mark(id ID, m Marks) bool {
	if !t.pin(id) {
		return false
	}
	t.records[id.slot()].ctl.Or(uint64(m & allMarks))
	t.unpin(id.slot())
	return true
}

// Marks returns the marks of the file of id: none if id means no file.
func (t *Table) Marks(id ID) Marks {
	slot := id.slot()
	if slot == 0 || slot >= t.slots.high() {
		return 0
	}
	v := t.records[slot].ctl.Load()
	if uint32(v>>32) != id.generation() {
		return 0
	}
	return Marks(v) & allMarks
}

// Mark sets marks of a pinned file.
func (n Node) Mark(m Marks) { n.t.records[n.slot].ctl.Or(uint64(m & allMarks)) }

// Marks returns the marks of a pinned file.
func (n Node) Marks() Marks { return Marks(n.t.records[n.slot].ctl.Load()) & allMarks }

// unpinInode tells the host that the fd of a record, of file i, is about to be closed, if it cares.
func (t *Table) unpinInode(slot uint32, i Identity) {
	if Marks(t.records[slot].ctl.Load())&Opened != 0 {
		t.host.Unpin(i)
	}
}
