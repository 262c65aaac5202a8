// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/proto"
)

// runOne runs a request and returns its output and last reply.
func runOne(t *testing.T, r proto.Request) (string, proto.Reply) {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go func() {
		(&line{f: out}).run(r)
		out.Close()
	}()
	text, last := "", proto.Reply{}
	for sc := bufio.NewScanner(in); sc.Scan(); {
		var p proto.Reply
		if err := json.Unmarshal(sc.Bytes(), &p); err != nil {
			t.Fatalf("%q: %v", sc.Text(), err)
		}
		if p.ID != r.ID || last.Done {
			t.Errorf("unexpected %+v", p)
		}
		text += string(p.Out)
		last = p
	}
	return text, last
}

func TestRun(t *testing.T) {
	sh := func(s string) []string { return []string{"/bin/sh", "-c", s} }
	tests := []struct {
		name  string
		argv  []string
		limit time.Duration
		out   string
		code  int
		err   bool
	}{
		{"output", sh("echo a; echo b >&2; exit 3"), 0, "a\nb\n", 3, false},
		{"environment", sh("echo $HOME $PWD"), 0, "/tmp /\n", 0, false},
		{"signal", sh("kill -9 $$"), 0, "", 137, false},
		{"no such program", []string{"/no/such"}, 0, "", 127, true},
		{"time limit", sh("sleep 1000 & wait"), 50 * time.Millisecond, "", 124, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, last := runOne(t, proto.Request{ID: 7, Argv: tt.argv, Timeout: tt.limit.Milliseconds()})
			if out != tt.out || !last.Done || last.Code != tt.code || (last.Err != "") != tt.err {
				t.Errorf("got %q and %+v", out, last)
			}
		})
	}
}
