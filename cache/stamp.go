// SPDX-License-Identifier: Apache-2.0

package cache

import "time"

const (
	// trust is for how long nobody looks whether the host has changed a file, and, under
	// ModeAuto, for how long a page is answered after its fill or write.
	trust = time.Second
	// settled is the age from which on a stamp proves that a file is the same when it is seen
	// again: longer than the coarsest time stamp of a file system.
	settled = 2 * time.Second
)

// Stamp is what a statx says about the state of a file's data. Times are nanoseconds since 1970.
type Stamp struct {
	Size  int64
	Mtime int64
	Ctime int64
	Taken int64 // when the statx was begun, by the clock of the cache (Cache.Now)
}

// equal tells whether two stamps show the same state.
func (s Stamp) equal(o Stamp) bool {
	return s.Size == o.Size && s.Mtime == o.Mtime && s.Ctime == o.Ctime
}

// young: the file was changed so shortly before the stamp was taken that another change might
// leave the same stamp.
func (s Stamp) young() bool {
	return s.Taken-max(s.Mtime, s.Ctime) < int64(settled)
}

// fresh tells whether then is less than a second ago. A time in the future, but for what other
// threads are ahead, is of a clock that was set back.
func fresh(then, now int64) bool {
	ago := now - then
	return -int64(trust) < ago && ago < int64(trust)
}

// stat asks the host.
func (c *Cache) stat(cancel <-chan struct{}, h HostFile) (Stamp, error) {
	taken := c.Now()
	st, err := h.Stat(cancel)
	st.Taken = taken
	return st, err
}

// observe takes note of a stamp. Pages that it does not vouch for are dropped. A check is the
// stronger form: a stamp that was young proves nothing. Called with m.mu.
func (m *mapping) observe(st Stamp, check bool) {
	same := m.vouched && m.stamp.equal(st)
	switch {
	case same && !m.stamp.young():
		if m.checked < st.Taken || !fresh(m.checked, st.Taken) { // a clock that was set back
			m.checked = st.Taken
		}
	case same && !check, m.vouched && m.c.planted.trustStamps:
	default:
		m.dropAll()
		m.vouched, m.stamp, m.checked = true, st, st.Taken
		m.epoch++
	}
}

// disown makes the pages go at the next check: the file was changed, and what it was before is
// not known to be what the stamp says. Called with m.mu.
func (m *mapping) disown() {
	m.vouched = false
	m.epoch++
}
