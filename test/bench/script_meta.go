// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/test/frontend"
)

// args are the bytes of a request structure behind its header (struct fuse_in_header: 40 bytes).
func args[In any](in *In) []byte { return frontend.Wire(in)[40:] }

// room is the size of a reply's structure.
func room[Out any]() int {
	var out Out
	return len(frontend.Wire(&out))
}

// names is the directory of many names, and what the guest knows of it.
type names struct {
	t     *tree
	c     *frontend.Client
	dir   uint64
	nodes []uint64 // of all names, if they were looked up
	at    int64
}

// openNames looks the directory up, and with all set every name in it.
func openNames(s *session, c *frontend.Client, all bool) (names, error) {
	n := names{t: s.tree, c: c}
	e, errno := c.Lookup(frontend.RootID, namesDir)
	if errno != 0 {
		return n, fmt.Errorf("LOOKUP of %s: %w", namesDir, errno)
	}
	n.dir = e.NodeId
	for i, name := range s.tree.names {
		if !all {
			break
		}
		e, errno := c.Lookup(n.dir, name)
		if errno != 0 {
			return n, fmt.Errorf("LOOKUP of %s: %w", name, errno)
		}
		if err := n.check("LOOKUP", int64(i), &e.Attr); err != nil {
			return n, err
		}
		n.nodes = append(n.nodes, e.NodeId)
	}
	return n, nil
}

// take is the number of the next name to use.
func (n *names) take() int64 {
	n.at++
	return scatter(n.at, int64(len(n.t.names)))
}

// check holds attributes against those of the i-th name.
func (n *names) check(op string, i int64, a *fuse.Attr) error {
	if a.Ino != n.t.inos[i] || a.Size != uint64(i) || a.Mode != syscall.S_IFREG|0o644 {
		return fmt.Errorf("%s of %s: inode %d, size %d, mode %#o; want %d, %d, %#o",
			op, n.t.names[i], a.Ino, a.Size, a.Mode, n.t.inos[i], i, syscall.S_IFREG|0o644)
	}
	return nil
}

// getattrScript asks for attributes of known files.
type getattrScript struct{ names }

func (g *getattrScript) first(s *slot) frontend.Message {
	s.block = g.take()
	var in fuse.GetAttrIn
	return frontend.Message{Op: frontend.OpGetattr, Node: g.nodes[s.block], Args: args(&in), Out: room[fuse.AttrOut]()}
}

func (g *getattrScript) next(s *slot, r reply) (m frontend.Message, more bool, err error) {
	var out fuse.AttrOut
	if err = body(r, "GETATTR", &out); err == nil {
		err = g.check("GETATTR", s.block, &out.Attr)
	}
	return m, false, err
}

// lookupScript looks a name up and forgets it: a new file each time, or one that stays known.
type lookupScript struct{ names }

func (l *lookupScript) first(s *slot) frontend.Message {
	s.block = l.take()
	return frontend.Message{Op: frontend.OpLookup, Node: l.dir, Names: l.t.names[s.block : s.block+1], Out: room[fuse.EntryOut]()}
}

func (l *lookupScript) next(s *slot, r reply) (m frontend.Message, more bool, err error) {
	var out fuse.EntryOut
	if err = body(r, "LOOKUP", &out); err != nil {
		return m, false, err
	}
	l.c.Later(frontend.ForgetMessage(out.NodeId, 1))
	if l.nodes != nil && out.NodeId != l.nodes[s.block] {
		return m, false, fmt.Errorf("LOOKUP of %s: node %d, was %d", l.t.names[s.block], out.NodeId, l.nodes[s.block])
	}
	return m, false, l.check("LOOKUP", s.block, &out.Attr)
}

// openScript opens a known file and closes it.
type openScript struct{ names }

func (o *openScript) first(s *slot) frontend.Message {
	s.block, s.step = o.take(), 0
	in := fuse.OpenIn{Flags: unix.O_RDONLY}
	return frontend.Message{Op: frontend.OpOpen, Node: o.nodes[s.block], Args: args(&in), Out: room[fuse.OpenOut]()}
}

func (o *openScript) next(s *slot, r reply) (m frontend.Message, more bool, err error) {
	if s.step++; s.step == 2 {
		return m, false, r.want("RELEASE", 0)
	}
	var out fuse.OpenOut
	err = body(r, "OPEN", &out)
	return release(o.nodes[s.block], out.Fh), true, err
}

func release(node, fh uint64) frontend.Message {
	in := fuse.ReleaseIn{Fh: fh}
	return frontend.Message{Op: frontend.OpRelease, Node: node, Args: args(&in)}
}

// smallScript makes a file of one block and removes it: CREATE, WRITE, FLUSH, RELEASE, UNLINK and
// FORGET. Now and then it looks on the host whether the file is right.
type smallScript struct {
	t       *tree
	c       *frontend.Client
	dir     uint64
	at      int64
	buf     []byte
	noFlush bool // the daemon has said ENOSYS once, so Linux would not send it again
}

func openSmall(s *session, c *frontend.Client) (*smallScript, error) {
	e, errno := c.Lookup(frontend.RootID, newDir)
	if errno != 0 {
		return nil, fmt.Errorf("LOOKUP of %s: %w", newDir, errno)
	}
	b := make([]byte, blockSize)
	fill(b)
	return &smallScript{t: s.tree, c: c, dir: e.NodeId, buf: b}, nil
}

func (f *smallScript) first(s *slot) frontend.Message {
	f.at++
	s.step, s.block, s.name = 0, f.at%(1<<20), fmt.Sprintf("new-%02d-%d", s.i, f.at)
	in := fuse.CreateIn{Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL, Mode: syscall.S_IFREG | 0o644, Umask: 0o022}
	return frontend.Message{Op: frontend.OpCreate, Node: f.dir, Args: args(&in), Names: []string{s.name}, Out: room[fuse.CreateOut]()}
}

func (f *smallScript) next(s *slot, r reply) (m frontend.Message, more bool, err error) {
	s.step++
	switch s.step {
	case 1:
		var out fuse.CreateOut
		err = body(r, "CREATE", &out)
		s.node, s.fh = out.NodeId, out.Fh
		setStamps(f.buf, smallFile, s.block*blockSize, 0)
		return frontend.WriteMessage(s.node, s.fh, 0, f.buf), true, err
	case 2:
		var out fuse.WriteOut
		if err = body(r, "WRITE", &out); err == nil && out.Size != blockSize {
			err = fmt.Errorf("WRITE: %d bytes, want %d", out.Size, blockSize)
		}
		if f.noFlush {
			s.step = 3
			return release(s.node, s.fh), true, err
		}
		in := fuse.FlushIn{Fh: s.fh}
		return frontend.Message{Op: frontend.OpFlush, Node: s.node, Args: args(&in)}, true, err
	case 3:
		if f.noFlush = r.errno == syscall.ENOSYS; !f.noFlush {
			err = r.want("FLUSH", 0)
		}
		return release(s.node, s.fh), true, err
	case 4:
		if err = r.want("RELEASE", 0); err == nil && s.block%64 == 0 {
			err = f.checkHost(s)
		}
		return frontend.Message{Op: frontend.OpUnlink, Node: f.dir, Names: []string{s.name}}, true, err
	}
	f.c.Later(frontend.ForgetMessage(s.node, 1))
	return m, false, r.want("UNLINK", 0)
}

// checkHost reads a new file on the host.
func (f *smallScript) checkHost(s *slot) error {
	b, err := os.ReadFile(filepath.Join(f.t.dir, newDir, s.name))
	if err != nil {
		return err
	}
	if len(b) != blockSize {
		return fmt.Errorf("on the host: %s has %d bytes, want %d", s.name, len(b), blockSize)
	}
	return check(b, smallFile, s.block*blockSize, 0, true)
}
