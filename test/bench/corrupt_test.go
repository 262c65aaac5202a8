// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	virtiofs "github.com/virtiofsd-go/virtiofsd-go"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
)

// inProcess is a daemon in this process.
type inProcess struct {
	stop context.CancelFunc
	done chan error
}

func (s *inProcess) Pids() []int  { return []int{os.Getpid()} }
func (s *inProcess) Close() error { s.stop(); return <-s.done }
func (s *inProcess) Kill()        { s.stop() }

// serveIn makes a target of a file system that wrap makes of the shared directory.
func serveIn(wrap func(fuse.RawFileSystem) fuse.RawFileSystem) target {
	return target{name: "wrapped", start: func(share, socket string) (server, time.Duration, error) {
		fs, err := hostfs.New(hostfs.Config{Root: share})
		if err != nil {
			return nil, 0, err
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
		if err != nil {
			return nil, 0, err
		}
		ctx, stop := context.WithCancel(context.Background())
		s := &inProcess{stop: stop, done: make(chan error, 1)}
		go func() {
			err := virtiofs.Serve(ctx, l, wrap(fs), virtiofs.Options{})
			fs.Close()
			s.done <- err
		}()
		return s, time.Millisecond, nil
	}}
}

// liar does wrong what its functions do; those that are nil are right.
type liar struct {
	fuse.RawFileSystem
	read    func(off uint64, b []byte) []byte
	write   func(data []byte) []byte // nil: it is dropped
	getattr func(*fuse.Attr)
	lookup  func(*fuse.EntryOut)
	readdir func(calls int64, in *fuse.ReadIn)
	calls   atomic.Int64
}

func (l *liar) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	r, st := l.RawFileSystem.Read(cancel, in, buf)
	if st != fuse.OK || l.read == nil {
		return r, st
	}
	b, st := r.Bytes(buf)
	return fuse.ReadResultData(l.read(in.Offset, append([]byte(nil), b...))), st
}

func (l *liar) Writev(cancel <-chan struct{}, in *fuse.WriteIn, bufs [][]byte) (uint32, fuse.Status) {
	if l.write == nil {
		return l.RawFileSystem.Writev(cancel, in, bufs)
	}
	if data := l.write(bytes.Join(bufs, nil)); data != nil {
		l.RawFileSystem.Writev(cancel, in, [][]byte{data})
	}
	return in.Size, fuse.OK
}

func (l *liar) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	st := l.RawFileSystem.GetAttr(cancel, in, out)
	if l.getattr != nil {
		l.getattr(&out.Attr)
	}
	return st
}

func (l *liar) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	st := l.RawFileSystem.Lookup(cancel, h, name, out)
	if l.lookup != nil && strings.HasPrefix(name, "name-") {
		l.lookup(out)
	}
	return st
}

func (l *liar) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if n := l.calls.Add(1); l.readdir != nil {
		l.readdir(n, in)
	}
	return l.RawFileSystem.ReadDirPlus(cancel, in, out)
}

// TestLiesAreFound: a daemon that gives or keeps the wrong thing fails its cell, and so the run.
func TestLiesAreFound(t *testing.T) {
	flip := func(at int) func(uint64, []byte) []byte {
		return func(_ uint64, b []byte) []byte { b[at%len(b)] ^= 1; return b }
	}
	for _, tt := range []struct {
		name, workload, want string
		lie                  *liar
	}{
		{"truth", "randread4k,getattr,lookup,relookup,open,smallfile,readdirplus-cold,readdirplus-warm,randwrite4k,mix4k,seqread128k,seqwrite1m,behind-fsync", "", &liar{}},
		{"first bit", "randread4k", "wrong data", &liar{read: flip(0)}},
		{"last bit", "seqread128k", "wrong data", &liar{read: flip(128*kib - 1)}},
		{"a bit between the stamps", "randread4k", "wrong data", &liar{read: flip(1000)}},
		{"short", "seqread128k", "READ: 130560 bytes, want 131072", &liar{read: func(_ uint64, b []byte) []byte { return b[:len(b)-512] }}},
		{"stale", "mix4k", "wrong data", &liar{write: func([]byte) []byte { return nil }}},
		{"not written", "randwrite4k", "on the host: wrong data", &liar{write: func([]byte) []byte { return nil }}},
		{"half written", "seqwrite1m", "on the host: wrong data", &liar{write: func(b []byte) []byte { return b[:len(b)/2] }}},
		{"small file spoilt", "smallfile", "wrong data", &liar{write: func(b []byte) []byte { b[2048] ^= 4; return b }}},
		{"size", "getattr", "GETATTR of name-", &liar{getattr: func(a *fuse.Attr) { a.Size++ }}},
		{"inode", "lookup", "LOOKUP of name-", &liar{lookup: func(e *fuse.EntryOut) { e.Ino++ }}},
		{"node", "relookup", "node", &liar{lookup: anotherNode()}},
		{"entries left out", "readdirplus-cold", "READDIRPLUS", &liar{readdir: func(n int64, in *fuse.ReadIn) {
			if n%3 == 2 {
				in.Offset = 1<<63 - 1 // beyond the end
			}
		}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cells := runLiar(t, tt.workload, tt.lie)
			for _, c := range cells {
				switch {
				case c.Daemon == floorName:
				case tt.want == "" && c.Failed != "":
					t.Errorf("%s: %s", c.Workload, c.Failed)
				case !strings.Contains(c.Failed, tt.want):
					t.Errorf("%s: failed with %q, want %q", c.Workload, c.Failed, tt.want)
				}
			}
			r := Result{Cells: cells}
			if got := len(r.failures()) > 0; got != (tt.want != "") {
				t.Errorf("failures: %v", r.failures())
			}
		})
	}
}

// anotherNode says of each second look that the name is another file.
func anotherNode() func(e *fuse.EntryOut) {
	var n atomic.Int64
	return func(e *fuse.EntryOut) {
		if n.Add(1) > 64 {
			e.NodeId ^= 1
		}
	}
}

// TestStop: who ends the benchmark early finds nothing left behind.
func TestStop(t *testing.T) {
	stop, dir := make(chan struct{}), t.TempDir()
	close(stop)
	ws, err := choose("getattr")
	if err != nil {
		t.Fatal(err)
	}
	p := plan{
		workloads: ws, dirs: []string{dir}, rounds: 1000, time: time.Millisecond, size: 8 * mib, names: 64, say: t.Logf, stop: stop,
		targets: []target{serveIn(func(fs fuse.RawFileSystem) fuse.RawFileSystem { return fs })},
	}
	if _, err := p.runAll(); !errors.Is(err, errStopped) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func runLiar(t *testing.T, list string, l *liar) []*Cell {
	t.Helper()
	ws, err := choose(list)
	if err != nil {
		t.Fatal(err)
	}
	p := plan{
		workloads: ws, depths: []int{1, 4}, dirs: []string{t.TempDir()}, rounds: 1,
		time: 5 * time.Millisecond, size: 8 * mib, names: 64, say: t.Logf,
		targets: []target{serveIn(func(fs fuse.RawFileSystem) fuse.RawFileSystem { l.RawFileSystem = fs; return l })},
	}
	cells, err := p.runAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(cells) == 0 {
		t.Fatal("nothing was run")
	}
	return cells
}
