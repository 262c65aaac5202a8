// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/fault"
)

// recorder are Faults that note what they are asked, and give the answer that is set.
type recorder struct {
	mu    sync.Mutex
	asked []string // "op path... offset+size"
	err   error
}

func (r *recorder) Before(op string, off, n int64, _ <-chan struct{}, paths func() []string) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := op + " " + strings.Join(paths(), " ")
	if n != 0 {
		q += fmt.Sprintf(" %d+%d", off, n)
	}
	r.asked = append(r.asked, q)
	if r.err != nil {
		return 0, r.err
	}
	return n, nil
}

// faultyShare is a share with rules.
func faultyShare(t *testing.T, rules ...string) (*share, *fault.Injector) {
	t.Helper()
	return faultyShareWith(t, Config{XAttr: true}, rules...)
}

func faultyShareWith(t *testing.T, c Config, rules ...string) (*share, *fault.Injector) {
	t.Helper()
	var parsed []fault.Rule
	for _, s := range rules {
		r, err := fault.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, r)
	}
	j := fault.New(parsed, zap.NewNop())
	t.Cleanup(j.Close)
	c.Faults = j
	return newShare(t, c), j
}

// operation is one FUSE operation of the test below and what the Faults are asked for it.
type operation struct {
	do    func() fuse.Status
	asked string // several with ";" between them
}

// operations are all of them, on a share with the directory d, the files d/f and d/g and the link l.
func (s *share) operations() []operation {
	h := func(node uint64) *fuse.InHeader { x := header(node); return &x }
	d := s.nodeOf("d")
	f, g, l := s.lookupAt(d, "f").NodeId, s.lookupAt(d, "g").NodeId, s.nodeOf("l")
	fh, gh, dh := s.openFile(f, unix.O_RDWR), s.openFile(g, unix.O_RDWR), s.openDirectory(d)
	entry := new(fuse.EntryOut)
	data := [][]byte{make([]byte, 3), make([]byte, 7)}
	dir := func() (*fuse.ReadIn, *fuse.DirEntryList) {
		return &fuse.ReadIn{InHeader: header(d), Fh: dh, Size: 4096}, fuse.NewDirEntryList(make([]byte, 4096), 0)
	}
	setAttr := func(in fuse.SetAttrInCommon) func() fuse.Status {
		in.InHeader = header(f)
		return func() fuse.Status { return s.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: in}, new(fuse.AttrOut)) }
	}
	return []operation{
		{func() fuse.Status { return s.Lookup(nil, h(d), "f", entry) }, "lookup /d/f"},
		{func() fuse.Status { return s.Lookup(nil, h(1), "d", entry) }, "lookup /d"},
		{func() fuse.Status { _, st := s.attrOf(f); return st }, "getattr /d/f"},
		{func() fuse.Status { _, st := s.attrOf(1); return st }, "getattr /"},
		{func() fuse.Status { return s.Statx(nil, &fuse.StatxIn{InHeader: header(f)}, new(fuse.StatxOut)) }, "getattr /d/f"},
		{func() fuse.Status { return s.Access(nil, &fuse.AccessIn{InHeader: header(f)}) }, "access /d/f"},
		{func() fuse.Status { _, st := s.Readlink(nil, h(l)); return st }, "readlink /l"},
		{func() fuse.Status { return s.StatFs(nil, h(1), new(fuse.StatfsOut)) }, "statfs /"},
		{func() fuse.Status { return s.SyncFs(nil, h(1)) }, "syncfs /"},
		{func() fuse.Status { return s.SyncFs(nil, h(d)) }, "syncfs /d"},
		{setAttr(fuse.SetAttrInCommon{Valid: fuse.FATTR_MODE, Mode: 0o600}), "setattr /d/f"},
		{setAttr(fuse.SetAttrInCommon{Valid: fuse.FATTR_SIZE, Size: 20}), "setattr /d/f;truncate /d/f 20+9223372036854775787"},
		{setAttr(fuse.SetAttrInCommon{Valid: fuse.FATTR_SIZE | fuse.FATTR_FH, Fh: fh, Size: 10}), "setattr /d/f;truncate /d/f 10+9223372036854775797"},
		{func() fuse.Status { return s.Open(nil, &fuse.OpenIn{InHeader: header(f)}, new(fuse.OpenOut)) }, "open /d/f"},
		{func() fuse.Status {
			_, st := s.Readv(nil, &fuse.ReadIn{InHeader: header(f), Fh: fh, Offset: 5, Size: 10}, data)
			return st
		}, "read /d/f 5+10;read /d/f 10+5"},
		{func() fuse.Status {
			_, st := s.Writev(nil, &fuse.WriteIn{InHeader: header(f), Fh: fh, Offset: 8, Size: 10}, data)
			return st
		}, "write /d/f 8+10"},
		{func() fuse.Status {
			return s.Lseek(nil, &fuse.LseekIn{InHeader: header(f), Fh: fh, Whence: unix.SEEK_END}, new(fuse.LseekOut))
		}, "seek /d/f"},
		{func() fuse.Status {
			return s.Fallocate(nil, &fuse.FallocateIn{InHeader: header(f), Fh: fh, Offset: 4, Length: 9})
		}, "fallocate /d/f 4+9"},
		{func() fuse.Status {
			_, st := s.CopyFileRange(nil, &fuse.CopyFileRangeIn{InHeader: header(f), FhIn: fh, OffIn: 1, NodeIdOut: g, FhOut: gh, OffOut: 2, Len: 3})
			return st
		}, "copy /d/g 2+3"},
		{func() fuse.Status { return s.Flush(nil, &fuse.FlushIn{InHeader: header(f), Fh: fh}) }, "flush /d/f"},
		{func() fuse.Status {
			return s.SetLk(nil, &fuse.LkIn{InHeader: header(f), Fh: fh, Lk: fuse.FileLock{End: 1, Typ: unix.F_WRLCK}})
		}, "setlk /d/f"},
		{func() fuse.Status {
			return s.SetLkw(nil, &fuse.LkIn{InHeader: header(f), Fh: fh, Lk: fuse.FileLock{End: 1, Typ: unix.F_RDLCK}})
		}, "setlk /d/f"},
		{func() fuse.Status {
			return s.GetLk(nil, &fuse.LkIn{InHeader: header(f), Fh: fh, Lk: fuse.FileLock{End: 1, Typ: unix.F_RDLCK}}, new(fuse.LkOut))
		}, "getlk /d/f"},
		{func() fuse.Status { return s.Fsync(nil, &fuse.FsyncIn{InHeader: header(f), Fh: fh}) }, "fsync /d/f"},
		{func() fuse.Status { return s.OpenDir(nil, &fuse.OpenIn{InHeader: header(d)}, new(fuse.OpenOut)) }, "opendir /d"},
		{func() fuse.Status { in, out := dir(); return s.ReadDir(nil, in, out) }, "readdir /d"},
		{func() fuse.Status { in, out := dir(); return s.ReadDirPlus(nil, in, out) }, "readdir /d"},
		{func() fuse.Status { return s.FsyncDir(nil, &fuse.FsyncIn{InHeader: header(d), Fh: dh}) }, "fsyncdir /d"},
		{func() fuse.Status {
			return s.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: header(f)}, "user.a", []byte("v"))
		}, "setxattr /d/f"},
		{func() fuse.Status { _, st := s.GetXAttr(nil, h(f), "user.a", make([]byte, 9)); return st }, "getxattr /d/f"},
		{func() fuse.Status { _, st := s.ListXAttr(nil, h(f), make([]byte, 99)); return st }, "listxattr /d/f"},
		{func() fuse.Status { return s.RemoveXAttr(nil, h(f), "user.a") }, "removexattr /d/f"},
		{func() fuse.Status {
			return s.Mkdir(nil, &fuse.MkdirIn{InHeader: header(d), Mode: 0o755}, "sub", entry)
		}, "mkdir /d/sub"},
		{func() fuse.Status {
			return s.Mknod(nil, &fuse.MknodIn{InHeader: header(1), Mode: unix.S_IFIFO | 0o600}, "fifo", entry)
		}, "mknod /fifo"},
		{func() fuse.Status { return s.Symlink(nil, h(d), "target", "link", entry) }, "symlink /d/link"},
		{func() fuse.Status {
			return s.Link(nil, &fuse.LinkIn{InHeader: header(1), Oldnodeid: f}, "hard", entry)
		}, "link /d/f /hard"},
		{func() fuse.Status {
			return s.Create(nil, &fuse.CreateIn{InHeader: header(d), Flags: unix.O_RDWR, Mode: 0o644}, "new", new(fuse.CreateOut))
		}, "create /d/new"},
		{func() fuse.Status { // of a file that is there
			return s.Create(nil, &fuse.CreateIn{InHeader: header(d), Flags: unix.O_RDWR, Mode: 0o644}, "new", new(fuse.CreateOut))
		}, "create /d/new"},
		{func() fuse.Status {
			return s.Tmpfile(nil, &fuse.CreateIn{InHeader: header(d), Flags: unix.O_TMPFILE | unix.O_RDWR, Mode: 0o644}, new(fuse.CreateOut))
		}, "tmpfile /d"},
		{func() fuse.Status {
			return s.Rename(nil, &fuse.RenameIn{InHeader: header(d), Newdir: 1}, "new", "moved")
		}, "rename /d/new /moved"},
		{func() fuse.Status { return s.Unlink(nil, h(1), "moved") }, "unlink /moved"},
		{func() fuse.Status { return s.Rmdir(nil, h(d), "sub") }, "rmdir /d/sub"},
	}
}

// Every operation asks, once, before the host is touched, and fails as it is told. Together they
// are all that rules can name.
func TestEveryOperationAsksForFaults(t *testing.T) {
	r := new(recorder)
	s := newShare(t, Config{Faults: r, XAttr: true, PosixLocks: true})
	if err := os.Mkdir(s.path("d"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.put("d/f", "0123456789")
	s.put("d/g", "0123456789")
	if err := os.Symlink("d", s.path("l")); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, o := range s.operations() {
		r.asked, r.err = nil, unix.EXFULL // which nothing else says
		want(t, o.asked+" with a fault", o.do(), unix.EXFULL)
		first, _, _ := strings.Cut(o.asked, ";")
		if len(r.asked) != 1 || r.asked[0] != first {
			t.Errorf("asked %q, want %q", r.asked, first)
		}
		r.asked, r.err = nil, nil
		want(t, o.asked, o.do(), 0)
		if got := strings.Join(r.asked, ";"); got != o.asked {
			t.Errorf("asked %q, want %q", got, o.asked)
		}
		for _, q := range r.asked {
			op, _, _ := strings.Cut(q, " ")
			seen[op] = true
		}
	}
	for _, op := range fault.Operations() {
		if !seen[op] {
			t.Errorf("no operation asks for %s", op)
		}
		delete(seen, op)
	}
	if len(seen) > 0 {
		t.Errorf("rules cannot name %v", seen)
	}
}

func (s *share) write(f fuse.CreateOut, off uint64, data string) (uint32, fuse.Status) {
	in := &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh, Offset: off, Size: uint32(len(data))}
	half := len(data) / 2
	return s.Writev(nil, in, [][]byte{[]byte(data[:half]), []byte(data[half:])})
}

func (s *share) read(f fuse.CreateOut, off uint64, size int) (string, fuse.Status) {
	buf := make([]byte, size)
	half := size / 2
	in := &fuse.ReadIn{InHeader: header(f.NodeId), Fh: f.Fh, Offset: off, Size: uint32(size)}
	n, st := s.Readv(nil, in, [][]byte{buf[:half], buf[half:]})
	return string(buf[:n]), st
}

func TestFaultyWrites(t *testing.T) {
	for _, tt := range []struct {
		rule  string
		n     uint32 // of the write of 8 bytes at 2
		errno unix.Errno
		host  string // what the file holds then, 10 dots before
	}{
		{"write error=EIO", 0, unix.EIO, ".........."},
		{"write path=/f error=EDQUOT", 0, unix.EDQUOT, ".........."},
		{"write path=/g error=EIO", 8, 0, "..abcdefgh"},
		{"write short=5", 8, 0, "..abcdefgh"}, // asked for the rest
		{"write short=0", 0, unix.EIO, ".........."},
		{"write short=3 error=EIO", 3, 0, "..abc....."},
		{"write range=6+1 error=EIO", 4, 0, "..abcd...."},
		{"write range=2+1 error=EIO", 0, unix.EIO, ".........."},
		{"write range=0+2 error=EIO", 8, 0, "..abcdefgh"},
		{"write range=10+ error=EIO", 8, 0, "..abcdefgh"},
		{"write delay=1ms", 8, 0, "..abcdefgh"},
		{"fsync error=EIO", 8, 0, "..abcdefgh"},
	} {
		s, _ := faultyShare(t, tt.rule)
		f := s.createFile("f", unix.O_RDWR)
		s.put("f", "..........")
		n, st := s.write(f, 2, "abcdefgh")
		if n != tt.n || st != fuse.Status(tt.errno) || s.text("f") != tt.host {
			t.Errorf("%s: %d, %v, the host has %q; want %d, %v, %q", tt.rule, n, st, s.text("f"), tt.n, tt.errno, tt.host)
		}
	}
}

func TestFaultyReads(t *testing.T) {
	for _, tt := range []struct {
		rule  string
		errno unix.Errno
		data  string // of the read of 6 bytes at 2
	}{
		{"read error=EIO", unix.EIO, ""},
		{"read short=5", 0, "234567"}, // asked for the rest
		{"read short=1", 0, "234567"},
		{"read short=0", 0, ""},
		{"read short=3 error=EIO", unix.EIO, ""},
		{"read range=7+1 error=EIO", unix.EIO, ""},
		{"read range=2+1 error=EIO", unix.EIO, ""},
		{"read range=8+1 error=EIO", 0, "234567"},
	} {
		s, _ := faultyShare(t, tt.rule)
		f := s.createFile("f", unix.O_RDWR)
		s.put("f", "0123456789")
		if got, st := s.read(f, 2, 6); got != tt.data || st != fuse.Status(tt.errno) {
			t.Errorf("%s: %q, %v; want %q, %v", tt.rule, got, st, tt.data, tt.errno)
		}
	}
}

func TestFaultyCopies(t *testing.T) {
	for rule, want := range map[string]string{"copy path=/to short=3": "012", "copy range=4+1 error=EIO": "0123", "copy path=/from error=EIO": "0123456789"} {
		s, _ := faultyShare(t, rule)
		from, to := s.createFile("from", unix.O_RDWR), s.createFile("to", unix.O_RDWR)
		s.put("from", "0123456789")
		in := &fuse.CopyFileRangeIn{InHeader: header(from.NodeId), FhIn: from.Fh, NodeIdOut: to.NodeId, FhOut: to.Fh, Len: 10}
		n, st := s.CopyFileRange64(nil, in)
		if int(n) != len(want) || !st.Ok() || s.text("to") != want {
			t.Errorf("%s: %d, %v, %q; want %q", rule, n, st, s.text("to"), want)
		}
	}
}

// A file goes by the path that it has now; one without, by the last that it had.
func TestPathsOfFaults(t *testing.T) {
	r := new(recorder)
	s := newShare(t, Config{Faults: r})
	d := s.mkdir(1, "d")
	f := s.createFile("f", unix.O_RDWR)
	marked := s.createFile("g (deleted)", unix.O_RDWR)
	path := func(f fuse.CreateOut) string {
		r.asked = nil
		s.ok("flush", s.Flush(nil, &fuse.FlushIn{InHeader: header(f.NodeId), Fh: f.Fh}))
		return strings.TrimPrefix(r.asked[0], "flush ")
	}
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return nil }, "/f"},
		{func() error { return os.Rename(s.path("f"), s.path("d/x")) }, "/d/x"},
		{func() error { return os.Rename(s.path("d"), s.path("e")) }, "/e/x"},
		{func() error { return os.Remove(s.path("e/x")) }, "/e/x"},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := path(f); got != step.want {
			t.Errorf("path %s, want %s", got, step.want)
		}
	}
	if got := path(marked); got != "/g (deleted)" {
		t.Errorf("path %s of a file with that name", got)
	}
	r.asked = nil
	h := header(d)
	s.Lookup(nil, &h, "nothing", new(fuse.EntryOut))
	if !slices.Equal(r.asked, []string{"lookup /e/nothing"}) {
		t.Errorf("asked %q", r.asked)
	}
	// Out of the share there is no path.
	outside := t.TempDir()
	if err := os.Rename(s.path("e"), outside+"/e"); err != nil {
		t.Fatal(err)
	}
	r.asked = nil
	s.Lookup(nil, &h, "nothing", new(fuse.EntryOut))
	if !slices.Equal(r.asked, []string{"lookup "}) {
		t.Errorf("asked %q", r.asked)
	}
}

// The share's own path makes no difference: through a link, or the root of all.
func TestPathsOfFaultsInOtherRoots(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	r := new(recorder)
	s := newShare(t, Config{Root: dir + "/link", Faults: r})
	s.nodeOf("link")
	s = newShare(t, Config{Root: "/", Faults: r})
	proc := s.nodeOf("proc")
	s.lookupAt(proc, "version")
	if want := []string{"lookup /link", "lookup /proc", "lookup /proc/version"}; !slices.Equal(r.asked, want) {
		t.Errorf("asked %q, want %q", r.asked, want)
	}
}

// Files have their paths also after their fds were given up.
func TestPathsOfFaultsOfColdFiles(t *testing.T) {
	r := new(recorder)
	s := newShare(t, Config{Faults: r, FDBudget: 2})
	d := s.mkdir(1, "d")
	var nodes []uint64
	for i := range 20 {
		s.put(fmt.Sprintf("d/%d", i), "")
		nodes = append(nodes, s.lookupAt(d, fmt.Sprint(i)).NodeId)
	}
	for i, n := range nodes {
		r.asked = nil
		_, st := s.attrOf(n)
		s.ok("getattr", st)
		if want := fmt.Sprintf("getattr /d/%d", i); !slices.Equal(r.asked, []string{want}) {
			t.Errorf("asked %q, want %q", r.asked, want)
		}
	}
}

// With faults nothing is carried out where it may not wait, but FORGET.
func TestFaultsMayBlock(t *testing.T) {
	s, _ := faultyShare(t, "any delay=1ns")
	for op := uint32(1); op < 60; op++ {
		if want := op != opForget && op != opBatchForget; s.MayBlock(op) != want {
			t.Errorf("MayBlock(%d) is not %v", op, want)
		}
	}
	f := s.createFile("f", unix.O_RDWR)
	_, st := s.ReadvNowait(&fuse.ReadIn{InHeader: header(f.NodeId), Fh: f.Fh, Size: 1}, [][]byte{make([]byte, 1)})
	want(t, "read in place", st, unix.EAGAIN)
}

// Each way of a request to the Faults takes the request's cancel along.
func TestHangsEndWithTheRequest(t *testing.T) {
	s, j := faultyShare(t, "write,mkdir,open hang")
	f := s.createFile("f", unix.O_RDWR)
	for name, do := range map[string]func(cancel <-chan struct{}) fuse.Status{
		"mkdir": func(c <-chan struct{}) fuse.Status {
			return s.Mkdir(c, &fuse.MkdirIn{InHeader: header(1)}, "d", new(fuse.EntryOut))
		},
		"open": func(c <-chan struct{}) fuse.Status {
			return s.Open(c, &fuse.OpenIn{InHeader: header(f.NodeId)}, new(fuse.OpenOut))
		},
		"write": func(c <-chan struct{}) fuse.Status {
			_, st := s.Writev(c, &fuse.WriteIn{InHeader: header(f.NodeId), Fh: f.Fh}, [][]byte{{1}})
			return st
		},
	} {
		cancel, done := make(chan struct{}), make(chan fuse.Status)
		go func() { done <- do(cancel) }()
		for j.Hanging() == 0 {
			select {
			case st := <-done:
				t.Fatalf("%s does not hang: %v", name, st)
			case <-time.After(time.Millisecond):
			}
		}
		close(cancel)
		want(t, name, <-done, unix.EINTR)
	}
	if s.text("f") != "" {
		t.Error("the write was done nevertheless")
	}
}

// Without faults the question costs no memory.
func TestNoFaultsNoAllocation(t *testing.T) {
	s := newShare(t, Config{})
	f := s.createFile("f", unix.O_RDWR)
	h, _ := s.open.file(f.Fh, f.NodeId)
	defer h.release()
	if _, plain := h.host.(*fdFile); !plain {
		t.Errorf("the host file is a %T", h.host)
	}
	if n := testing.AllocsPerRun(100, func() {
		if s.fault(nil, "rename", at{3, "a"}, at{4, "b"}) != nil || s.faultNode(nil, "open", f.NodeId) != nil {
			t.Error("a fault")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
