// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"slices"
	"testing"
)

func TestDescribe(t *testing.T) {
	data := Paint(nil, Span{0, 5000, 1}, Span{4000, 2000, 2}, Span{7000, 10, MaxTag})
	if got, want := Describe(data), "1*4000 2*2000 0*1000 15*10"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	data[4500] ^= 1
	if got, want := Describe(data), "1*4000 2*500 ?*1 2*1499 0*1000 15*10"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Describe(nil); got != "" {
		t.Errorf("an empty file is %q", got)
	}
}

// TestMisplaced wants a page that stands where another belongs to be seen.
func TestMisplaced(t *testing.T) {
	data := Paint(nil, Span{0, 8192, 3})
	copy(data[4096:], data[:4096])
	tags, ok := Tags(data, 0)
	if ok || tags != 1<<3 {
		t.Errorf("tags %#x, all right %v", tags, ok)
	}
	if tags, ok := Tags(data[:4096], 0); !ok || tags != 1<<3 {
		t.Errorf("the first page: tags %#x, all right %v", tags, ok)
	}
}

func TestParseSpans(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []Span
	}{
		{"5+10:2", []Span{{5, 10, 2}}},
		{"0+100:2,10+20:3", []Span{{0, 100, 2}, {10, 20, 3}}},
		{"", nil},
		{"5+10", nil},
		{"5+10:16", nil},
		{"-5+10:1", nil},
		{"5+10:2,0+7:3", nil},
		{"5+10:2,7+9:3", nil},
	} {
		got, err := ParseSpans(tt.text)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("%q: %v, %v", tt.text, got, err)
		}
	}
	if s := (Span{1, 2, 3}).String(); s != "1+2:3" {
		t.Error(s)
	}
}
