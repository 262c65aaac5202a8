// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// warnPrivate tells of the mistake that shows in nothing else: the front-end has passed a file with
// guest memory, but uses a private copy of it (QEMU: a memory backend with share=off), so the rings
// look empty for ever and the guest waits. It is looked up once a connection, in the front-end's list
// of mappings; where that may not be read, nothing is said.
func (c *Conn) warnPrivate(r MemRegion) {
	if c.peerSeen {
		return
	}
	c.peerSeen = true
	pid := c.ch.peer()
	if pid <= 0 {
		return
	}
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return
	}
	defer maps.Close()
	if private(maps, r.UserAddr) {
		c.log.Error("The guest's memory is not shared: the VMM uses a private copy, and nothing that the guest writes arrives here. "+
			"QEMU: -object memory-backend-memfd,share=on,... with -machine memory-backend=...; libvirt: <access mode='shared'/> in <memoryBacking>",
			zap.Int("vmm", pid))
	}
}

// private tells whether the mapping at addr in a list of mappings (proc_pid_maps(5)) is private.
func private(maps io.Reader, addr uint64) bool {
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uint64
		var perms string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &perms); n == 3 && from <= addr && addr < to {
			return strings.HasSuffix(perms, "p")
		}
	}
	return false
}

// peer is the process at the other end; 0 if it is not known, as from another PID namespace.
func (ch *channel) peer() int {
	raw, err := ch.sock.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}
