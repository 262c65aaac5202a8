// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// scmMaxFD is the most fds that one sendmsg carries (SCM_MAX_FD, Linux include/net/scm.h).
const scmMaxFD = 253

// Each message with as many fds as the kernel takes, once with the message and once with each byte of
// it, and again and again the messages whose fds are kept.
func TestFDFloods(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	assault(t, func(t *testing.T, d *daemon, sock string) {
		v := villainOn(t, sock)
		defer v.leave()
		v.setUp()
		idle := d.usage().fds
		many := slices.Repeat([]int{int(null.Fd())}, scmMaxFD)
		for req := range frontend.Request(45) {
			for _, b := range [][]byte{nil, frontend.U64(1), make([]byte, 16), make([]byte, 40)} {
				if req == frontend.SetLogBase {
					continue // a refusal ends the connection, as there is no reply that could say it
				}
				if !v.say(req, b, many...) {
					t.Fatalf("message %d: the connection ended", req)
				}
			}
		}
		long := frontend.Frame(frontend.SetMemTable, frontend.FlagVersion, 264, make([]byte, 264))
		for i := range long {
			if err := v.conn.SendBytes(long[i:i+1], many...); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 3000 {
			i := uint64(n % 4)
			v.say(frontend.SetVringKick, frontend.U64(i), v.kicks[0], v.kicks[1])
			v.say(frontend.SetVringCall, frontend.U64(i), v.calls[0])
			v.say(frontend.SetVringErr, frontend.U64(i), v.calls[0])
			v.say(frontend.SetLogFD, nil, v.calls[0])
			v.say(frontend.SetBackendReqFD, nil, v.fd)
			v.say(frontend.AddMemReg, frontend.MemReg(v.region()), int(v.file.Fd()))
			v.say(frontend.SetMemTable, frontend.MemTable(v.region()), int(v.file.Fd()))
		}
		d.until("no more fds than rings can have", func() bool { return d.usage().fds <= idle+65*3+8 })
	})
}

// A VMM that asks and never listens: what the daemon would say stands still, and so does that VMM.
func TestDeafVMM(t *testing.T) {
	assault(t, func(t *testing.T, d *daemon, sock string) {
		c, err := frontend.Dial(sock, 300*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for n := 0; ; n++ {
			if err := c.Tell(frontend.GetFeatures, nil); err != nil {
				break // nothing more fits
			}
			if n > 1_000_000 {
				t.Fatal("the daemon takes questions without end")
			}
		}
		time.Sleep(200 * time.Millisecond) // for the other guest to notice, if it would
	})
}

// A dirty log of a byte or three, at odd offsets, for ever anew, then of a file that is gone, then in the
// middle of the rings; the guest goes on.
func TestTinyLog(t *testing.T) {
	getattr := frontend.Samples(1, 0, 0)["GETATTR"].Bytes()
	assault(t, func(t *testing.T, d *daemon, sock string) {
		v := readyVillain(t, sock)
		defer v.leave()
		v.say(frontend.SetFeatures, frontend.U64(frontend.FeatureVersion1|frontend.FeatureProtocolFeatures|frontend.FeatureLogAll))
		log, err := frontend.Memfd("log", 1<<20, false)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		logTo := func(file *os.File, n uint64) {
			v.say(frontend.SetLogBase, append(frontend.U64(1+n%3), frontend.U64(n*7)...), int(file.Fd()))
			a := ringAt(1)
			a.Flags, a.Log = frontend.VringLog, ^uint64(0)-n
			v.say(frontend.SetVringAddr, a.Bytes())
			v.request(1, frontend.OpGetattr, getattr, 200)
		}
		v.waits = patience
		for n := range uint64(200) {
			logTo(log, n)
		}
		if v.deaf[1] {
			t.Fatalf("the guest got no answer while its writes were logged\n%s", tail(d.output()))
		}
		v.waits = time.Millisecond
		for n := range uint64(200) {
			logTo(v.file, n)
		}
		logTo(log, 0)
		log.Truncate(0)
		for range 10 {
			v.request(1, frontend.OpGetattr, getattr, 200)
		}
	})
}

// Resets, owners, stops and starts without end while requests are in flight; queues are threads.
func TestResetsInLoops(t *testing.T) {
	assault(t, func(t *testing.T, d *daemon, sock string) {
		v := villainOn(t, sock)
		defer v.leave()
		v.waits = 0
		v.setUp()
		for n := range uint32(600) {
			v.request(int(1+n%2), frontend.OpStatfs, frontend.Samples(1, 0, 0)["STATFS"].Bytes(), 200)
			switch n % 6 {
			case 0:
				v.say(frontend.ResetDevice, nil)
			case 1:
				v.say(frontend.SetOwner, nil)
				v.say(frontend.AddMemReg, frontend.MemReg(v.region()), int(v.file.Fd()))
			case 2:
				v.say(frontend.GetVringBase, frontend.VringState(1, 0))
			case 3:
				v.say(frontend.SetVringEnable, frontend.VringState(2, n&1))
			case 4:
				v.say(frontend.SetFeatures, frontend.U64(frontend.FeatureVersion1)) // enables all 65
			}
			for i := range uint32(rings) {
				v.startRing(i)
			}
		}
	})
}

// Guest memory is taken away, moved and given back while requests run on it.
func TestMemoryMoves(t *testing.T) {
	assault(t, func(t *testing.T, d *daemon, sock string) {
		v := readyVillain(t, sock)
		defer v.leave()
		v.waits = 0
		fd := int(v.file.Fd())
		half := v.region()
		half.Size /= 2
		upper := half
		upper.GPA, upper.UserAddr, upper.Offset = half.Size, half.UserAddr+half.Size, half.Size
		away := v.region()
		away.GPA = 1 << 40
		for n := range 1500 {
			v.request(1+n%2, frontend.OpRead, frontend.Samples(1, 0, 4000)["READDIRPLUS"].Bytes(), 4096)
			switch n % 5 {
			case 0:
				v.say(frontend.SetMemTable, frontend.MemTable(half, upper), fd, fd)
			case 1:
				v.say(frontend.SetMemTable, frontend.MemTable(v.region()), fd)
			case 2:
				v.say(frontend.RemMemReg, frontend.MemReg(v.region()))
			case 3:
				v.say(frontend.SetMemTable, frontend.MemTable(away), fd)
			case 4:
				v.say(frontend.SetMemTable, frontend.MemTable(v.region(), away), fd, fd)
			}
		}
	})
}

// Kick and call fds of kinds that no VMM would give, some of which never stop being readable and some
// of which never take a byte.
func TestOddFDs(t *testing.T) {
	pipe := fdPair(t, func(p []int) error { return unix.Pipe2(p, unix.O_CLOEXEC) })
	for unix.SetNonblock(pipe[1], true); ; {
		if _, err := unix.Write(pipe[1], make([]byte, 4096)); err != nil {
			break // full
		}
	}
	unix.SetNonblock(pipe[1], false) // a write would wait
	socks := fdPair(t, func(p []int) (err error) {
		var s [2]int
		s, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		copy(p, s[:])
		return err
	})
	endless := make(chan struct{})
	defer close(endless)
	go flood(socks[1], endless)
	zero, err := os.OpenFile("/dev/zero", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epoll)
	assault(t, func(t *testing.T, d *daemon, sock string) {
		v := readyVillain(t, sock)
		defer v.leave()
		odd := []int{pipe[0], pipe[1], socks[0], int(zero.Fd()), epoll, v.fd, int(v.file.Fd())}
		for _, kick := range odd {
			for _, call := range odd {
				v.say(frontend.SetVringKick, frontend.U64(1), kick)
				v.say(frontend.SetVringCall, frontend.U64(1), call)
				v.deaf[1] = false
				v.request(1, frontend.OpGetattr, frontend.Samples(1, 0, 0)["GETATTR"].Bytes(), 200)
			}
		}
	})
}

func fdPair(t *testing.T, open func(fds []int) error) []int {
	t.Helper()
	fds := []int{-1, -1}
	if err := open(fds); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	return fds
}

// flood keeps fd full until stop is closed.
func flood(fd int, stop <-chan struct{}) {
	b := make([]byte, 64<<10)
	for {
		select {
		case <-stop:
			return
		default:
		}
		if err := unix.Sendto(fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil); err != nil {
			time.Sleep(50 * time.Microsecond)
		}
	}
}
