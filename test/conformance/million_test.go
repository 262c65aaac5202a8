// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

const (
	treeDirs    = 1000 // directories of the tree, and
	filesPerDir = 1000 // files in each: a million
	lookupDepth = 64   // LOOKUPs in flight
)

func dirName(i int) string  { return fmt.Sprintf("directory-%04d", i) }
func fileName(i int) string { return fmt.Sprintf("file-%06d", i) }

// makeTree makes the tree on the host, on two CPUs, and takes it away at the end.
func makeTree(t *testing.T) string {
	t.Helper()
	top, err := os.MkdirTemp("", "million-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		inParallel(func(i int) error { return os.RemoveAll(filepath.Join(top, dirName(i))) })
		os.RemoveAll(top)
	})
	if err := inParallel(func(i int) error { return fillDir(filepath.Join(top, dirName(i))) }); err != nil {
		t.Fatal(err)
	}
	return top
}

// inParallel does f for every directory of the tree and returns an error of one of them.
func inParallel(f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	for w := range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := w; i < treeDirs; i += 2 {
				if err := f(i); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	wg.Wait()
	close(errs)
	return <-errs
}

func fillDir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	fd, err := unix.Open(path, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for i := range filesPerDir {
		if err := unix.Mknodat(fd, fileName(i), unix.S_IFREG|0o644, 0); err != nil {
			return err
		}
	}
	return nil
}

// known are the nodes that the guest knows: one for each file, in the tree's order.
type known struct {
	dirs  []uint64
	files []uint64
}

// lookUpAll looks up every file of the first dirs directories, many at a time.
func (p *process) lookUpAll(dirs int) *known {
	p.t.Helper()
	k := &known{files: make([]uint64, dirs*filesPerDir)}
	type sent struct {
		p *frontend.Pending
		i int
	}
	var queue []sent
	take := func() {
		s := queue[0]
		queue = queue[1:]
		_, errno, err := s.p.Reply()
		if err != nil || errno != 0 {
			p.t.Fatalf("LOOKUP of file %d: %v, %v", s.i, errno, err)
		}
		var node [8]byte
		s.p.Read(node[:], 16)
		k.files[s.i] = binary.NativeEndian.Uint64(node[:])
		s.p.Free()
	}
	for d := range dirs {
		k.dirs = append(k.dirs, p.lookup(root, dirName(d)))
		for f := range filesPerDir {
			if len(queue) == lookupDepth {
				take()
			}
			m := frontend.Message{Op: frontend.OpLookup, Node: k.dirs[d], Names: []string{fileName(f)}, Out: 128}
			queue = append(queue, sent{p.Send(m), d*filesPerDir + f})
		}
		for len(queue) > 0 {
			take()
		}
	}
	return k
}

// checkSome looks at every nth file: the node that is known still is that file, also if the
// daemon had to close it meanwhile.
func (p *process) checkSome(k *known, nth int) {
	p.t.Helper()
	for i := 0; i < len(k.files); i += nth {
		name := fileName(i % filesPerDir)
		a, errno := p.GetAttr(k.files[i])
		ok(p.t, "GETATTR of a known file", errno)
		var st unix.Stat_t
		if err := unix.Stat(p.path(dirName(i/filesPerDir), name), &st); err != nil {
			p.t.Fatal(err)
		}
		if a.Ino != st.Ino {
			p.t.Fatalf("node %d is inode %d, the host's is %d", k.files[i], a.Ino, st.Ino)
		}
		if again := p.lookup(k.dirs[i/filesPerDir], name); again != k.files[i] {
			p.t.Fatalf("LOOKUP of a known file: node %d, was %d", again, k.files[i])
		}
		f, errno := p.Open(k.files[i], unix.O_RDONLY)
		ok(p.t, "OPEN of a known file", errno)
		ok(p.t, "RELEASE", p.Release(k.files[i], f.Fh, 0))
		p.Forget(k.files[i], 1)
	}
}

func (p *process) forgetAll(k *known) {
	var batch []frontend.Forgotten
	for i, n := range append(append([]uint64(nil), k.files...), k.dirs...) {
		batch = append(batch, frontend.Forgotten{Node: n, Lookups: 1})
		if len(batch) == 1000 || i == len(k.files)+len(k.dirs)-1 {
			p.BatchForget(batch...)
			batch = batch[:0]
		}
	}
}

// A million files known at once, under a hard limit of 20,000 open files: all can be used, at
// 200 bytes each at most.
func TestMillionFiles(t *testing.T) {
	begin := time.Now()
	top := makeTree(t)
	t.Logf("the host made the tree in %v", time.Since(begin))
	bin := buildServer(t)
	const nofile = 20_000
	p := startProcess(t, bin, "-dir", top, "-nofile", fmt.Sprint(nofile))
	p.dir = top
	before := p.memory()
	k := p.lookUpAll(treeDirs)
	t.Logf("the guest knew all of it after %v", time.Since(begin))
	growth := p.memory() - before
	perInode := float64(growth) / float64(len(k.files)+len(k.dirs))
	t.Logf("%d inodes: %.1f bytes each, %d open files", len(k.files)+len(k.dirs), perInode, len(p.fds()))
	if perInode > 200 {
		t.Errorf("%.1f bytes an inode, want 200 at most", perInode)
	}
	if n := len(p.fds()); n > nofile {
		t.Errorf("%d open files", n)
	}
	p.checkSome(k, 997)
	p.forgetAll(k)
	if n := len(p.fds()); n > 200 {
		t.Errorf("%d open files after all were forgotten", n)
	}
	want(t, "GETATTR of a forgotten file", second(p.GetAttr(k.files[0])), syscall.ESTALE)
	p.powerOff()

	// The same without the capability for file handles: known files are found again by parent
	// and name.
	p = startProcess(t, bin, "-dir", top, "-nofile", "3000", "-no-handles")
	p.dir = top
	k = p.lookUpAll(100)
	if n := len(p.fds()); n > 3000 {
		t.Errorf("%d open files", n)
	}
	p.checkSome(k, 97)
}
