// SPDX-License-Identifier: Apache-2.0

// Package sockdiag finds out which process holds the unix socket at a path. It asks the kernel by
// netlink (linux/unix_diag.h) and does not connect: a connection, however short, is an event for
// a server that serves one client.
package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Socket is a live socket that is bound to a path.
type Socket struct {
	Inode     uint32 // its number in sockfs, as in /proc/PID/fd: "socket:[N]"
	Listening bool   // false: bound only, such as a datagram socket
	UID       int    // the user who made it; -1 when the kernel does not say (before Linux 5.3)
	Holders   []Holder
}

// Holder is a process that has the socket open.
type Holder struct {
	PID  int
	Comm string // the process name, at most 15 bytes (TASK_COMM_LEN)
}

// String says who holds the socket, for an error message.
func (s Socket) String() string {
	if len(s.Holders) > 0 {
		h := s.Holders[0]
		return fmt.Sprintf("process %d (%s)", h.PID, h.Comm)
	}
	if s.UID >= 0 {
		return fmt.Sprintf("a process of user %d that we may not look into", s.UID)
	}
	return "a process that we may not look into"
}

// Find looks for the live socket that is bound to the socket file at path. ok is false when there
// is none: the file is stale. The kernel answers for the caller's network namespace only, so a
// holder in another one is not seen. Holders has the processes that the caller may look into.
func Find(path string) (s Socket, ok bool, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Socket{}, false, fmt.Errorf("sockdiag: %s: %w", path, err)
	}
	all, err := dump()
	if err != nil {
		return Socket{}, false, fmt.Errorf("sockdiag: asking the kernel for unix sockets: %w", err)
	}
	i := slices.IndexFunc(all, func(r record) bool { return r.boundTo(path, &st) })
	if i < 0 {
		return Socket{}, false, nil
	}
	r := all[i]
	s = Socket{Inode: r.inode, Listening: r.state == stateListen, UID: r.uid}
	s.Holders, err = holders(r.inode)
	return s, true, err
}

// Numbers of linux/unix_diag.h, linux/sock_diag.h and net/tcp_states.h.
const (
	sockDiagByFamily = 20 // SOCK_DIAG_BY_FAMILY

	stateClose  = 7  // TCP_CLOSE: bound but not listening, all datagram sockets
	stateListen = 10 // TCP_LISTEN

	showName = 0x01 // UDIAG_SHOW_NAME
	showVFS  = 0x02 // UDIAG_SHOW_VFS
	showUID  = 0x40 // UDIAG_SHOW_UID

	attrName = 0 // UNIX_DIAG_NAME
	attrVFS  = 1 // UNIX_DIAG_VFS
	attrUID  = 7 // UNIX_DIAG_UID

	sizeofMsg = 16 // struct unix_diag_msg
	sizeofVFS = 8  // struct unix_diag_vfs
)

// request is struct unix_diag_req. The library's own request and its parser are not used: the
// parser swaps family and type, and so loses every socket after the first that is not a stream.
type request struct{}

func (request) Len() int { return 24 }

func (r request) Serialize() []byte {
	b := make([]byte, r.Len())
	b[0] = unix.AF_UNIX                                                // sdiag_family; protocol and pad stay 0
	binary.NativeEndian.PutUint32(b[4:], 1<<stateListen|1<<stateClose) // udiag_states
	binary.NativeEndian.PutUint32(b[12:], showName|showVFS|showUID)    // udiag_show
	binary.NativeEndian.PutUint64(b[16:], math.MaxUint64)              // udiag_cookie: any (INET_DIAG_NOCOOKIE)
	return b
}

// dump returns all listening or merely bound unix sockets of the network namespace.
func dump() ([]record, error) {
	var msgs [][]byte
	var err error
	// The kernel says when the table changed during the walk; the next walk is another chance.
	for range 5 {
		req := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		req.AddData(request{})
		msgs, err = req.Execute(unix.NETLINK_SOCK_DIAG, sockDiagByFamily)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	var all []record
	for _, m := range msgs {
		r, err := parse(m)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// record is one socket of the kernel's answer.
type record struct {
	inode  uint32
	state  uint8
	name   string // as given to bind: may be relative; "" for unbound and abstract sockets
	hasVFS bool   // bound to a file: vfsIno and vfsDev say which
	vfsIno uint32 // the low 32 bits of the inode number
	vfsDev uint32 // the kernel's own dev_t: major<<20 | minor
	uid    int
}

// parse reads one struct unix_diag_msg and its attributes.
func parse(b []byte) (record, error) {
	if len(b) < sizeofMsg {
		return record{}, fmt.Errorf("answer of %d bytes is too short", len(b))
	}
	r := record{state: b[2], inode: binary.NativeEndian.Uint32(b[4:]), uid: -1}
	attrs, err := nl.ParseRouteAttr(b[sizeofMsg:])
	if err != nil {
		return record{}, err
	}
	for _, a := range attrs {
		switch {
		case a.Attr.Type == attrName && len(a.Value) > 0 && a.Value[0] != 0:
			r.name = unix.ByteSliceToString(a.Value)
		case a.Attr.Type == attrVFS && len(a.Value) >= sizeofVFS:
			r.hasVFS = true
			r.vfsIno = binary.NativeEndian.Uint32(a.Value)
			r.vfsDev = binary.NativeEndian.Uint32(a.Value[4:])
		case a.Attr.Type == attrUID && len(a.Value) >= 4:
			r.uid = int(binary.NativeEndian.Uint32(a.Value))
		}
	}
	return r, nil
}

// boundTo tells whether the socket is bound to the file at path with attributes st. The inode
// number has to agree, and besides it the device or the file's name: stat reports another device
// than the kernel's own on btrfs subvolumes and overlayfs.
func (r record) boundTo(path string, st *unix.Stat_t) bool {
	if !r.hasVFS || r.vfsIno != uint32(st.Ino) {
		return false
	}
	dev := unix.Major(st.Dev)<<20 | unix.Minor(st.Dev)
	return r.vfsDev == dev || filepath.Base(r.name) == filepath.Base(path)
}
