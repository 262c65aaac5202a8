// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// malformed are requests that no kernel sends, each in a scene of its own: a daemon may end.
var malformed = map[string]func(s *session){
	"name-without-end": func(s *session) { s.frame("lookup", s.message(frontend.OpLookup, []byte("file")), 0) },
	"empty-name":       func(s *session) { _, errno := s.Lookup(s.dir, ""); s.errno("lookup", errno) },
	"empty-new-name":   func(s *session) { _, errno := s.Mkdir(s.dir, "", 0o755, 0); s.errno("mkdir", errno) },
	"short-header":     func(s *session) { s.submit("header", make([]byte, 20), 16) },
	"no-request":       func(s *session) { s.submit("nothing", nil, 16) },
	"length-too-small": func(s *session) { s.frame("getattr", s.message(frontend.OpGetattr, make([]byte, 16)), 8) },
	"length-too-large": func(s *session) { s.frame("getattr", s.message(frontend.OpGetattr, make([]byte, 16)), 1000) },
	"length-enormous":  func(s *session) { s.frame("getattr", s.message(frontend.OpGetattr, make([]byte, 16)), 1<<31) },
	"short-body":       func(s *session) { s.frame("open", s.message(frontend.OpOpen, make([]byte, 4)), 0) },
	"xattr-too-short": func(s *session) {
		s.frame("setxattr", s.message(frontend.OpSetxattr, append(binary.NativeEndian.AppendUint64(nil, 100), "user.a\x00x"...)), 0)
	},
	"rename-one-name": func(s *session) {
		s.frame("rename", s.message(frontend.OpRename, append(binary.NativeEndian.AppendUint64(nil, s.dir), "file\x00"...)), 0)
	},
	"no-room":        func(s *session) { s.room("getattr", frontend.OpGetattr, 16, 10) },
	"no-room-header": func(s *session) { s.room("getattr", frontend.OpGetattr, 16, -8) },
	"write-too-short": func(s *session) {
		node, fh := s.file("file", unix.O_RDWR)
		m := frontend.WriteMessage(node, fh, 0, []byte("written"))
		binary.NativeEndian.PutUint32(m.Args[16:], 100)
		_, errno := s.DoVar(m, make([]byte, 8))
		s.errno("write", errno)
	},
	"write-too-long": func(s *session) {
		node, fh := s.file("file", unix.O_RDWR)
		m := frontend.WriteMessage(node, fh, 0, []byte("written"))
		binary.NativeEndian.PutUint32(m.Args[16:], 3)
		n, errno := s.DoVar(m, make([]byte, 8))
		s.errno("write", errno)
		s.say("write", "length", n)
	},
	"read-no-room": func(s *session) {
		node, fh := s.file("file", unix.O_RDWR)
		n, errno := s.DoVar(frontend.ReadMessage(node, fh, 0, 100), make([]byte, 50))
		s.errno("read", errno)
		s.say("read", "length", n)
	},
	"forget-count": func(s *session) {
		s.BatchForgetN(1000, frontend.Forgotten{Node: s.at("file"), Lookups: 1})
		_, errno := s.GetAttr(s.dir)
		s.errno("afterwards", errno)
	},
	"extension-cut-short": func(s *session) {
		s.Extensions = groupsExtension(1, 2, 3)
		binary.NativeEndian.PutUint32(s.Extensions[8:], 1000)
		_, errno := s.Mkdir(s.dir, "new", 0o755, 0)
		s.errno("mkdir", errno)
	},
	"extension-too-long": func(s *session) {
		s.Extensions = groupsExtension(1)
		binary.NativeEndian.PutUint32(s.Extensions, 4000)
		_, errno := s.Mkdir(s.dir, "new", 0o755, 0)
		s.errno("mkdir", errno)
	},
	"extension-of-nothing": func(s *session) {
		s.Extensions = make([]byte, 8)
		_, errno := s.Mkdir(s.dir, "new", 0o755, 0)
		s.errno("mkdir", errno)
	},
	"extension-unknown": func(s *session) {
		s.Extensions = []byte{16, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		_, errno := s.Mkdir(s.dir, "new", 0o755, 0)
		s.errno("mkdir", errno)
	},
	"destroy": func(s *session) {
		s.submit("destroy", s.message(frontend.OpDestroy, nil), 16)
		_, errno := s.Lookup(root, s.scene)
		s.errno("lookup", errno)
		s.restart()
	},
	"forget-root": func(s *session) {
		s.Forget(root, 1<<40)
		_, errno := s.GetAttr(root)
		s.errno("root", errno)
		s.restart()
	},
	"read-negative": func(s *session) {
		node, fh := s.file("file", unix.O_RDWR)
		s.patient("read", frontend.ReadMessage(node, fh, 1<<63, 10))
	},
	"write-negative": func(s *session) {
		node, fh := s.file("file", unix.O_RDWR)
		s.patient("write", frontend.WriteMessage(node, fh, 1<<63, []byte("x")))
	},
}

// malformedLabels are for a session with security labels.
var malformedLabels = map[string]func(s *session){
	"label-missing": func(s *session) {
		_, errno := s.Mkdir(s.dir, "new", 0o755, 0)
		s.errno("mkdir", errno)
	},
	"label-with-lookup": func(s *session) {
		s.Extensions = labelExtension("security.selinux", label)
		_, errno := s.Lookup(s.dir, "file")
		s.errno("lookup", errno)
	},
	"label-too-long": func(s *session) {
		s.Extensions = labelExtension("security.selinux", label)
		binary.NativeEndian.PutUint32(s.Extensions[8:], 1000)
		_, errno := s.Mkdir(s.dir, "new", 0o755, 0)
		s.errno("mkdir", errno)
	},
	"label-without-name": func(s *session) {
		s.Extensions = labelExtension("", label)
		_, errno := s.Mkdir(s.dir, "new", 0o755, 0)
		s.errno("mkdir", errno)
	},
}

func init() {
	for only, plays := range map[string]map[string]func(s *session){"#malformed": malformed, "#malformed-label": malformedLabels} {
		for _, name := range slices.Sorted(maps.Keys(plays)) {
			scenes = append(scenes, scene{name, plays[name], only})
		}
	}
}

// patient sends a request that may end the thread that has to answer, of which the log tells.
func (s *session) patient(what string, m frontend.Message) {
	p := s.Send(m)
	for {
		_, err := p.WaitFor(100 * time.Millisecond)
		if !errors.Is(err, frontend.ErrTimeout) {
			break
		}
		if strings.Contains(s.daemon.Log(), "panicked") {
			panic(lost{err})
		}
	}
	_, errno, err := p.Reply()
	if err != nil {
		panic(lost{err})
	}
	p.Free()
	s.errno(what, errno)
}

func (s *session) message(op frontend.Opcode, args []byte) []byte {
	return s.Frame(frontend.Message{Op: op, Node: s.dir, Args: args})
}

// frame sends a request's bytes, with another length in its header if it is not 0.
func (s *session) frame(what string, b []byte, length uint32) {
	if length != 0 {
		binary.NativeEndian.PutUint32(b, length)
	}
	s.submit(what, b, 128)
}

// room sends a request with room for a reply of so many bytes behind the header.
func (s *session) room(what string, op frontend.Opcode, args, body int) {
	s.submit(what, s.message(op, make([]byte, args)), 16+body)
}

// submit sends bytes and records what comes back.
func (s *session) submit(what string, b []byte, room int) {
	q := s.Queue(1)
	var in [][]byte
	if len(b) > 0 {
		in = append(in, b)
	}
	p := q.Submit(in, []int{room})
	n, err := p.Wait()
	if err != nil {
		panic(lost{err})
	}
	reply := make([]byte, 16)
	p.Read(reply, 0)
	p.Free()
	s.say(what, status, fmt.Sprintf("%d bytes, error %d", n, int32(binary.NativeEndian.Uint32(reply[4:]))))
	_, errno := s.GetAttr(root)
	s.errno("afterwards", errno)
}
