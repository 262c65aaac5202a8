// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"errors"
	"fmt"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// MaxSize is the most descriptors that a ring may have (virtio 1.2 section 2.7).
const MaxSize = 32768

// Sizes and alignments of the three parts of a ring, in bytes (virtio 1.2 section 2.7).
const (
	descSize  = 16 // struct virtq_desc
	usedSize  = 8  // struct virtq_used_elem
	headSize  = 4  // flags and idx, in front of the avail and the used ring
	idxOffset = 2  // of idx in it

	descAlign  = 16
	availAlign = 2
	usedAlign  = 4
)

// ErrConfig says that a ring cannot be as it was described: a bad size or alignment, or a part
// that is not mapped.
var ErrConfig = errors.New("virtqueue: bad ring")

// Config describes a split ring.
type Config struct {
	Size              uint16 // descriptors: a power of two, at most MaxSize
	Desc, Avail, Used uint64 // guest physical addresses of the three parts
	Base              uint16 // next entry of the avail ring to serve
	EventIdx          bool   // VIRTIO_F_EVENT_IDX (29) was negotiated
	LogUsed           bool   // writes to the used ring are logged (VHOST_VRING_F_LOG) ...
	LogAddr           uint64 // ... as if it began at this guest physical address
}

func (c Config) check() error {
	if c.Size == 0 || c.Size > MaxSize || c.Size&(c.Size-1) != 0 {
		return fmt.Errorf("%w: size %d", ErrConfig, c.Size)
	}
	return nil
}

// views are the parts of a ring in mapped memory.
type views struct {
	desc  []byte // Size descriptors
	avail []byte // flags, idx, Size heads, and used_event with EventIdx
	used  []byte // flags, idx, Size elements, and avail_event with EventIdx
}

// resolve looks the ring up in t. Each part must lie in one region, aligned for the guest and here.
func (c Config) resolve(t *guestmem.Table) (v views, err error) {
	n, event := uint64(c.Size), uint64(0)
	if c.EventIdx {
		event = 2
	}
	if v.desc, err = part(t, "descriptors", c.Desc, n*descSize, descAlign); err != nil {
		return views{}, err
	}
	if v.avail, err = part(t, "avail", c.Avail, headSize+n*2+event, availAlign); err != nil {
		return views{}, err
	}
	if v.used, err = part(t, "used", c.Used, headSize+n*usedSize+event, usedAlign); err != nil {
		return views{}, err
	}
	return v, nil
}

func part(t *guestmem.Table, name string, gpa, n, align uint64) ([]byte, error) {
	b, err := t.Slice(gpa, n)
	if err != nil {
		return nil, fmt.Errorf("%w: %s ring at %#x: %w", ErrConfig, name, gpa, err)
	}
	// Only the words that are accessed atomically need to be aligned here, by 2; descriptors and
	// elements are copied.
	if gpa%align != 0 || !guestmem.Aligned(b, availAlign) {
		return nil, fmt.Errorf("%w: %s ring at %#x is not aligned", ErrConfig, name, gpa)
	}
	return b, nil
}
