// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	inHeaderSize  = 40 // struct fuse_in_header
	outHeaderSize = 16 // struct fuse_out_header
)

// Driver is a guest's virtio-fs driver: a Queue for every ring, and Clients over them.
type Driver struct {
	*Client // of the first request queue

	vm     *VM
	queues []*Queue
	hiprio sync.Mutex // guards queues[0], which all Clients share
	unique atomic.Uint64
	flags  uint64 // of the last INIT; written by Init before other Clients work
}

func newDriver(vm *VM) *Driver {
	d := &Driver{vm: vm}
	for _, r := range vm.rings {
		d.queues = append(d.queues, newQueue(vm, r))
	}
	d.Client = d.On(0)
	return d
}

// On is a new Client of the request queue of that number, from 0. Each queue is for one
// goroutine.
func (d *Driver) On(request int) *Client { return &Client{d: d, q: d.queues[request+1]} }

// Queue is the virtqueue of that number; 0 is the high priority queue.
func (d *Driver) Queue(i int) *Queue { return d.queues[i] }

// Client sends FUSE requests over one queue, as Linux lays them out. One goroutine at a time.
//
// Its methods are named after the operations. Each waits for the reply and returns its
// structure and errno. Replies are checked as Linux 7 does (fs/fuse/virtio_fs.c,
// virtio_fs_verify_response); one that does not hold goes to Options.Fail.
type Client struct {
	// Caller is who asks.
	Caller fuse.Caller
	// Extensions are put right behind the arguments of every request (struct fuse_ext_header and
	// what follows it), as Linux does. The length is a multiple of 8.
	Extensions []byte

	d    *Driver
	q    *Queue
	args []byte
	hdr  [inHeaderSize]byte
	segs [3][]byte
	lens [2]int
}

// Queue is the client's queue.
func (c *Client) Queue() *Queue { return c.q }

// Message is a FUSE request: the arguments are everything between header and data.
type Message struct {
	Op    Opcode
	Node  uint64
	Args  []byte   // the fixed structure, without fuse_in_header
	Names []string // appended with their terminating zero bytes
	Data  []byte   // goes to its own descriptors
	Out   int      // bytes of the reply's body that there is room for
	// NoReply: no writable descriptors at all (FORGET).
	NoReply bool
}

// Send sends a request.
func (c *Client) Send(m Message) *Pending {
	p := c.Add(m)
	c.q.Kick()
	return p
}

// Add is Send without the notification: see Queue.Kick.
func (c *Client) Add(m Message) *Pending {
	unique := c.d.unique.Add(2)
	readable := c.frame(m, unique)
	c.lens = [2]int{outHeaderSize, m.Out}
	lens := c.lens[:1]
	if m.Out > 0 {
		lens = c.lens[:2]
	}
	if m.NoReply {
		lens = nil
	}
	p := c.q.Add(readable, lens)
	p.op, p.unique = m.Op, unique
	return p
}

// Frame is a request's readable bytes, as a start for malformed ones.
func (c *Client) Frame(m Message) []byte {
	var b []byte
	for _, s := range c.frame(m, c.d.unique.Add(2)) {
		b = append(b, s...)
	}
	return b
}

// frame makes a request's readable buffers: header, arguments, data. They are valid until
// the next call.
func (c *Client) frame(m Message, unique uint64) [][]byte {
	c.args = append(c.args[:0], m.Args...)
	for _, n := range m.Names {
		c.args = append(append(c.args, n...), 0)
	}
	c.args = append(c.args, c.Extensions...)
	le := binary.NativeEndian
	le.PutUint32(c.hdr[0:], uint32(inHeaderSize+len(c.args)+len(m.Data)))
	le.PutUint32(c.hdr[4:], uint32(m.Op))
	le.PutUint64(c.hdr[8:], unique)
	le.PutUint64(c.hdr[16:], m.Node)
	le.PutUint32(c.hdr[24:], c.Caller.Uid)
	le.PutUint32(c.hdr[28:], c.Caller.Gid)
	le.PutUint32(c.hdr[32:], c.Caller.Pid)
	le.PutUint16(c.hdr[36:], uint16(len(c.Extensions)/8))
	segs := append(c.segs[:0], c.hdr[:])
	if len(c.args) > 0 {
		segs = append(segs, c.args)
	}
	if len(m.Data) > 0 {
		segs = append(segs, m.Data)
	}
	return segs
}

// ErrResponse is a reply that Linux would not take.
var ErrResponse = errors.New("reply that does not hold")

// Reply waits for the reply and checks it. body is the number of bytes after the header.
func (p *Pending) Reply() (body int, errno syscall.Errno, err error) {
	n, err := p.Wait()
	if err != nil {
		return 0, 0, fmt.Errorf("%v: %w", p.op, err)
	}
	var h [outHeaderSize]byte
	if n < outHeaderSize || p.Read(h[:], 0) < outHeaderSize {
		return 0, 0, fmt.Errorf("%v: %w: %d bytes", p.op, ErrResponse, n)
	}
	length := binary.NativeEndian.Uint32(h[0:])
	status := int32(binary.NativeEndian.Uint32(h[4:]))
	unique := binary.NativeEndian.Uint64(h[8:])
	switch {
	case int(length) != n:
		return 0, 0, fmt.Errorf("%v: %w: length %d, used length %d", p.op, ErrResponse, length, n)
	case unique != p.unique:
		return 0, 0, fmt.Errorf("%v: %w: unique %d, want %d", p.op, ErrResponse, unique, p.unique)
	case status > 0 || status <= -4096 || status < 0 && n != outHeaderSize:
		return 0, 0, fmt.Errorf("%v: %w: status %d, %d bytes", p.op, ErrResponse, status, n)
	}
	return n - outHeaderSize, syscall.Errno(-status), nil
}

// finish waits for a reply and copies its body to out. It is the only place where replies of
// the named operations are judged: fixed says that a success fills out.
func (c *Client) finish(p *Pending, out []byte, fixed bool) (int, syscall.Errno) {
	n, errno, err := p.Reply()
	if err == nil && errno == 0 && fixed && n != len(out) {
		err = fmt.Errorf("%v: %w: body of %d bytes, want %d", p.op, ErrResponse, n, len(out))
	}
	if err != nil {
		c.d.vm.fail(err)
	}
	n = p.Read(out[:min(n, len(out))], outHeaderSize)
	p.Free()
	return n, errno
}

// Do sends a request and fills out with its reply, which has that size.
func (c *Client) Do(m Message, out []byte) syscall.Errno {
	m.Out = len(out)
	_, errno := c.finish(c.Send(m), out, true)
	return errno
}

// DoVar sends a request whose reply has any length up to len(out), and returns that length.
func (c *Client) DoVar(m Message, out []byte) (int, syscall.Errno) {
	m.Out = len(out)
	return c.finish(c.Send(m), out, false)
}

// Raw sends any request with a reply of at most replySize bytes, header not counted.
func (c *Client) Raw(op Opcode, node uint64, args []byte, replySize int, names ...string) ([]byte, syscall.Errno) {
	out := make([]byte, replySize)
	n, errno := c.DoVar(Message{Op: op, Node: node, Args: args, Names: names}, out)
	return out[:n], errno
}

// do is Do for a reply structure.
func do[Out any](c *Client, m Message) (Out, syscall.Errno) {
	var out Out
	errno := c.Do(m, Wire(&out))
	return out, errno
}

// args are the bytes of a go-fuse request structure behind its header.
func args[In any](in *In) []byte { return Wire(in)[inHeaderSize:] }

// urgent runs f with a Client of the high priority queue.
func (d *Driver) urgent(caller fuse.Caller, f func(c *Client)) {
	d.hiprio.Lock()
	defer d.hiprio.Unlock()
	f(&Client{d: d, q: d.queues[0], Caller: caller})
}
