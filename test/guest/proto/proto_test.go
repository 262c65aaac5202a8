// SPDX-License-Identifier: Apache-2.0

package proto

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestOneLine shows that any bytes travel as one line.
func TestOneLine(t *testing.T) {
	want := make([]byte, 256)
	for i := range want {
		want[i] = byte(i)
	}
	line, err := json.Marshal(Reply{ID: 1, Out: want})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range line {
		if c < ' ' || c > '~' {
			t.Fatalf("byte %#x in %q", c, line)
		}
	}
	var r Reply
	if err := json.Unmarshal(line, &r); err != nil || !bytes.Equal(r.Out, want) {
		t.Errorf("got %x, %v", r.Out, err)
	}
}
