// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Event is what a worker tells its parent. It believes nothing else of it.
type Event struct {
	Kind  byte
	Share int // of Ended, its index; not checked
}

// The kinds of events.
const (
	Ready    byte = 'r' // VMMs can connect; the worker waits for Confirm
	Stopping byte = 's' // the worker begins to stop
	Ended    byte = 'e' // nothing serves a share any more; the worker waits for Confirm
)

// Messages of the parent.
const (
	goOn    = 'g' // ids are mapped
	confirm = 'c' // what follows Ready or Ended is done
)

const eventSize = 1 + 4

// pair returns both ends of a socket that keeps messages apart.
func pair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "parent")
	ours, err := connOf(os.NewFile(uintptr(fds[0]), "worker"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// connOf makes a connection of f, which it closes.
func connOf(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("%s is no unix socket", f.Name())
	}
	return u, nil
}

// Next waits for an event. ok is false when there will be none any more: the worker has ended.
func (w *Worker) Next() (e Event, ok bool) {
	var b [eventSize]byte
	if n, err := w.conn.Read(b[:]); err != nil || n != len(b) {
		return Event{}, false
	}
	return Event{b[0], int(binary.LittleEndian.Uint32(b[1:]))}, true
}

// Confirm lets a worker go on that has said Ready or Ended.
func (w *Worker) Confirm() { _ = w.send([]byte{confirm}) } // an error: it has ended

func (w *Worker) send(b []byte) error {
	_, err := w.conn.Write(b)
	return err
}

// Signal sends the worker a signal. One that has ended does not mind.
func (w *Worker) Signal(s os.Signal) { _ = w.proc.Signal(s) }

// Kill ends the worker and waits for its end.
func (w *Worker) Kill() {
	_ = w.proc.Kill()
	_, _ = w.Wait()
}

// Wait waits for the worker's end. It may be called while another goroutine waits in Next.
func (w *Worker) Wait() (*os.ProcessState, error) { return w.proc.Wait() }

// Parent is the worker's parent. Its methods are safe for concurrent use.
type Parent struct {
	conn *net.UnixConn
	mu   sync.Mutex    // held while a confirmation is waited for
	done chan struct{} // one for each confirmation
}

// watch reads what the parent says, and ends the process with the parent. It is a second string to the
// parent-death signal.
func (p *Parent) watch() {
	var b [1]byte
	for {
		if n, err := p.conn.Read(b[:]); err != nil || n == 0 {
			os.Exit(1)
		}
		p.done <- struct{}{}
	}
}

// Ready says that VMMs can connect and returns when the parent has told others.
func (p *Parent) Ready() { p.ask(Event{Kind: Ready}) }

// Stopping says that the process begins to stop.
func (p *Parent) Stopping() { p.tell(Event{Kind: Stopping}) }

// Ended says that nothing serves a share any more and returns when the parent has removed its socket.
func (p *Parent) Ended(share int) { p.ask(Event{Ended, share}) }

// ask tells the parent and waits for its confirmation.
func (p *Parent) ask(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tell(e)
	<-p.done
}

func (p *Parent) tell(e Event) {
	b := binary.LittleEndian.AppendUint32([]byte{e.Kind}, uint32(e.Share))
	_, _ = p.conn.Write(b) // an error: the parent has ended, and watch ends us
}
