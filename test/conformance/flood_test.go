// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	virtiofs "github.com/virtiofsd-go/virtiofsd-go"
	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// logLines is a log of info and above.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logLines) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// serveLogged is serve with a log.
func serveLogged(t testing.TB, fs fuse.RawFileSystem) (fd int, done chan error, lines *logLines) {
	t.Helper()
	lines = &logLines{}
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(lines), zap.InfoLevel)
	fd, conn, err := frontend.Pair()
	if err != nil {
		t.Fatal(err)
	}
	done = make(chan error, 1)
	go func() {
		done <- virtiofs.ServeConn(context.Background(), conn, fs, virtiofs.Options{Logger: zap.New(core)})
	}()
	return fd, done, lines
}

// TestRequestsInFlight: a guest has more in flight that waits for the host than is kept: requests of
// thousands of buffers each. Its queue waits, which is told of once, and all are answered in the end.
func TestRequestsInFlight(t *testing.T) {
	const buffers, requests = 4096, 400
	checkLeaks(t)
	fs := newSlowFS()
	fd, done, lines := serveLogged(t, fs)
	vm, err := frontend.New(fd, frontend.Options{
		RingSize: buffers, Timeout: patience, Fail: func(err error) { t.Helper(); t.Fatal(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, vm: vm, done: done}
	defer g.powerOff()
	defer fs.release()
	g.boot()
	b := newBench(g, buffers)
	f := g.Frame(frontend.Message{Op: frontend.OpFsync, Node: root, Args: make([]byte, 16)})
	copy(vm.RAM.Slice(b.in, uint64(len(f))), f)
	b.entry(0, frontend.Desc{Addr: b.in, Len: uint32(len(f)), Flags: next, Next: 1})
	for i := range uint16(buffers - 1) {
		b.entry(int(i)+1, frontend.Desc{Addr: b.out, Len: 64, Flags: writable | next, Next: i + 2})
	}
	b.entry(buffers-1, frontend.Desc{Addr: b.out, Len: 64, Flags: writable})

	var pending []*frontend.Pending
	for range requests { // all with one table, which costs the guest nothing
		head := b.q.TakeHead()
		b.q.SetDesc(head, frontend.Desc{Addr: b.table, Len: buffers * frontend.DescSize, Flags: indirect})
		pending = append(pending, b.q.Push(head))
	}
	const line = "more requests in flight"
	waitFor(t, "a queue that waits", func() bool { return lines.count(line) > 0 })
	// What is held: the workers' and those before them, not the others.
	if n := int(fs.entered.Load()); n > 64 {
		t.Errorf("%d requests are at work, want 64 at most", n)
	}
	fs.release()
	for i, p := range pending {
		if n, err := p.Wait(); err != nil || n != 16 {
			t.Fatalf("request %d: %d bytes, %v", i, n, err)
		}
	}
	if n := lines.count(line); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
}

// checkFew checks that the log has a line, but no more than a few for each second since start.
func (l *logLines) checkFew(t testing.TB, line string, start time.Time) {
	t.Helper()
	most := 5 * (int(time.Since(start)/time.Second) + 2)
	if n := l.count(line); n == 0 || n > most {
		t.Errorf("%q: %d lines, want 1 to %d", line, n, most)
	}
}

// floods is how often something is done wrong that is to be logged a few times.
const floods = 2000

// TestLogFloodByVMM: messages that make no sense.
func TestLogFloodByVMM(t *testing.T) {
	checkLeaks(t)
	start := time.Now()
	fd, done, lines := serveLogged(t, newSlowFS())
	c, err := frontend.NewConn(fd, patience)
	if err != nil {
		t.Fatal(err)
	}
	b := &bare{Conn: c, t: t, done: done}
	defer b.hangUp()
	noRing := []byte{99, 0, 0, 0, 0, 0, 0, 0}
	for range floods {
		if b.ack(frontend.SetVringNum, noRing) == nil {
			t.Fatal("SET_VRING_NUM of ring 99 is carried out")
		}
	}
	if !b.answers() {
		t.Error("the connection has ended")
	}
	lines.checkFew(t, "message refused", start)
}

// TestLogFloodByGuest: chains that make no sense.
func TestLogFloodByGuest(t *testing.T) {
	checkLeaks(t)
	start := time.Now()
	fd, done, lines := serveLogged(t, newSlowFS())
	vm, err := frontend.New(fd, frontend.Options{Timeout: patience, Fail: func(err error) { t.Helper(); t.Fatal(err) }})
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, vm: vm, done: done}
	defer g.powerOff()
	g.boot()
	q := g.Client.Queue()
	head := q.TakeHead()
	q.SetDesc(head, frontend.Desc{Addr: 1 << 60, Len: 8}) // where there is no memory
	for range floods {
		if n, err := q.Push(head).Wait(); err != nil || n != 0 {
			t.Fatalf("a chain nowhere: %d bytes, %v", n, err)
		}
	}
	lines.checkFew(t, "dropped a malformed request", start)
}
