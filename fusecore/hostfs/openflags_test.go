// SPDX-License-Identifier: Apache-2.0

package hostfs

import (
	"fmt"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// opens are the three ways to open a file, each with the guest's flags.
var opens = map[string]func(s *share, flags int) (node, fh uint64, fopen uint32){
	"open": func(s *share, flags int) (uint64, uint64, uint32) {
		s.put("there", "")
		node := s.nodeOf("there")
		var out fuse.OpenOut
		s.ok("open", s.Open(nil, &fuse.OpenIn{InHeader: header(node), Flags: uint32(flags)}, &out))
		return node, out.Fh, out.OpenFlags
	},
	"create": func(s *share, flags int) (uint64, uint64, uint32) {
		var out fuse.CreateOut
		in := &fuse.CreateIn{InHeader: header(1), Flags: uint32(flags), Mode: 0o200}
		s.ok("create", s.Create(nil, in, "new", &out))
		return out.NodeId, out.Fh, out.OpenFlags
	},
	"tmpfile": func(s *share, flags int) (uint64, uint64, uint32) {
		var out fuse.CreateOut
		in := &fuse.CreateIn{InHeader: header(1), Flags: uint32(flags | unix.O_TMPFILE), Mode: 0o200}
		s.ok("tmpfile", s.Tmpfile(nil, in, &out))
		return out.NodeId, out.Fh, out.OpenFlags
	},
}

func fdFlags(t *testing.T, fd int) int {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags
}

// TestHostFlags: what the guest asks for reaches the host where the configuration says so, and alike
// whatever way the file is opened.
func TestHostFlags(t *testing.T) {
	for name, open := range opens {
		for _, allow := range []bool{false, true} {
			t.Run(fmt.Sprint(name, allow), func(t *testing.T) {
				s := newShare(t, Config{AllowDirectIO: allow, PreserveNoAtime: allow})
				before := fdCount(t)
				node, fh, _ := open(s, unix.O_RDWR|unix.O_DIRECT|unix.O_NOATIME|unix.O_APPEND|unix.O_SYNC)
				h, err := s.open.get(fh, node)
				if err != nil {
					t.Fatal(err)
				}
				flags := fdFlags(t, h.fd)
				if flags&(unix.O_DIRECT|unix.O_APPEND|unix.O_DSYNC) != 0 || (flags&unix.O_NOATIME != 0) != allow {
					t.Errorf("flags of the fd: %#x", flags)
				}
				if (h.direct != nil) != allow {
					t.Fatalf("opened with O_DIRECT: %v, want %v", h.direct != nil, allow)
				}
				if allow {
					if flags := fdFlags(t, h.direct.host.(*fdFile).fd); flags&unix.O_DIRECT == 0 || flags&unix.O_ACCMODE != unix.O_RDWR {
						t.Errorf("flags of the second fd: %#x", flags)
					}
				}
				h.release()
				s.directAndNot(node, fh, allow)
				s.Release(nil, &fuse.ReleaseIn{InHeader: header(node), Fh: fh})
				s.Forget(node, 1)
				if got := fdCount(t); got != before {
					t.Errorf("%d fds leaked", got-before)
				}
			})
		}
	}
}

// directAndNot writes what O_DIRECT of the host does not take: 5 bytes.
func (s *share) directAndNot(node, fh uint64, direct bool) {
	s.t.Helper()
	write := &fuse.WriteIn{InHeader: header(node), Fh: fh, Flags: unix.O_RDWR | unix.O_DIRECT}
	if direct {
		_, st := s.Write(nil, write, []byte("12345"))
		want(s.t, "a direct write that is not aligned", st, unix.EINVAL)
		_, st = s.WritevNowait(write, [][]byte{[]byte("12345")})
		want(s.t, "a direct write in the loop", st, unix.EAGAIN)
		_, st = s.ReadvNowait(&fuse.ReadIn{InHeader: header(node), Fh: fh, Flags: unix.O_DIRECT}, [][]byte{make([]byte, 5)})
		want(s.t, "a direct read in the loop", st, unix.EAGAIN)
	} else {
		_, st := s.Write(nil, write, []byte("12345"))
		s.ok("a direct write past the page cache here", st)
	}
	for name, w := range map[string]fuse.WriteIn{
		"a page that is written back": {Flags: unix.O_RDWR | unix.O_DIRECT, WriteFlags: fuse.WRITE_CACHE},
		"after fcntl(F_SETFL)":        {Flags: unix.O_RDWR},
	} {
		w.InHeader, w.Fh = header(node), fh
		_, st := s.Write(nil, &w, []byte("12345"))
		s.ok(name, st)
	}
	buf := make([]byte, 5)
	n, st := s.Readv(nil, &fuse.ReadIn{InHeader: header(node), Fh: fh, Size: 5, Flags: unix.O_RDWR}, [][]byte{buf})
	if s.ok("read", st); string(buf[:n]) != "12345" {
		s.t.Errorf("reads %q", buf[:n])
	}
}

// TestWritebackReads: with a write-back cache the guest's kernel can read through a file that was
// opened, or made, to be written to only; and appends where it says.
func TestWritebackReads(t *testing.T) {
	for name, open := range opens {
		for _, writeback := range []bool{false, true} {
			t.Run(fmt.Sprint(name, writeback), func(t *testing.T) {
				s := newShare(t, Config{Writeback: writeback})
				if got := s.InitFlags(^uint64(0))&fuse.CAP_WRITEBACK_CACHE != 0; got != writeback {
					t.Errorf("wants FUSE_WRITEBACK_CACHE: %v", got)
				}
				node, fh, fopen := open(s, unix.O_WRONLY|unix.O_APPEND)
				if fopen&fuse.FOPEN_DIRECT_IO != 0 {
					t.Errorf("FOPEN flags %#x", fopen)
				}
				in := &fuse.WriteIn{InHeader: header(node), Fh: fh, Flags: unix.O_WRONLY | unix.O_APPEND}
				for _, text := range []string{"first", "again"} {
					_, st := s.Write(nil, in, []byte(text))
					s.ok("write", st)
				}
				buf := make([]byte, 100)
				n, st := s.Readv(nil, &fuse.ReadIn{InHeader: header(node), Fh: fh, Size: 100}, [][]byte{buf})
				if !writeback {
					want(t, "read of what was opened to be written to", st, unix.EBADF)
					return
				}
				if s.ok("read", st); string(buf[:n]) != "again" {
					t.Errorf("reads %q, want what was written at 0 last", buf[:n])
				}
			})
		}
	}
}

// TestOpenRefused: what the host refuses is asked for with less, and the guest's kernel is told not to
// read where it cannot.
func TestOpenRefused(t *testing.T) {
	for name, c := range map[string]struct {
		writeback bool
		flags     uint32
		refuse    unix.Errno
		mask      int // flags that are refused
		want      []int
		err       error
		writeOnly bool
	}{
		"all is allowed":          {flags: unix.O_WRONLY | unix.O_NOATIME, want: []int{unix.O_WRONLY | unix.O_NOATIME}},
		"no owner":                {flags: unix.O_RDWR | unix.O_NOATIME, refuse: unix.EPERM, mask: unix.O_NOATIME, want: []int{unix.O_RDWR | unix.O_NOATIME, unix.O_RDWR}},
		"not readable":            {writeback: true, flags: unix.O_WRONLY, refuse: unix.EACCES, mask: unix.O_RDWR, want: []int{unix.O_RDWR, unix.O_WRONLY}, writeOnly: true},
		"readable":                {writeback: true, flags: unix.O_WRONLY, want: []int{unix.O_RDWR}},
		"not even writable":       {writeback: true, flags: unix.O_WRONLY, refuse: unix.EACCES, mask: unix.O_RDWR | unix.O_WRONLY, want: []int{unix.O_RDWR, unix.O_WRONLY}, err: unix.EACCES},
		"not writable, no cache":  {flags: unix.O_WRONLY, refuse: unix.EACCES, mask: unix.O_WRONLY, want: []int{unix.O_WRONLY}, err: unix.EACCES},
		"to be read, not allowed": {writeback: true, flags: unix.O_RDWR, refuse: unix.EACCES, mask: unix.O_RDWR, want: []int{unix.O_RDWR}, err: unix.EACCES},
	} {
		s := newShare(t, Config{Writeback: c.writeback, PreserveNoAtime: true})
		s.InitFlags(^uint64(0))
		var asked []int
		_, writeOnly, err := s.openFor(c.flags, func(host int) (int, error) {
			asked = append(asked, host)
			if host&c.mask != 0 {
				return -1, c.refuse
			}
			return 0, nil
		})
		if fmt.Sprint(asked) != fmt.Sprint(c.want) || err != c.err || writeOnly != c.writeOnly {
			t.Errorf("%s: asked for %#x, %v, write only %v; want %#x, %v, %v", name, asked, err, writeOnly, c.want, c.err, c.writeOnly)
		}
		if fopen := s.fopenOf(&handle{node: 1, writeOnly: writeOnly}); (fopen&fuse.FOPEN_DIRECT_IO != 0) != c.writeOnly {
			t.Errorf("%s: FOPEN flags %#x", name, fopen)
		}
	}
}
