// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// neighbour is a guest of the same process that does honest work all the while, and notes how long it
// has to wait.
type neighbour struct {
	t    *testing.T
	stop chan struct{}
	done sync.WaitGroup

	// Written by the goroutines, read after done.
	slowest time.Duration // of its requests
	late    time.Duration // by which a plain sleep was too long: the machine's own doing
	served  int
	failed  error
}

// mostWait is how long a guest may be kept waiting by another one.
const mostWait = time.Second

// newNeighbour starts a guest's work on a socket.
func newNeighbour(t *testing.T, sock string) *neighbour {
	t.Helper()
	n := &neighbour{t: t, stop: make(chan struct{})}
	vm, err := frontend.Connect(sock, frontend.Options{
		Memory: []frontend.MemSpec{{Size: 8 << 20}}, Timeout: patience, Fail: func(err error) { panic(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	g := vm.Start()
	g.MustInit()
	f, errno := g.Create(frontend.RootID, "neighbour", unix.O_RDWR, 0o600, 0)
	if errno != 0 {
		t.Fatalf("CREATE: %v", errno)
	}
	n.done.Go(func() {
		defer vm.Close()
		defer func() {
			if r := recover(); r != nil {
				n.failed = r.(error)
			}
		}()
		n.work(g, f.NodeId, f.Fh)
	})
	n.done.Go(n.watchClock)
	return n
}

func (n *neighbour) stopped() bool {
	select {
	case <-n.stop:
		return true
	default:
		return false
	}
}

func (n *neighbour) work(g *frontend.Driver, node, fh uint64) {
	data := make([]byte, 8192)
	for ; !n.stopped(); n.served++ {
		begin := time.Now()
		g.GetAttr(frontend.RootID)
		g.Lookup(frontend.RootID, "nothing has this name")
		g.Write(node, fh, 0, data)
		g.Read(node, fh, 0, data)
		g.Flush(node, fh, 0)
		n.slowest = max(n.slowest, time.Since(begin))
		time.Sleep(2 * time.Millisecond)
	}
}

func (n *neighbour) watchClock() {
	for !n.stopped() {
		const nap = 5 * time.Millisecond
		begin := time.Now()
		time.Sleep(nap)
		n.late = max(n.late, time.Since(begin)-nap)
	}
}

// check ends the work and judges. On a machine that is late with everything the limit is as much later.
func (n *neighbour) check() {
	n.t.Helper()
	close(n.stop)
	n.done.Wait()
	n.t.Logf("the other guest: %d rounds, slowest %v, the machine late by %v", n.served, n.slowest, n.late)
	if n.failed != nil {
		n.t.Fatalf("the other guest: %v", n.failed)
	}
	if n.served == 0 || n.slowest > mostWait+5*n.late {
		n.t.Errorf("the other guest waited %v for a round of requests, %d rounds", n.slowest, n.served)
	}
}
