// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// place is where something was seen: a request, or a file of the host, of a scene.
type place struct{ scene, what string }

// fact is a field that was seen in a place, as text.
type fact struct{ field, value string }

// status is the field that every place has: an errno's name, or "ok".
const status = "status"

// Places that all scenes may have beside their requests.
const (
	theDaemon = "daemon" // it did not keep to the protocol
	theEnd    = "end"    // a request without which the scene has no sense failed
	onHost    = "host "  // followed by a path: a file as it is in the end
)

// record is what was seen of a daemon.
type record struct {
	order []place
	facts map[place][]fact
}

func (r *record) put(at place, field, value string) {
	if r.facts == nil {
		r.facts = map[place][]fact{}
	}
	if _, known := r.facts[at]; !known {
		r.order = append(r.order, at)
	}
	r.facts[at] = append(r.facts[at], fact{field, value})
}

// difference is one fact on which two daemons differ.
type difference struct {
	place
	field, rust, ours string
}

func (d difference) String() string {
	return fmt.Sprintf("%s | %s | %s: Rust virtiofsd %s, here %s", d.scene, d.what, d.field, d.rust, d.ours)
}

// none stands for a place that the other daemon has and this one has not.
const none = "none"

// compare tells all differences of two records. Where the status differs nothing else of that place counts,
// and of requests only those count that both were asked.
func compare(rust, ours *record) []difference {
	var all []difference
	seen := map[place]bool{}
	for _, at := range append(rust.order[:len(rust.order):len(rust.order)], ours.order...) {
		if seen[at] {
			continue
		}
		seen[at] = true
		r, o := rust.facts[at], ours.facts[at]
		switch both := r != nil && o != nil; {
		case both && (r[0] == o[0] || r[0].field != status):
			all = append(all, compareFacts(at, r, o)...)
		case both || strings.HasPrefix(at.what, onHost) || at.what == theDaemon || at.what == theEnd:
			all = append(all, difference{at, status, first(r), first(o)})
		}
	}
	return all
}

func first(fs []fact) string {
	if len(fs) == 0 {
		return none
	}
	return fs[0].value
}

// compareFacts compares places with the same status; the fields are the same ones in the same order.
func compareFacts(at place, rust, ours []fact) []difference {
	if len(rust) != len(ours) {
		return []difference{{at, "fields", fmt.Sprint(rust), fmt.Sprint(ours)}}
	}
	var all []difference
	for i := range rust {
		if rust[i] != ours[i] {
			all = append(all, difference{at, rust[i].field, rust[i].value, ours[i].value})
		}
	}
	return all
}

// say records a field of a request's reply.
func (s *session) say(what, field string, value any) {
	s.rec.put(place{s.scene, what}, field, fmt.Sprint(value))
}

// errno records how a request ended, and tells whether it succeeded.
func (s *session) errno(what string, errno syscall.Errno) bool {
	s.say(what, status, errnoName(errno))
	return errno == 0
}

func errnoName(errno syscall.Errno) string {
	if errno == 0 {
		return "ok"
	}
	if name := unix.ErrnoName(errno); name != "" {
		return name
	}
	return fmt.Sprintf("errno %d", int(errno))
}

func (s *session) entry(what string, e fuse.EntryOut, errno syscall.Errno) uint64 {
	if !s.errno(what, errno) {
		return 0
	}
	s.say(what, "generation", e.Generation)
	s.say(what, "entry timeout", timeout(e.EntryValid, e.EntryValidNsec))
	s.say(what, "attribute timeout", timeout(e.AttrValid, e.AttrValidNsec))
	s.attr(what, &e.Attr)
	return e.NodeId
}

func (s *session) attrs(what string, a fuse.AttrOut, errno syscall.Errno) {
	if s.errno(what, errno) {
		s.say(what, "attribute timeout", timeout(a.AttrValid, a.AttrValidNsec))
		s.attr(what, &a.Attr)
	}
}

func (s *session) created(what string, c fuse.CreateOut, errno syscall.Errno) bool {
	if s.entry(what, c.EntryOut, errno) == 0 {
		return false
	}
	s.say(what, "open flags", fmt.Sprintf("%#x", c.OpenFlags))
	return true
}

func (s *session) opened(what string, o fuse.OpenOut, errno syscall.Errno) bool {
	if s.errno(what, errno) {
		s.say(what, "open flags", fmt.Sprintf("%#x", o.OpenFlags))
	}
	return errno == 0
}

// attr records attributes, without what tells files apart: the number of the inode.
func (s *session) attr(what string, a *fuse.Attr) {
	s.say(what, "mode", fmt.Sprintf("%#o", a.Mode))
	s.say(what, "owner", fmt.Sprintf("%d:%d", a.Uid, a.Gid))
	s.say(what, "size", a.Size)
	s.say(what, "sparse", a.Blocks*512 < a.Size)
	s.say(what, "blksize", a.Blksize)
	s.say(what, "links", a.Nlink)
	s.say(what, "rdev", a.Rdev)
	s.say(what, "attribute flags", fmt.Sprintf("%#x", a.Flags))
	s.say(what, "atime", when(int64(a.Atime), int64(a.Atimensec)))
	s.say(what, "mtime", when(int64(a.Mtime), int64(a.Mtimensec)))
	s.say(what, "ctime", when(int64(a.Ctime), int64(a.Ctimensec)))
}

func timeout(sec uint64, nsec uint32) string { return fmt.Sprintf("%d.%09d s", sec, nsec) }

// longAgo is the time of all files at first, in seconds.
const longAgo = 1_000_000_000

// when tells a point in time in a way that does not depend on when the test runs.
func when(sec, nsec int64) string {
	switch t := time.Unix(sec, nsec); {
	case t.Equal(time.Unix(longAgo, 0)):
		return "as before"
	case time.Since(t).Abs() < time.Hour:
		return "now"
	default:
		return fmt.Sprintf("%d.%09d", sec, nsec)
	}
}
