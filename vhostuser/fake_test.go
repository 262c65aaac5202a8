// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// fakeDevice notes its calls and insists on what Device promises to an implementation.
type fakeDevice struct {
	queues   int
	features uint64
	config   []byte
	bases    []uint16 // what StopQueue returns, in order; then Base of the ring
	startErr error    // if not nil, StartQueue fails
	broken   func(string)

	mu      sync.Mutex
	running map[int]Ring
	calls   []string
}

func newFakeDevice(t interface{ Errorf(string, ...any) }, queues int, config []byte) *fakeDevice {
	return &fakeDevice{
		queues: queues, features: 0x130000000, config: config, running: map[int]Ring{},
		broken: func(s string) { t.Errorf("promise to the device is broken: %s", s) },
	}
}

func (d *fakeDevice) Features() uint64 { return d.features }
func (d *fakeDevice) NumQueues() int   { return d.queues }
func (d *fakeDevice) Config() []byte   { return d.config }

func (d *fakeDevice) note(format string, args ...any) {
	d.calls = append(d.calls, fmt.Sprintf(format, args...))
}

// checkRing looks at what every ring must be when a device gets it.
func (d *fakeDevice) checkRing(i int, r Ring) {
	if i < 0 || i >= d.queues {
		d.broken(fmt.Sprintf("queue %d of %d", i, d.queues))
	}
	if r.Size == 0 || r.Size > maxRingSize || r.Size&(r.Size-1) != 0 {
		d.broken(fmt.Sprintf("ring size %d", r.Size))
	}
	if r.Desc%16 != 0 || r.Avail%2 != 0 || r.Used%4 != 0 {
		d.broken("misaligned ring")
	}
	d.checkFDs(r)
}

func (d *fakeDevice) checkFDs(r Ring) {
	for _, fd := range []int{r.Kick, r.Call, r.Err} {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); fd != -1 && err != nil {
			d.broken(fmt.Sprintf("descriptor %d is not open", fd))
		}
	}
}

func (d *fakeDevice) StartQueue(i int, r Ring) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("StartQueue %s", formatRing(i, r))
	d.checkRing(i, r)
	if _, ok := d.running[i]; ok {
		d.broken("StartQueue of a running queue")
	}
	if d.startErr != nil {
		return d.startErr
	}
	d.running[i] = r
	return nil
}

func (d *fakeDevice) UpdateQueue(i int, r Ring) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("UpdateQueue %s", formatRing(i, r))
	d.checkRing(i, r)
	old, ok := d.running[i]
	switch {
	case !ok:
		d.broken("UpdateQueue of a stopped queue")
	case old.Size != r.Size || old.Base != r.Base || old.Features != r.Features:
		d.broken("UpdateQueue changes what it may not")
	}
	d.checkFDs(old) // both sets are open during the call
	d.running[i] = r
	return nil
}

func (d *fakeDevice) StopQueue(i int) uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.running[i]
	if !ok {
		d.broken("StopQueue of a stopped queue")
	}
	d.checkFDs(r)
	delete(d.running, i)
	base := r.Base
	if len(d.bases) > 0 {
		base, d.bases = d.bases[0], d.bases[1:]
	}
	d.note("StopQueue %d base=%d", i, base)
	return base
}

func (d *fakeDevice) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("Reset")
	if len(d.running) > 0 {
		d.broken("Reset with running queues")
	}
}

// refuse makes StartQueue fail with err from now on; nil: succeed.
func (d *fakeDevice) refuse(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.startErr = err
}

// since returns the calls from number n on.
func (d *fakeDevice) since(n int) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls[n:])
}

func (d *fakeDevice) runs(i int) (Ring, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.running[i]
	return r, ok
}

// failer is what the fake front-end needs of *testing.T, *testing.F and *rapid.T.
type failer interface {
	Helper()
	Errorf(string, ...any)
	Fatalf(string, ...any)
}

// peer is the front-end's end of a connection that is being served.
type peer struct {
	t    failer
	sock *net.UnixConn
	dev  *fakeDevice
	mem  *guestmem.Memory
	stop context.CancelFunc
	done chan error
}

func serve(t failer, dev *fakeDevice, trace io.Writer) *peer {
	t.Helper()
	theirs, ours := socketPair(t)
	mem := guestmem.New()
	ctx, stop := context.WithCancel(context.Background())
	p := &peer{t: t, sock: ours, dev: dev, mem: mem, stop: stop, done: make(chan error, 1)}
	conn := NewConn(theirs, mem, dev, Options{Trace: trace})
	go func() { p.done <- conn.Serve(ctx) }()
	return p
}

func socketPair(t failer) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("socketpair: %v", err)
	}
	conv := func(fd int) *net.UnixConn {
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatalf("FileConn: %v", err)
		}
		return c.(*net.UnixConn)
	}
	return conv(fds[0]), conv(fds[1])
}

// send sends one message with descriptors, and closes those on this side.
func (p *peer) send(r Request, flags uint32, payload []byte, fds ...int) {
	p.t.Helper()
	b := append(Header{Request: r, Flags: flags, Size: uint32(len(payload))}.Append(nil), payload...)
	p.sendRaw(b, fds...)
}

func (p *peer) sendRaw(b []byte, fds ...int) {
	p.t.Helper()
	if err := p.trySend(b, fds...); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

func (p *peer) trySend(b []byte, fds ...int) error {
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_, _, err := p.sock.WriteMsgUnix(b, oob, nil)
	return err
}

// recv reads one reply.
func (p *peer) recv() (Header, []byte) {
	p.t.Helper()
	h, b, err := p.tryRecv()
	if err != nil {
		p.t.Fatalf("no reply: %v", err)
	}
	return h, b
}

// patience is how long a reply may take: one that never comes must not hang the tests.
const patience = 30 * time.Second

func (p *peer) tryRecv() (Header, []byte, error) {
	_ = p.sock.SetReadDeadline(time.Now().Add(patience))
	head := make([]byte, HeaderSize)
	if _, err := io.ReadFull(p.sock, head); err != nil {
		return Header{}, nil, err
	}
	h := DecodeHeader(head)
	if h.Flags != ReplyFlags {
		p.t.Errorf("reply to %s has flags %#x", h.Request, h.Flags)
	}
	b := make([]byte, h.Size)
	_, err := io.ReadFull(p.sock, b)
	return h, b, err
}

// call sends a message and returns the payload of its reply.
func (p *peer) call(r Request, flags uint32, payload []byte, fds ...int) []byte {
	p.t.Helper()
	p.send(r, flags, payload, fds...)
	h, b := p.recv()
	if h.Request != r {
		p.t.Fatalf("reply to %s came for %s", h.Request, r)
	}
	return b
}

// ack sends a message with NEED_REPLY and returns whether it succeeded.
func (p *peer) ack(r Request, payload []byte, fds ...int) bool {
	p.t.Helper()
	b := p.call(r, FlagVersion|FlagNeedReply, payload, fds...)
	if len(b) != 8 {
		p.t.Fatalf("ack of %s has %d bytes", r, len(b))
	}
	return DecodeU64(b) == 0
}

func (p *peer) must(r Request, payload []byte, fds ...int) {
	p.t.Helper()
	if !p.ack(r, payload, fds...) {
		p.t.Fatalf("%s was refused", r)
	}
}

func (p *peer) mustNot(r Request, payload []byte, fds ...int) {
	p.t.Helper()
	if p.ack(r, payload, fds...) {
		p.t.Fatalf("%s was accepted", r)
	}
}

// alive fails unless the connection still answers.
func (p *peer) alive() {
	p.t.Helper()
	if b := p.call(GetFeatures, FlagVersion, nil); len(b) != 8 {
		p.t.Fatalf("GET_FEATURES answers %d bytes", len(b))
	}
}

// hangUp closes this side and returns what Serve returned, having checked what it promises.
func (p *peer) hangUp() error {
	p.t.Helper()
	_ = p.sock.Close()
	err := <-p.done
	p.stop()
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	if n := len(p.dev.running); n > 0 {
		p.t.Errorf("%d queues run after Serve", n)
	}
	return err
}

// ended waits for the connection to be closed by the other side and returns Serve's error.
func (p *peer) ended() error {
	p.t.Helper()
	if _, _, err := p.tryRecv(); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		p.t.Fatalf("connection goes on: %v", err)
	}
	return p.hangUp()
}

// Descriptors of all kinds.

func eventFD(t failer) int {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatalf("eventfd: %v", err)
	}
	return fd
}

func memFD(t failer, size int64) int {
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err == nil {
		err = unix.Ftruncate(fd, size)
	}
	if err != nil {
		t.Fatalf("memfd: %v", err)
	}
	return fd
}

func pipeFD(t failer) int {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatalf("pipe: %v", err)
	}
	_ = unix.Close(p[0])
	return p[1]
}

func sockFD(t failer) int {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("socketpair: %v", err)
	}
	_ = unix.Close(p[0])
	return p[1]
}

// openPoller makes the runtime open the descriptors of its own that every socket needs.
var openPoller sync.Once

// openFDs lists what is open, by /proc.
func openFDs(t failer) []string {
	t.Helper()
	openPoller.Do(func() {
		a, b := socketPair(t)
		a.Close()
		b.Close()
	})
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatalf("%v", err)
	}
	var out []string
	for _, e := range dir {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out = append(out, e.Name()+" "+target)
		}
	}
	return out
}

// checkLeaks fails the test if it leaves more descriptors open than it found.
func checkLeaks(t *testing.T) {
	t.Helper()
	before := openFDs(t)
	t.Cleanup(func() {
		if after := openFDs(t); len(after) != len(before) {
			t.Errorf("descriptors leak: %d before, %d after:\n%s", len(before), len(after),
				strings.Join(after, "\n"))
		}
	})
}
