// SPDX-License-Identifier: Apache-2.0

package virtqueue

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The fds of a ring come from the VMM, which shares them with us and keeps them: they may be of any
// kind, in any mode, and in use by others. Nothing here waits on one, and O_NONBLOCK stays as it is,
// being a property that is shared, too.

// one is what an eventfd takes, and what other kinds get.
var one = [8]byte{1}

// fileType returns the S_IFMT bits of fd's mode: 0 for eventfds and other anonymous inodes.
func fileType(fd int) (uint32, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return st.Mode & unix.S_IFMT, nil
}

// notifier tells the other side of an fd that something has happened.
type notifier struct {
	fd     int // -1: nobody to tell
	socket bool
	blocks bool // a write might wait
}

func newNotifier(fd int) (notifier, error) {
	if fd < 0 {
		return notifier{fd: -1}, nil
	}
	typ, err := fileType(fd)
	if err != nil {
		return notifier{}, err
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return notifier{}, os.NewSyscallError("fcntl", err)
	}
	return notifier{
		fd: fd, socket: typ == unix.S_IFSOCK, blocks: flags&unix.O_NONBLOCK == 0,
	}, nil
}

// notify writes once. An fd that takes nothing now is full of notifications already, and one that
// never will is the VMM's loss: errors are of no use.
func (n notifier) notify() {
	switch {
	case n.fd < 0:
	case n.socket:
		_ = unix.Send(n.fd, one[:], unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	case n.blocks && !writable(n.fd):
	default:
		_, _ = unix.Write(n.fd, one[:])
	}
}

func writable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(p, 0)
	return n == 1 && err == nil && p[0].Revents&unix.POLLOUT != 0
}

// kicker is the fd by which the driver wakes the loop. It is watched edge-triggered: each write to it
// is an event, read or not. An eventfd is therefore never read, and nobody who reads it at the same
// time can make us wait; a pipe or a socket is emptied, lest it fill up.
type kicker struct {
	fd   int
	kind uint32 // file type
}

var noKick = kicker{fd: -1}

func newKicker(fd int) (kicker, error) {
	if fd < 0 {
		return noKick, nil
	}
	kind, err := fileType(fd)
	return kicker{fd, kind}, err
}

// drain empties the fd without waiting. Of a socket that is filled as fast it takes a part.
func (k kicker) drain() {
	var buf [512]byte
	switch {
	case k.fd < 0:
	case k.kind == unix.S_IFSOCK:
		for range 1000 {
			n, _, err := unix.Recvfrom(k.fd, buf[:], unix.MSG_DONTWAIT)
			if n < len(buf) || err != nil {
				return
			}
		}
	case k.kind == unix.S_IFIFO:
		// TIOCINQ is FIONREAD. What is counted can be read at once, unless the VMM takes its own kicks away meanwhile.
		n, err := unix.IoctlGetInt(k.fd, unix.TIOCINQ)
		for err == nil && n > 0 {
			var got int
			got, err = unix.Read(k.fd, buf[:min(n, len(buf))])
			if got <= 0 {
				return
			}
			n -= got
		}
	}
}

func (k kicker) unwatch(epfd int) {
	if k.fd < 0 {
		return
	}
	// It may have been closed against the rules; then the kernel has removed it.
	_ = unix.EpollCtl(epfd, unix.EPOLL_CTL_DEL, k.fd, nil)
}

// watch adds fd to the epoll set, edge-triggered.
func watch(epfd, fd int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("virtqueue: kick fd: %w", os.NewSyscallError("epoll_ctl", err))
	}
	return nil
}

// wakeUp writes to an eventfd of ours.
func wakeUp(fd int) {
	if _, err := unix.Write(fd, one[:]); err != nil && !errors.Is(err, unix.EAGAIN) {
		panic(fmt.Sprintf("virtqueue: eventfd: %v", err))
	}
}

// drainEventfd resets an eventfd of ours.
func drainEventfd(fd int) {
	var buf [8]byte
	_, _ = unix.Read(fd, buf[:])
}
