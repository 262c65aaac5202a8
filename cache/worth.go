// SPDX-License-Identifier: Apache-2.0

package cache

// worth tells whether the pages of a mapping pay. A page that answers a read saves a read of the host,
// 1.3 µs; to save the pages over a change costs two statx and a new time stamp, 5 µs. So they pay where
// there are four pages read, or more, for each change.
//
// What counts is the mean of the last changes, so that a burst of changes does not cost a file the pages
// that are read again and again. A read that brings a page counts as well, on the promise of reads to
// come, which is taken back when the page is thrown out unread. Nothing depends on time: equal requests
// make equal host calls. It is guarded by the mapping's mutex.
type worth struct {
	reads int  // pages that were read since the last change
	mean  int  // between two changes, times meanOf
	poor  bool // the pages do not pay: none are kept
}

const (
	meanOf = 32   // a change counts as much as all before the last 32
	pays   = 4    // pages read between two changes, from which on they are worth their price
	start  = 8    // of a file of which nothing is known
	retry  = 6    // from which on they are tried again: not as soon as the mean sways
	calm   = 64   // pages read in a row that are reason enough to try again
	most   = 1024 // what a single long time between changes counts for
)

// read notes reads of n pages: answered, brought, or such as went past a mapping that keeps none. A
// negative n takes a promise back.
func (w *worth) read(n int) {
	w.reads += n
	if w.poor && w.reads >= calm {
		w.poor, w.mean = false, max(w.mean, start*meanOf)
	}
}

// change notes a change, and tells whether the pages are worth to be saved over it.
func (w *worth) change() bool {
	w.mean += min(max(w.reads, 0), most) - (w.mean+meanOf/2)/meanOf
	w.reads = 0
	switch {
	case w.mean < pays*meanOf:
		w.poor = true
	case w.mean >= retry*meanOf:
		w.poor = false
	}
	return !w.poor
}
