// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/virtiofsd-go/virtiofsd-go/test/guest/proto"
)

// Errors of a command that has no exit status.
var (
	ErrRebooted = errors.New("the guest was reset while the command ran")
	ErrGone     = errors.New("the guest is gone")
	ErrTimeout  = errors.New("the command ran out of time")
)

// control is the host's end of the line to the agent. One goroutine reads it; mu guards the
// commands that wait and the boot id.
type control struct {
	conn net.Conn

	mu      sync.Mutex
	nextID  uint64
	waiting map[uint64]*Command
	boots   int           // agents that have said hello
	booted  chan struct{} // closed at the next hello, then replaced
	gone    chan struct{} // closed when the line is dead
}

func newControl(conn net.Conn) *control {
	c := &control{conn: conn, waiting: map[uint64]*Command{}, booted: make(chan struct{}), gone: make(chan struct{})}
	go c.read()
	return c
}

func (c *control) read() {
	in := bufio.NewReader(c.conn)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			c.mu.Lock()
			c.failAll(ErrGone)
			close(c.gone)
			c.mu.Unlock()
			return
		}
		var r proto.Reply
		if json.Unmarshal(line, &r) == nil {
			c.handle(r)
		}
	}
}

func (c *control) handle(r proto.Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Hello != "" {
		c.failAll(ErrRebooted)
		c.boots++
		close(c.booted)
		c.booted = make(chan struct{})
		return
	}
	cmd := c.waiting[r.ID]
	if cmd == nil {
		return
	}
	cmd.out.Write(r.Out)
	if r.Done {
		cmd.code = r.Code
		if r.Err != "" {
			cmd.err = errors.New(r.Err)
		}
		c.end(r.ID, cmd)
	}
}

// end takes a command off the list; c.mu is held.
func (c *control) end(id uint64, cmd *Command) {
	delete(c.waiting, id)
	close(cmd.done)
}

// failAll ends all commands with err; c.mu is held.
func (c *control) failAll(err error) {
	for id, cmd := range c.waiting {
		cmd.err = err
		c.end(id, cmd)
	}
}

// Command is a command that runs in a guest.
type Command struct {
	c    *control
	id   uint64
	text string
	done chan struct{}

	// Guarded by c.mu until done is closed, fixed afterwards.
	out  bytes.Buffer
	code int
	err  error
}

// start sends a command line for the guest's shell. The guest kills it after limit.
func (c *control) start(script string, limit time.Duration) (*Command, error) {
	c.mu.Lock()
	c.nextID++
	cmd := &Command{c: c, id: c.nextID, text: script, done: make(chan struct{})}
	c.waiting[cmd.id] = cmd
	c.mu.Unlock()
	line, err := json.Marshal(proto.Request{
		ID: cmd.id, Argv: []string{"/bin/sh", "-c", script}, Timeout: limit.Milliseconds(),
	})
	if err != nil {
		return nil, err
	}
	if len(line) >= proto.MaxRequest {
		return nil, fmt.Errorf("a command of %d bytes is too long for the guest's line", len(line))
	}
	if _, err := c.conn.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	return cmd, nil
}

// Wait returns the command's output and exit status. Stop, closed early, ends the wait; the
// error then is ErrTimeout.
func (cmd *Command) wait(stop <-chan time.Time) (out string, code int, err error) {
	select {
	case <-cmd.done:
	case <-stop:
		cmd.c.mu.Lock()
		if cmd.c.waiting[cmd.id] == cmd {
			cmd.err = ErrTimeout
			cmd.c.end(cmd.id, cmd)
		}
		cmd.c.mu.Unlock()
	}
	cmd.c.mu.Lock()
	defer cmd.c.mu.Unlock()
	return cmd.out.String(), cmd.code, cmd.err
}

// output returns what the command has written so far.
func (cmd *Command) output() string {
	cmd.c.mu.Lock()
	defer cmd.c.mu.Unlock()
	return cmd.out.String()
}

// nextBoot returns a channel that is closed when the next agent says hello, and how many have.
func (c *control) nextBoot() (<-chan struct{}, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.booted, c.boots
}
