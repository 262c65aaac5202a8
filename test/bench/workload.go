// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// workload is a row of the table, at each of its depths.
type workload struct {
	name, about string
	depths      []int         // operations in flight
	bytes       int           // that one operation moves
	queues      int           // request queues; 0: 1
	pause       time.Duration // between one operation and the next
	writes      bool          // compare writeFile on the host afterwards
	hol         bool          // run behind an FSYNC: see hol.go
	script      func(s *session, c *frontend.Client) (script, error)
	floor       func(t *tree) (floor, error) // the system calls that it stands on; nil: none
}

const kib, mib = 1 << 10, 1 << 20

// workloads are all there are, in the order of the table.
var workloads = []workload{
	data("randread4k", "READ of 4 KiB at scattered offsets, in the host's memory", []int{1, 32}, hotRead),
	metadata("getattr", "GETATTR of 1024 known files", func(s *session, c *frontend.Client) (script, error) {
		n, err := openNames(s, c, true)
		return &getattrScript{n}, err
	}, floorGetattr),
	rareGetattr(),
	metadata("lookup", "LOOKUP of a name whose file is not known, and FORGET", func(s *session, c *frontend.Client) (script, error) {
		n, err := openNames(s, c, false)
		return &lookupScript{n}, err
	}, floorLookup),
	metadata("relookup", "LOOKUP of a name whose file is known, and FORGET of that one look", func(s *session, c *frontend.Client) (script, error) {
		n, err := openNames(s, c, true)
		return &lookupScript{n}, err
	}, floorRelookup),
	metadata("open", "OPEN and RELEASE of 1024 known files", func(s *session, c *frontend.Client) (script, error) {
		n, err := openNames(s, c, true)
		return &openScript{n}, err
	}, floorOpen),
	metadata("smallfile", "CREATE, WRITE of 4 KiB, FLUSH, RELEASE, UNLINK, FORGET", func(s *session, c *frontend.Client) (script, error) {
		return openSmall(s, c)
	}, floorSmall),
	directory("readdirplus-cold", "READDIRPLUS of 4 KiB, each entry forgotten at once", true, floorDirCold),
	directory("readdirplus-warm", "READDIRPLUS of 4 KiB, all entries known", false, floorDirWarm),
	data("randwrite4k", "WRITE of 4 KiB at scattered offsets", []int{1, 32}, dataSpec{file: writeFile, unit: 4 * kib, scatter: true, writes: 10}),
	data("mix4k", "4 KiB at scattered offsets, 70 % READ, 30 % WRITE", []int{1, 32}, dataSpec{file: writeFile, unit: 4 * kib, scatter: true, writes: 3}),
	data("seqread128k", "READ of 128 KiB in order", []int{1, 4, 32}, dataSpec{file: readFile, unit: 128 * kib}),
	data("seqread1m", "READ of 1 MiB in order", []int{1, 4, 32}, dataSpec{file: readFile, unit: mib}),
	data("seqwrite128k", "WRITE of 128 KiB in order", []int{1, 4, 32}, dataSpec{file: writeFile, unit: 128 * kib, writes: 10}),
	data("seqwrite1m", "WRITE of 1 MiB in order", []int{1, 4, 32}, dataSpec{file: writeFile, unit: mib, writes: 10}),
	behindFsync(),
	fourQueues(),
}

// hotRead uses half of the file, so that a page cache in the daemon of the same size holds it.
var hotRead = dataSpec{file: readFile, unit: 4 * kib, scatter: true, part: 2}

func data(name, about string, depths []int, spec dataSpec) workload {
	return workload{
		name: name, about: about, depths: depths, bytes: int(spec.unit), writes: spec.writes > 0,
		script: func(s *session, c *frontend.Client) (script, error) { return openData(s, c, spec) },
		floor:  func(t *tree) (floor, error) { return floorData(t, spec) },
	}
}

func metadata(name, about string, open func(*session, *frontend.Client) (script, error), f func(*tree) (floor, error)) workload {
	return workload{name: name, about: about, depths: []int{1, 32}, script: open, floor: f}
}

// rareGetattr is for what it costs a daemon to wake up from idleness, and to fall idle again.
func rareGetattr() workload {
	return workload{
		name: "getattr-rare", about: "GETATTR of known files, 20 ms after the one before", depths: []int{1}, pause: 20 * time.Millisecond,
		script: func(s *session, c *frontend.Client) (script, error) {
			n, err := openNames(s, c, true)
			return &getattrScript{n}, err
		},
		floor: floorGetattr,
	}
}

func directory(name, about string, forget bool, f func(*tree) (floor, error)) workload {
	return workload{
		name: name, about: about, depths: []int{1}, floor: f,
		script: func(s *session, c *frontend.Client) (script, error) { return openDir(s, c, forget) },
	}
}

func behindFsync() workload {
	w := data("behind-fsync", "the reads of randread4k while an FSYNC of a dirty file is out on the same queue", []int{32}, hotRead)
	w.hol = true
	return w
}

// fourQueues gives each queue a client of its own. The depth is that of all together.
func fourQueues() workload {
	w := data("randread4k-4q", "randread4k over 4 request queues with a thread each", []int{4, 32, 128}, hotRead)
	w.queues, w.floor = 4, nil
	return w
}

// ring is the number of entries of the rings: QEMU's default, or one that has room for 1 MiB.
func (w workload) ring() uint16 {
	if w.bytes > 256*kib {
		return 512
	}
	return 128
}

// choose returns the workloads of a comma-separated list of names; "all" is all.
func choose(list string) ([]workload, error) {
	if list == "all" {
		return workloads, nil
	}
	var chosen []workload
	var errs []error
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("there is no workload %q: --list shows them", name))
			continue
		}
		chosen = append(chosen, workloads[i])
	}
	return chosen, errors.Join(errs...)
}
