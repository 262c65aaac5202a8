// SPDX-License-Identifier: Apache-2.0

package fusecore

import (
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// initWith returns INIT with the given versions and flags.
func initWith(t testing.TB, major, minor uint32, flags uint64) []byte {
	in := linuxInit
	in.Major, in.Minor = major, minor
	in.Flags, in.Flags2 = uint32(flags), uint32(flags>>32)
	return message(t, OpInit, 3, in)
}

// initReply decodes what INIT's reply says, by the names of struct fuse_init_out.
type initReply struct {
	Major, Minor, MaxReadahead, Flags  uint32
	MaxBackground, CongestionThreshold uint16
	MaxWrite, TimeGran                 uint32
	MaxPages, MapAlignment             uint16
	Flags2, MaxStackDepth              uint32
	RequestTimeout                     uint16
}

func TestInitReply(t *testing.T) {
	f := newFullRecorder()
	tt := newTester(t, f, Options{})
	const linuxFlags = 0x1ff_7bfffffb
	got := tt.send(initWith(t, 7, 41, linuxFlags), 80)
	if got.written != 80 || got.errno() != 0 {
		t.Fatalf("%d bytes, %v", got.written, got.errno())
	}
	var out initReply
	got.into(t, &out)
	want := initReply{Major: 7, Minor: 41, MaxReadahead: 0x20000, MaxBackground: 65535,
		CongestionThreshold: 49149, MaxWrite: 1 << 20, TimeGran: 1, MaxPages: 256}
	flags := supportedFlags & uint64(linuxFlags)
	want.Flags, want.Flags2 = uint32(flags), uint32(flags>>32)
	if out != want {
		t.Fatalf("INIT's reply is\n%+v, want\n%+v", out, want)
	}
	for name, bit := range map[string]uint64{"SPLICE_READ": fuse.CAP_SPLICE_READ,
		"HAS_INODE_DAX": fuse.CAP_HAS_INODE_DAX, "PASSTHROUGH": fuse.CAP_PASSTHROUGH,
		"HAS_RESEND": fuse.CAP_HAS_RESEND, "MAP_ALIGNMENT": fuse.CAP_MAP_ALIGNMENT} {
		if flags&bit != 0 {
			t.Errorf("%s is accepted, but nothing carries it out", name)
		}
	}
}

// TestInitFlags: nothing is accepted that was not offered or not wanted.
func TestInitFlags(t *testing.T) {
	for name, c := range map[string]struct{ offered, wanted, want uint64 }{
		"nothing offered":     {0, ^uint64(0), 0},
		"nothing wanted":      {0x1ff_7bfffffb, 0, transportFlags},
		"flags2 without ext":  {fuse.CAP_ALLOW_IDMAP | fuse.CAP_MAX_PAGES, ^uint64(0), fuse.CAP_MAX_PAGES},
		"one thing":           {0x1ff_7bfffffb, fuse.CAP_FLOCK_LOCKS, transportFlags | fuse.CAP_FLOCK_LOCKS},
		"wanted, not offered": {fuse.CAP_BIG_WRITES, fuse.CAP_POSIX_ACL, fuse.CAP_BIG_WRITES},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFullRecorder()
			f.wanted = c.wanted
			var out initReply
			newTester(t, f, Options{}).send(initWith(t, 7, 41, c.offered), 80).into(t, &out)
			if got := uint64(out.Flags) | uint64(out.Flags2)<<32; got != c.want {
				t.Errorf("flags %#x, want %#x", got, c.want)
			}
			if want := 256 * uint16(c.want>>22&1); out.MaxPages != want {
				t.Errorf("max_pages %d, want %d", out.MaxPages, want)
			}
		})
	}
}

// TestInitFlagsOfPlainFileSystem: one that knows nothing of INIT is not asked for what needs
// its help.
func TestInitFlagsOfPlainFileSystem(t *testing.T) {
	var out initReply
	newTester(t, newRecorder(), Options{}).send(initWith(t, 7, 41, ^uint64(0)), 80).into(t, &out)
	got := uint64(out.Flags) | uint64(out.Flags2)<<32
	if want := (defaultFlags | transportFlags) &^ uint64(fuse.CAP_CREATE_SUPP_GROUP); got != want {
		t.Errorf("flags %#x, want %#x", got, want)
	}
	for name, bit := range map[string]uint64{"ATOMIC_O_TRUNC": fuse.CAP_ATOMIC_O_TRUNC, "POSIX_LOCKS": fuse.CAP_POSIX_LOCKS,
		"CREATE_SUPP_GROUP": fuse.CAP_CREATE_SUPP_GROUP, "WRITEBACK_CACHE": fuse.CAP_WRITEBACK_CACHE,
		"ALLOW_IDMAP": fuse.CAP_ALLOW_IDMAP} {
		if got&bit != 0 {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestInitVersions(t *testing.T) {
	for _, c := range []struct {
		major, minor uint32
		errno        syscall.Errno
		reply        uint32 // minor
		live         bool
	}{
		{major: 7, minor: 26, errno: syscall.EPROTO},
		{major: 6, minor: 99, errno: syscall.EPROTO},
		{major: 7, minor: 27, reply: 27, live: true},
		{major: 7, minor: 45, reply: 45, live: true},
		{major: 7, minor: 99, reply: 45, live: true},
		{major: 8, minor: 1, reply: 45}, // to be asked again
	} {
		tt := newTester(t, newRecorder(), Options{})
		got := tt.send(initWith(t, c.major, c.minor, 0), 80)
		if got.errno() != c.errno {
			t.Errorf("%d.%d: %v, want %v", c.major, c.minor, got.errno(), c.errno)
			continue
		}
		if c.errno == 0 {
			var out initReply
			got.into(t, &out)
			if out.Major != 7 || out.Minor != c.reply {
				t.Errorf("%d.%d was answered with %d.%d", c.major, c.minor, out.Major, out.Minor)
			}
		}
		want := syscall.EIO
		if c.live {
			want = 0
		}
		if got := tt.send(message(t, OpStatfs, 4), 200).errno(); got != want {
			t.Errorf("STATFS after %d.%d: %v, want %v", c.major, c.minor, got, want)
		}
	}
}

// TestShortInit: before 7.36 INIT has 16 bytes of arguments.
func TestShortInit(t *testing.T) {
	tt := newTester(t, newFullRecorder(), Options{})
	got := tt.send(message(t, OpInit, 1, []uint32{7, 35, 0, fuse.CAP_INIT_EXT | fuse.CAP_BIG_WRITES}), 80)
	var out initReply
	got.into(t, &out)
	if out.Flags != fuse.CAP_INIT_EXT|fuse.CAP_BIG_WRITES || out.Flags2 != 0 {
		t.Fatalf("flags %#x %#x", out.Flags, out.Flags2)
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct{ set, want uint32 }{{0, 1 << 20}, {1, 4096}, {8191, 4096}, {1 << 19, 1 << 19}, {1 << 30, 1 << 20}} {
		tt := newTester(t, newRecorder(), Options{MaxWrite: c.set, TimeGran: 1000, MaxBackground: 8})
		var out initReply
		tt.init().into(t, &out)
		if out.MaxWrite != c.want || out.MaxPages != uint16(c.want/4096) {
			t.Errorf("MaxWrite %d became %d, %d pages", c.set, out.MaxWrite, out.MaxPages)
		}
		if out.TimeGran != 1000 || out.MaxBackground != 8 || out.CongestionThreshold != 6 {
			t.Errorf("reply %+v", out)
		}
	}
}

// TestLifeCycle: requests outside of a session get EIO, and each end of one resets the file
// system once.
func TestLifeCycle(t *testing.T) {
	f := newFullRecorder()
	tt := newTester(t, f, Options{})
	statfs := func(when string, want syscall.Errno) {
		t.Helper()
		if got := tt.send(message(t, OpStatfs, 4), 200).errno(); got != want {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	resets := func(when string, want int) {
		t.Helper()
		if f.resets != want {
			t.Errorf("%s: %d resets, want %d", when, f.resets, want)
		}
	}
	statfs("before INIT", syscall.EIO)
	if got := tt.send(message(t, OpForget, 5, uint64(1)), 100); got.written != 0 {
		t.Error("FORGET before INIT was answered")
	}
	if c := f.last(); c.method != "" {
		t.Errorf("%s before INIT", c.method)
	}
	tt.init()
	statfs("after INIT", 0)
	resets("after the first INIT", 0)
	tt.init()
	statfs("after the second INIT", 0)
	resets("after the second INIT", 1)
	if got := tt.send(message(t, OpDestroy, 6), 16); got.written != 16 || got.errno() != 0 {
		t.Errorf("DESTROY: %d bytes, %v", got.written, got.errno())
	}
	statfs("after DESTROY", syscall.EIO)
	resets("after DESTROY", 2)
	tt.init()
	resets("after the third INIT", 2)
	if got := tt.send(message(t, OpDestroy, 6), 0); got.written != 0 {
		t.Error("DESTROY without room was answered")
	}
	resets("after DESTROY without room", 3)
	tt.init()
	tt.s.Reset()
	statfs("after Reset", syscall.EIO)
	resets("after Reset", 4)
	tt.s.Reset()
	resets("after Reset without a session", 4)
}

// TestInline: what may block is left to a worker, untouched.
func TestInline(t *testing.T) {
	read := message(t, OpRead, 8, fuse.ReadIn{Size: 4}.Fh, uint64(0), uint32(4), make([]byte, 20))
	for name, c := range map[string]struct {
		fs    fuse.RawFileSystem
		msg   []byte
		again bool
	}{
		"without MayBlock":       {newRecorder(), message(t, OpGetattr, 2, make([]byte, 16)), true},
		"FORGET, no MayBlock":    {newRecorder(), message(t, OpForget, 2, uint64(1)), false},
		"batch, no MayBlock":     {newRecorder(), message(t, OpBatchForget, 2, uint64(0)), true},
		"unknown":                {newRecorder(), message(t, 99, 2), false},
		"malformed":              {newRecorder(), message(t, OpGetattr, 2)[:39], false},
		"may not block":          {newFullRecorder(), message(t, OpGetattr, 2, make([]byte, 16)), false},
		"may block":              {newFullRecorder(), message(t, OpStatfs, 2), true},
		"INTERRUPT":              {newFullRecorder(), message(t, OpInterrupt, 2, uint64(9)), false},
		"READ, ReadvNowait":      {newFullRecorder(), read, false},
		"READ, cold":             {&fullRecorder{recorder: newRecorder(), cold: true}, read, true},
		"READ, no ReadvNowait":   {newRecorder(), read, true},
		"INIT":                   {newFullRecorder(), initWith(t, 7, 41, 0), true},
		"INIT that is too old":   {newFullRecorder(), initWith(t, 7, 1, 0), true},
		"DESTROY":                {newFullRecorder(), message(t, OpDestroy, 2), true},
		"INIT with a cut header": {newFullRecorder(), initWith(t, 7, 41, 0)[:39], false},
	} {
		t.Run(name, func(t *testing.T) {
			tt := newStarted(t, c.fs)
			if _, again := tt.try(c.msg, 200, true); again != c.again {
				t.Errorf("again=%v", again)
			}
		})
	}
}
