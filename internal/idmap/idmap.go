// SPDX-License-Identifier: Apache-2.0

// Package idmap translates user or group ids between a guest and the host by the rules of
// virtiofsd's --translate-uid and --translate-gid, and reads the ranges of --uid-map and --gid-map.
//
// The rules, with any character but letters, digits, "-" and "_" in the place of the colon:
//
//	guest:SRC:DST:N         the guest's ids SRC to SRC+N-1 become DST to DST+N-1 on the host
//	host:SRC:DST:N          the host's ids become the guest's
//	squash-guest:SRC:DST:N  all of these ids of the guest become the host's DST
//	squash-host:SRC:DST:N   all of these ids of the host become the guest's DST
//	map:GUEST:HOST:N        guest and host in one
//	forbid-guest:SRC:N      the guest may not use these ids
//
// The two directions know nothing of each other. An id that no rule speaks of stays as it is.
package idmap

// None is no user's and no group's id; to chown(2) it means to leave the id as it is.
const None = ^uint32(0)

// kind says what becomes of the ids of a span.
type kind int

const (
	shift  kind = iota // to, to+1, ...
	squash             // to
	forbid
)

// span are the ids first to last, both included.
type span struct {
	kind            kind
	first, last, to uint32
}

// spans are ordered and do not overlap.
type spans []span

// Map translates ids in both directions. It is immutable and safe for concurrent use. A nil Map
// leaves every id as it is.
type Map struct{ guest, host spans }

// ToHost returns the host's id for one of the guest's; ok is false if the guest may not use it.
// None stays None.
func (m *Map) ToHost(id uint32) (host uint32, ok bool) {
	if m == nil {
		return id, true
	}
	return m.guest.translate(id)
}

// ToGuest returns the guest's id for one of the host's. None stays None.
func (m *Map) ToGuest(id uint32) uint32 {
	if m != nil {
		id, _ = m.host.translate(id)
	}
	return id
}

func (s spans) translate(id uint32) (uint32, bool) {
	if id == None {
		return id, true
	}
	low, high := 0, len(s)
	for low < high {
		mid := (low + high) / 2
		switch {
		case id < s[mid].first:
			high = mid
		case id > s[mid].last:
			low = mid + 1
		default:
			return s[mid].apply(id)
		}
	}
	return id, true
}

func (s span) apply(id uint32) (uint32, bool) {
	switch s.kind {
	case shift:
		return s.to + (id - s.first), true
	case squash:
		return s.to, true
	}
	return id, false
}
