// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// qmpTimeout is how long QEMU may take over one command. QEMU's main loop waits for the daemon
// in some, so a daemon that does not answer shows here.
const qmpTimeout = 60 * time.Second

// QMP is a connection to QEMU's monitor (QEMU docs/interop/qmp-spec). Commands go one at a time;
// safe for concurrent use.
type QMP struct {
	conn    net.Conn
	cmd     sync.Mutex // held over one command and its answer
	replies chan qmpMessage

	mu     sync.Mutex
	events []Event
	more   chan struct{} // closed when an event comes or the connection ends, then replaced
	err    error
}

// Event is something that QEMU reports by itself.
type Event struct {
	Name string
	Data json.RawMessage
}

type qmpMessage struct {
	Return json.RawMessage `json:"return"`
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

// newQMP makes the monitor ready for commands; it owns conn.
func newQMP(conn net.Conn) (*QMP, error) {
	q := &QMP{conn: conn, replies: make(chan qmpMessage, 1), more: make(chan struct{})}
	go q.read()
	_, err := q.Do("qmp_capabilities", nil)
	return q, err
}

func (q *QMP) read() {
	in := bufio.NewReader(q.conn)
	for {
		line, err := in.ReadBytes('\n')
		var m qmpMessage
		if err == nil {
			err = json.Unmarshal(line, &m)
		}
		if err != nil {
			q.note(nil, err)
			close(q.replies)
			return
		}
		switch {
		case m.Event != "":
			q.note(&Event{m.Event, m.Data}, nil)
		case m.Return != nil || m.Error != nil:
			q.replies <- m
		}
	}
}

func (q *QMP) note(e *Event, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e != nil {
		q.events = append(q.events, *e)
	}
	q.err = err
	close(q.more)
	q.more = make(chan struct{})
}

// Do carries out one monitor command and returns QEMU's answer.
func (q *QMP) Do(command string, args any) (json.RawMessage, error) {
	q.cmd.Lock()
	defer q.cmd.Unlock()
	req := map[string]any{"execute": command}
	if args != nil {
		req["arguments"] = args
	}
	line, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	if _, err := q.conn.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("qmp %s: %w", command, err)
	}
	select {
	case m, ok := <-q.replies:
		switch {
		case !ok:
			return nil, fmt.Errorf("qmp %s: %w", command, ErrGone)
		case m.Error != nil:
			return nil, fmt.Errorf("qmp %s: %s", command, m.Error.Desc)
		}
		return m.Return, nil
	case <-time.After(qmpTimeout):
		// The answer may still come and would be taken for another's: no further use.
		q.conn.Close()
		return nil, fmt.Errorf("qmp %s: QEMU does not answer", command)
	}
}

// ErrNoEvent says that an awaited event did not come in time.
var ErrNoEvent = errors.New("the event did not come")

// Mark returns the number of events so far, for WaitEvent.
func (q *QMP) Mark() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.events)
}

// WaitEvent waits for an event after mark for which match is true.
func (q *QMP) WaitEvent(mark int, limit time.Duration, match func(Event) bool) (Event, error) {
	stop := time.After(limit)
	for {
		q.mu.Lock()
		events, more, err := q.events[mark:], q.more, q.err
		q.mu.Unlock()
		for _, e := range events {
			if match(e) {
				return e, nil
			}
		}
		mark += len(events)
		if err != nil {
			return Event{}, err
		}
		select {
		case <-more:
		case <-stop:
			return Event{}, ErrNoEvent
		}
	}
}
