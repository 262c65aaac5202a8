// SPDX-License-Identifier: Apache-2.0

package vhostuser

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// The text form of a conversation, one event a line:
//
//	> SET_VRING_NUM flags=0x9 index=0 num=128     from the front-end
//	> SET_VRING_KICK flags=0x1 u64=0x0 fds=eventfd
//	< SET_VRING_NUM flags=0x5 u64=0x0             our reply
//	= StopQueue 0 base=57                         a call of the device
//	! payload has the wrong size                  the message was refused
//	> EOF                                         the front-end has hung up
//	# device: queues=2 features=0x130000000 config=none    first line: what is served
//	# anything else                               a comment
//
// Payload fields come in wire order under the names of the layouts below; what a layout does
// not cover follows as raw=hex. File descriptors are told by what they are: mem:SIZE for a
// file or memfd, eventfd (any anonymous inode), socket, pipe, other.

type field struct {
	name    string
	size    int // 4 or 8 bytes
	decimal bool
}

var (
	layoutU64    = []field{{"u64", 8, false}}
	layoutState  = []field{{"index", 4, true}, {"num", 4, true}}
	layoutAddr   = []field{{"index", 4, true}, {"vflags", 4, false}, {"desc", 8, false}, {"used", 8, false}, {"avail", 8, false}, {"log", 8, false}}
	layoutLog    = []field{{"size", 8, false}, {"offset", 8, false}}
	layoutConfig = []field{{"offset", 4, true}, {"size", 4, true}, {"cflags", 4, false}}
	layoutRegion = []field{{"gpa", 8, false}, {"size", 8, false}, {"uaddr", 8, false}, {"offset", 8, false}}
	layoutSingle = append([]field{{"pad", 8, false}}, layoutRegion...)
	layoutTable  = []field{{"n", 4, true}, {"pad", 4, false}} // then regions
)

// layoutOf names the payload fields of a request, or of the reply to it.
func layoutOf(r Request, reply bool) []field {
	switch r {
	case GetVringBase:
		return layoutState
	case GetConfig:
		return layoutConfig
	}
	if reply {
		return layoutU64
	}
	switch r {
	case SetLogBase:
		return layoutLog
	case SetVringNum, SetVringBase, SetVringEnable:
		return layoutState
	case SetVringAddr:
		return layoutAddr
	case SetConfig:
		return layoutConfig
	case SetMemTable:
		return layoutTable
	case AddMemReg, RemMemReg:
		return layoutSingle
	}
	return layoutU64
}

// formatPayload renders b under the names of layout.
func formatPayload(layout []field, b []byte) string {
	var s strings.Builder
	c := cursor{b}
	size := 0
	for _, f := range layout {
		size += f.size
	}
	if len(b) >= size {
		c.format(&s, layout)
		for isTable := len(layout) > 0 && layout[0].name == "n"; isTable && len(c.b) >= memRegionSize; {
			c.format(&s, layoutRegion)
		}
	}
	if len(c.b) > 0 {
		fmt.Fprintf(&s, " raw=%x", c.b)
	}
	return s.String()
}

func (c *cursor) format(s *strings.Builder, layout []field) {
	for _, f := range layout {
		var v uint64
		if f.size == 4 {
			v = uint64(c.u32())
		} else {
			v = c.u64()
		}
		if f.decimal {
			fmt.Fprintf(s, " %s=%d", f.name, v)
		} else {
			fmt.Fprintf(s, " %s=%#x", f.name, v)
		}
	}
}

// fdKind says what fd is, in the words of the text form.
func fdKind(fd int) string {
	if fd < 0 {
		return "none"
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "other"
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return fmt.Sprintf("mem:%#x", st.Size)
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFIFO:
		return "pipe"
	case 0:
		return "eventfd"
	}
	return "other"
}

// tracer writes the text form. A nil tracer writes nothing.
type tracer struct{ w io.Writer }

func newTracer(w io.Writer) *tracer {
	if w == nil {
		return nil
	}
	return &tracer{w}
}

func (t *tracer) device(d Device) {
	if t == nil {
		return
	}
	config := "none"
	if b := d.Config(); b != nil {
		config = fmt.Sprintf("%x", b)
	}
	fmt.Fprintf(t.w, "# device: queues=%d features=%#x config=%s\n", d.NumQueues(), d.Features(), config)
}

func (t *tracer) request(m *message) {
	if t == nil {
		return
	}
	fds := ""
	for i, fd := range m.fds {
		sep := ","
		if i == 0 {
			sep = " fds="
		}
		fds += sep + fdKind(fd)
	}
	fmt.Fprintf(t.w, "> %s flags=%#x%s%s\n", m.Request, m.Flags,
		formatPayload(layoutOf(m.Request, false), m.payload), fds)
}

func (t *tracer) reply(r Request, body []byte) {
	if t != nil {
		fmt.Fprintf(t.w, "< %s flags=%#x%s\n", r, ReplyFlags, formatPayload(layoutOf(r, true), body))
	}
}

func (t *tracer) refusal(err error) {
	if t != nil {
		fmt.Fprintf(t.w, "! %v\n", err)
	}
}

// end notes why no further message comes.
func (t *tracer) end(err error) {
	switch {
	case t == nil:
	case errors.Is(err, io.EOF):
		fmt.Fprintln(t.w, "> EOF")
	default:
		t.refusal(err)
	}
}

func (t *tracer) deviceRing(call string, i int, r Ring, err error) {
	if t == nil {
		return
	}
	failed := ""
	if err != nil {
		failed = fmt.Sprintf(" error=%q", err)
	}
	fmt.Fprintf(t.w, "= %s %s%s\n", call, formatRing(i, r), failed)
}

func formatRing(i int, r Ring) string {
	return fmt.Sprintf("%d size=%d desc=%#x avail=%#x used=%#x base=%d features=%#x log=%t,%#x kick=%s call=%s err=%s",
		i, r.Size, r.Desc, r.Avail, r.Used, r.Base, r.Features, r.LogUsed, r.LogAddr,
		fdKind(r.Kick), fdKind(r.Call), fdKind(r.Err))
}

func (t *tracer) deviceStop(i int, base uint16) {
	if t != nil {
		fmt.Fprintf(t.w, "= StopQueue %d base=%d\n", i, base)
	}
}

func (t *tracer) deviceReset() {
	if t != nil {
		fmt.Fprintln(t.w, "= Reset")
	}
}
