// SPDX-License-Identifier: Apache-2.0

package guestmem

import "errors"

var (
	// ErrRange says that an address range is not, or not wholly, inside mapped guest memory.
	ErrRange = errors.New("guestmem: range outside guest memory")
	// ErrRegion says that a region as the VMM described it cannot be accepted: empty, overflowing,
	// overlapping another one, reaching beyond its file, or one too many.
	ErrRegion = errors.New("guestmem: bad region")
	// ErrNoRegion says that the region to remove is not in the table.
	ErrNoRegion = errors.New("guestmem: no such region")
	// ErrFault says that memory could not be touched: the file behind it has shrunk.
	ErrFault = errors.New("guestmem: memory fault")
)
