// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/proto"
)

// fakeAgent is the guest's end of a line, played by a test.
type fakeAgent struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Scanner
}

func newFakeAgent(t *testing.T) (*control, *fakeAgent) {
	host, guest := net.Pipe()
	t.Cleanup(func() { host.Close(); guest.Close() })
	return newControl(host), &fakeAgent{t, guest, bufio.NewScanner(guest)}
}

func (a *fakeAgent) say(r proto.Reply) {
	a.t.Helper()
	line, err := json.Marshal(r)
	if err != nil {
		a.t.Fatal(err)
	}
	a.raw(string(line) + "\n")
}

func (a *fakeAgent) raw(s string) {
	a.t.Helper()
	if _, err := a.conn.Write([]byte(s)); err != nil {
		a.t.Fatal(err)
	}
}

// start starts a command and returns it with what the agent reads of it.
func (a *fakeAgent) start(c *control, script string) (*Command, proto.Request) {
	a.t.Helper()
	got := make(chan proto.Request, 1)
	go func() {
		var r proto.Request
		if a.in.Scan() && json.Unmarshal(a.in.Bytes(), &r) == nil {
			got <- r
		}
		close(got)
	}()
	cmd, err := c.start(script, time.Second)
	if err != nil {
		a.t.Fatal(err)
	}
	return cmd, <-got
}

func TestControlRuns(t *testing.T) {
	c, a := newFakeAgent(t)
	one, r1 := a.start(c, "one")
	two, r2 := a.start(c, "two")
	if r1.Argv[2] != "one" || r2.Argv[2] != "two" || r1.ID == r2.ID || r1.Timeout != 1000 {
		t.Fatalf("the agent was told %+v and %+v", r1, r2)
	}
	a.raw("noise\n{\"ID\":\n")
	a.say(proto.Reply{ID: 99, Out: []byte("nobody's")})
	a.say(proto.Reply{ID: r2.ID, Out: []byte("2")})
	a.say(proto.Reply{ID: r1.ID, Out: []byte("a")})
	a.say(proto.Reply{ID: r1.ID, Out: []byte("b")})
	a.say(proto.Reply{ID: r1.ID, Done: true, Code: 5})
	a.say(proto.Reply{ID: r2.ID, Done: true, Code: 124, Err: "limit"})
	if out, code, err := one.wait(nil); out != "ab" || code != 5 || err != nil {
		t.Errorf("one: %q, %d, %v", out, code, err)
	}
	if out, _, err := two.wait(nil); out != "2" || err == nil {
		t.Errorf("two: %q, %v", out, err)
	}
}

func TestControlEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(a *fakeAgent)
		want error
	}{
		{"reset", func(a *fakeAgent) { a.raw("{\"ID\":1,\"Ou\n"); a.say(proto.Reply{Hello: "boot"}) }, ErrRebooted},
		{"gone", func(a *fakeAgent) { a.conn.Close() }, ErrGone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, a := newFakeAgent(t)
			cmd, _ := a.start(c, "x")
			tt.end(a)
			if _, _, err := cmd.wait(nil); !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestControlStop(t *testing.T) {
	c, a := newFakeAgent(t)
	cmd, _ := a.start(c, "x")
	stop := make(chan time.Time)
	close(stop)
	if _, _, err := cmd.wait(stop); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v", err)
	}
}

func TestControlTooLong(t *testing.T) {
	c, _ := newFakeAgent(t)
	if _, err := c.start(strings.Repeat("x", proto.MaxRequest), 0); err == nil {
		t.Error("a command longer than the line takes was sent")
	}
}

func TestConsole(t *testing.T) {
	tests := []struct {
		name, text string
		trouble    bool
	}{
		{"quiet", "Linux version 6.1\nFailed to initialize ubd device 0\n", false},
		{"slow", "watchdog: BUG: soft lockup - CPU#0 stuck for 23s!\n", false},
		{"panic", "[ 1.0] Kernel panic - not syncing: x\n", true},
		{"oops", "BUG: kernel NULL pointer dereference, address: 0\n", true},
		{"warning", "WARNING: CPU: 0\nModules linked in: virtiofs fuse\n", true},
		{"half a line", "Kernel panic", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newConsole()
			for i := range len(tt.text) {
				if n, err := c.Write([]byte{tt.text[i]}); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
			if got := c.problem() != ""; got != tt.trouble {
				t.Errorf("problem: %q", c.problem())
			}
			select {
			case <-c.broken:
				if !tt.trouble {
					t.Error("broken")
				}
			default:
				if tt.trouble {
					t.Error("not broken")
				}
			}
		})
	}
}
