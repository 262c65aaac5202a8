// SPDX-License-Identifier: Apache-2.0

// Package pattern is what the files of a test hold: each byte tells which write it comes from, by
// the write's tag, and at which offset it belongs. So the content of a file can be said in a few
// words, and a byte that a host has refused, or that is in the wrong place, is known by itself.
package pattern

import (
	"fmt"
	"strings"
)

// MaxTag is the greatest tag; the smallest is 1. Tag 0 stands for zero bytes, such as a hole has.
const MaxTag = 15

// Byte is the byte of a tag at an offset: never zero, and different for different tags.
func Byte(tag int, off int64) byte {
	if tag == 0 {
		return 0
	}
	return byte(tag)<<4 | byte(uint64(off)*0x9e3779b97f4a7c15>>60)
}

// Fill fills p, which is at off in its file.
func Fill(p []byte, off int64, tag int) {
	for i := range p {
		p[i] = Byte(tag, off+int64(i))
	}
}

// wrong is in the place of the tag of a byte that no Fill has put where it is.
const wrong = -1

// tagOf is the tag of a byte at an offset, or wrong.
func tagOf(b byte, off int64) int {
	tag := int(b >> 4)
	if b != Byte(tag, off) {
		return wrong
	}
	return tag
}

// Describe tells what data, which begins at offset 0, holds: runs of bytes with the same tag as
// TAG*BYTES, with ? as the tag of bytes that are wrong, separated by blanks.
func Describe(data []byte) string {
	var runs []string
	for at := 0; at < len(data); {
		tag, end := tagOf(data[at], int64(at)), at+1
		for end < len(data) && tagOf(data[end], int64(end)) == tag {
			end++
		}
		name := fmt.Sprint(tag)
		if tag == wrong {
			name = "?"
		}
		runs = append(runs, fmt.Sprintf("%s*%d", name, end-at))
		at = end
	}
	return strings.Join(runs, " ")
}

// Tags tells which tags stand in data, which is at off: bit n for tag n. ok is false if bytes are
// wrong.
func Tags(data []byte, off int64) (tags uint16, ok bool) {
	ok = true
	for i, b := range data {
		if tag := tagOf(b, off+int64(i)); tag == wrong {
			ok = false
		} else {
			tags |= 1 << tag
		}
	}
	return tags, ok
}

// Span is a run of bytes to write.
type Span struct {
	Off, Len int64
	Tag      int
}

// End is the offset behind the last byte.
func (s Span) End() int64 { return s.Off + s.Len }

// ParseSpans reads spans as OFFSET+BYTES:TAG, separated by commas, each but the first within the
// first one.
func ParseSpans(text string) ([]Span, error) {
	var spans []Span
	for word := range strings.SplitSeq(text, ",") {
		var s Span
		if n, err := fmt.Sscanf(word, "%d+%d:%d", &s.Off, &s.Len, &s.Tag); err != nil || n != 3 {
			return nil, fmt.Errorf("%q is not OFFSET+BYTES:TAG", word)
		}
		if s.Off < 0 || s.Len < 0 || s.Tag < 0 || s.Tag > MaxTag {
			return nil, fmt.Errorf("%q is out of bounds", word)
		}
		if len(spans) > 0 && (s.Off < spans[0].Off || s.End() > spans[0].End()) {
			return nil, fmt.Errorf("%q is not within %q", word, text)
		}
		spans = append(spans, s)
	}
	return spans, nil
}

// String is what ParseSpans reads.
func (s Span) String() string { return fmt.Sprintf("%d+%d:%d", s.Off, s.Len, s.Tag) }

// Paint puts spans over data, which begins at offset 0 and is made longer, with zero bytes, where a
// span ends behind it.
func Paint(data []byte, spans ...Span) []byte {
	for _, s := range spans {
		if grow := s.End() - int64(len(data)); grow > 0 && s.Len > 0 {
			data = append(data, make([]byte, grow)...)
		}
		if s.Len > 0 {
			Fill(data[s.Off:s.End()], s.Off, s.Tag)
		}
	}
	return data
}
