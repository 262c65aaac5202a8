// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// fakeQEMU answers monitor commands from a table; a command that is not in it ends the connection.
func fakeQEMU(t *testing.T, answers map[string]string) net.Conn {
	host, qemu := net.Pipe()
	t.Cleanup(func() { host.Close() })
	go func() {
		defer qemu.Close()
		fmt.Fprintln(qemu, `{"QMP": {"version": {}, "capabilities": []}}`)
		for sc := bufio.NewScanner(qemu); sc.Scan(); {
			var c struct{ Execute string }
			if json.Unmarshal(sc.Bytes(), &c) != nil || answers[c.Execute] == "" {
				return
			}
			fmt.Fprintln(qemu, answers[c.Execute])
		}
	}()
	return host
}

func TestQMP(t *testing.T) {
	q, err := newQMP(fakeQEMU(t, map[string]string{
		"qmp_capabilities": `{"return": {}}`,
		"stop":             "{\"event\": \"STOP\", \"data\": {\"n\": 1}}\n{\"return\": {\"a\": 1}}",
		"bad":              `{"error": {"class": "GenericError", "desc": "no such thing"}}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	mark := q.Mark()
	if r, err := q.Do("stop", nil); err != nil || string(r) != `{"a": 1}` {
		t.Errorf("stop: %s, %v", r, err)
	}
	isStop := func(e Event) bool { return e.Name == "STOP" }
	if e, err := q.WaitEvent(mark, time.Minute, isStop); err != nil || string(e.Data) != `{"n": 1}` {
		t.Errorf("event: %+v, %v", e, err)
	}
	if _, err := q.WaitEvent(q.Mark(), time.Millisecond, isStop); !errors.Is(err, ErrNoEvent) {
		t.Errorf("an event from before the mark: %v", err)
	}
	if _, err := q.Do("bad", nil); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("bad: %v", err)
	}
	if _, err := q.Do("unknown", nil); !errors.Is(err, ErrGone) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := q.WaitEvent(q.Mark(), time.Minute, isStop); err == nil || errors.Is(err, ErrNoEvent) {
		t.Errorf("an event after the end: %v", err)
	}
}
