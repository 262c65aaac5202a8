// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"encoding/binary"
	"net"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// programSeeds are programs of each kind of step.
func programSeeds() (seeds [][]byte) {
	const ready = setUpRings | setUpSession
	request := func(kind string, node, handle, name byte) []byte {
		return []byte{stepRequest, byte(slices.Index(requestNames, kind)), node, handle, 1, name, 32, 0}
	}
	opened := slices.Concat([]byte{ready}, request("CREATE", 0, 0, 0), request("WRITE", 0, 0, 0))
	for _, kind := range requestNames {
		seeds = append(seeds, slices.Concat(opened, request(kind, 0, 0, 0), request(kind, 1, 1, 1)))
	}
	looked := []byte{ready}
	for name := range names {
		looked = append(looked, request("LOOKUP", byte(name), 0, byte(name))...)
		looked = append(looked, request("OPEN", 0, 0, 0)...)
	}
	seeds = append(seeds, looked, append([]byte{ready | setUpRace}, opened[1:]...))
	for kind := range byte(20) {
		value := []byte{stepMessage, kind, 1, 1, 2, 3, 0}
		seeds = append(seeds, slices.Concat(opened, value, request("READ", 0, 0, 0), []byte{stepMessage, 0, 1, 0, 0, 0, 0}, request("GETATTR", 0, 0, 0)))
	}
	waits := request("GETLK", 0, 0, 0)
	waits[1], waits[7] = byte(slices.Index(requestNames, "GETLK")), 2 // becomes SETLKW twice
	waits = append(waits, 4, 0, byte(frontend.OpGetlk^frontend.OpSetlkw), 40+16, 0, 0)
	return append(seeds,
		slices.Concat(opened, waits, waits, []byte{stepMessage, 8, 1, 0, 0, 0, 0}),
		slices.Concat(opened, []byte{stepChain, 1, 3, 0, 1, 1, 0, 0, 1, 0, 40, 0, 0, 0, 1, 3, 2, 0, 2, 0, 0, 16, 0, 0, 0, 2, 4, 0, 0, 3, 0, 0, 32, 0, 0, 0, 0}),
		slices.Concat(opened, []byte{stepWrite, 0, 1, 4, 1, 2, 3, 4, stepIndex, 1, 0, 0x80, stepTruncate, 0, 1}),
		[]byte{0, stepRaw, 1, 8, 0, 0, 0, stepRaw, 5, 8, 0, 0xff, 8, 1, 0, 0, 0, 0, 0, 0, 0},
	)
}

// A piece of FuzzSocket's input is what is sent at once: the number of fds, their kinds, and bytes, as
// many as their header says or all.

// sendPieces sends pieces until they end or the connection does.
func (v *villain) sendPieces(b []byte) {
	for len(b) > 0 {
		n := min(int(b[0]%5), len(b)-1)
		var fds []int
		for _, kind := range b[1 : 1+n] {
			fds = append(fds, v.anyFD(kind&3))
		}
		b = b[1+n:]
		size := len(b)
		if len(b) >= 12 {
			if says := binary.NativeEndian.Uint32(b[8:]); says <= 4096 {
				size = min(size, 12+int(says))
			}
		}
		if size == 0 || v.conn.SendBytes(b[:size], fds...) != nil {
			return
		}
		b = b[size:]
	}
}

// recordings are the sessions of the VMMs that we know, as pieces.
func recordings(f testing.TB, h *host) (seeds [][]byte) {
	f.Helper()
	for _, vmm := range []frontend.VMM{frontend.QEMU11, frontend.QEMU72, frontend.CloudHypervisor, frontend.Crosvm, frontend.Libkrun, frontend.UML61} {
		daemon, done := h.serve(h.share(f.TempDir()))
		pair, far, err := frontend.Pair()
		if err != nil {
			f.Fatal(err)
		}
		tape, ended := make(chan []byte, 1), make(chan struct{})
		go record(far, daemon, tape, ended)
		vm, err := frontend.New(pair, frontend.Options{VMM: vmm, Memory: []frontend.MemSpec{{Size: 4 << 20}}, Fail: func(err error) { f.Fatal(err) }})
		if err != nil {
			f.Fatal(err)
		}
		vm.Start().MustInit()
		vm.Stop()
		vm.Cont()
		vm.Reset()
		vm.Start().MustInit()
		vm.Close()
		seeds = append(seeds, <-tape)
		<-ended
		h.ended(done)
	}
	return seeds
}

// record stands between a VMM and a daemon and writes down what the VMM says.
func record(vmm *net.UnixConn, daemon int, tape chan<- []byte, ended chan<- struct{}) {
	defer close(ended)
	defer unix.Close(daemon)
	back := make(chan struct{})
	go func() {
		defer close(back)
		var b [8192]byte
		for {
			n, err := unix.Read(daemon, b[:])
			if err != nil || n == 0 {
				return
			}
			vmm.Write(b[:n])
		}
	}()
	var said []byte
	for {
		b, fds, err := hear(vmm)
		if err != nil {
			break
		}
		said = append(append(append(said, byte(len(fds))), kindsOf(fds)...), b...)
		var with []byte
		if len(fds) > 0 {
			with = unix.UnixRights(fds...)
		}
		unix.Sendmsg(daemon, b, with, nil, 0)
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	vmm.Close()
	unix.Shutdown(daemon, unix.SHUT_RDWR)
	<-back
	tape <- said
}

// hear reads one message. What is read at once may have several, and fds of the last one only.
func hear(vmm *net.UnixConn) (b []byte, fds []int, err error) {
	b = make([]byte, 12)
	oob := make([]byte, 4096)
	for done := 0; done < len(b); {
		n, oobn, _, _, err := vmm.ReadMsgUnix(b[done:], oob)
		if err != nil {
			return nil, fds, err
		}
		fds = append(fds, rights(oob[:oobn])...)
		if done += n; done == 12 {
			b = append(b, make([]byte, binary.NativeEndian.Uint32(b[8:]))...)
		}
	}
	return b, fds, nil
}

func rights(oob []byte) (fds []int) {
	msgs, _ := unix.ParseSocketControlMessage(oob)
	for i := range msgs {
		more, _ := unix.ParseUnixRights(&msgs[i])
		fds = append(fds, more...)
	}
	return fds
}

// kindsOf are the numbers by which anyFD gives fds of the same kind.
func kindsOf(fds []int) (kinds []byte) {
	for _, fd := range fds {
		var st unix.Stat_t
		unix.Fstat(fd, &st)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			kinds = append(kinds, 0)
		case unix.S_IFSOCK:
			kinds = append(kinds, 2)
		default:
			kinds = append(kinds, 1)
		}
	}
	return kinds
}

// TestSeedsReachTheFiles: what the fuzzer starts from gets as far as the host's files.
func TestSeedsReachTheFiles(t *testing.T) {
	h := newHost(t)
	scene := newScene(t)
	fd, done := h.serve(h.share(scene.share))
	v := newVillain(t, fd)
	v.waits = patience
	v.run(programSeeds()[slices.Index(requestNames, "READ")])
	v.leave()
	h.ended(done)
	if b, err := os.ReadFile(scene.share + "/sample"); err != nil || string(b) != "data" {
		t.Errorf("the file has %q, %v; want what the program writes", b, err)
	}
	for i, tape := range recordings(t, h) {
		if len(tape) < 500 {
			t.Errorf("recording %d has %d bytes", i, len(tape))
		}
	}
}
