// SPDX-License-Identifier: Apache-2.0

package idmap

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Range is a line of a user namespace's uid_map or gid_map (user_namespaces(7)): Count ids from
// Inside on are those from Outside on for the world around it.
type Range struct{ Inside, Outside, Count uint32 }

// maxRanges is what Linux takes in one map (UID_GID_MAP_MAX_EXTENTS of linux/user_namespace.h).
const maxRanges = 340

// ParseRanges reads the values of --uid-map or --gid-map: :INSIDE:OUTSIDE:COUNT:, with any character
// but letters and digits in the place of the colon. Ranges must not overlap, inside or outside. The
// error is one line.
func ParseRanges(values []string) ([]Range, error) {
	if len(values) > maxRanges {
		return nil, fmt.Errorf("%d ranges are given, and Linux takes at most %d", len(values), maxRanges)
	}
	var ranges []Range
	var inside, outside []entry
	for _, v := range values {
		in, out, err := parseRange(v)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", v, err)
		}
		ranges = append(ranges, Range{in.first, out.first, in.last - in.first + 1})
		inside, outside = append(inside, entry{in, v}), append(outside, entry{out, v})
	}
	if _, err := order(inside, "namespace"); err != nil {
		return nil, err
	}
	if _, err := order(outside, "host"); err != nil {
		return nil, err
	}
	return ranges, nil
}

// parseRange returns what a value says of the ids inside and outside.
func parseRange(s string) (inside, outside span, err error) {
	first, size := utf8.DecodeRuneInString(s)
	sep := s[:size]
	body, ended := strings.CutSuffix(s, sep)
	if isWord(first) || size == 0 || !ended || len(body) < size {
		return span{}, span{}, errors.New("this is no range, as :0:100000:65536: is one")
	}
	n, err := parseNumbers(body)
	if err != nil {
		return span{}, span{}, err
	}
	if len(n) != 3 {
		return span{}, span{}, fmt.Errorf("it has %d numbers: give the first id inside, the first outside and the number of ids", len(n))
	}
	if inside, err = newSpan(shift, n[0], n[1], n[2]); err == nil {
		outside, err = newSpan(shift, n[1], n[0], n[2])
	}
	return inside, outside, err
}
