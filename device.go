// SPDX-License-Identifier: Apache-2.0

package virtiofs

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/fusecore"
	"github.com/virtiofsd-go/virtiofsd-go/vhostuser"
	"github.com/virtiofsd-go/virtiofsd-go/virtqueue"
	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// Feature bits of every virtio device that this one offers (virtio 1.2 section 6).
const (
	featureIndirectDesc uint64 = 1 << 28 // VIRTIO_F_INDIRECT_DESC
	featureEventIdx     uint64 = 1 << 29 // VIRTIO_F_EVENT_IDX
	featureVersion1     uint64 = 1 << 32 // VIRTIO_F_VERSION_1
)

// tagSize is the size of struct virtio_fs_config.tag, zero padded (virtio 1.2 section 5.11.4).
const tagSize = 36

// guestLogLines bounds the log lines of one kind that a guest can cause in a second.
const guestLogLines = 5

// stopPatience is how long requests in flight may take to end by themselves when their
// queue is stopped.
const stopPatience = 2 * time.Second

// device is the virtio-fs device of one connection: the vhostuser.Device that starts a
// loop for each queue, whose requests go to the session. Queue 0 is hiprio, the others are
// request queues (virtio 1.2 section 5.11.2); all are served alike.
//
// loops belongs to the connection's goroutine; the rest is fixed after newDevice and
// safe for concurrent use.
type device struct {
	mem     *guestmem.Memory
	session *fusecore.Session
	workers workers
	waits   waits
	config  []byte
	fail    context.CancelCauseFunc // ends the connection

	// guestLog takes what a guest can provoke: of equal lines, guestLogLines a second. limitLog takes
	// that it has come to a limit: of equal lines, one a minute.
	guestLog, limitLog *zap.Logger

	loops [1 + MaxRequestQueues]*virtqueue.Loop
}

func newDevice(mem *guestmem.Memory, fs fuse.RawFileSystem, o Options, fail context.CancelCauseFunc) *device {
	if o.Fuse.Logger == nil {
		o.Fuse.Logger = o.logger()
	}
	d := &device{
		mem:      mem,
		session:  fusecore.NewSession(fs, o.Fuse),
		config:   o.configSpace(),
		fail:     fail,
		guestLog: o.sampled(time.Second, guestLogLines),
		limitLog: o.sampled(time.Minute, 1),
	}
	d.workers.init(o.Workers, d.carryOut, func() {
		d.limitLog.Warn("The guest has more requests in flight than are kept here: its queues wait for those before")
	})
	return d
}

// configSpace is struct virtio_fs_config: char tag[36], le32 num_request_queues.
func (o *Options) configSpace() []byte {
	if o.Tag == "" {
		return nil
	}
	b := make([]byte, tagSize+4)
	copy(b, o.Tag)
	binary.LittleEndian.PutUint32(b[tagSize:], uint32(max(o.Queues, 1)))
	return b
}

func (d *device) Features() uint64 { return featureVersion1 | featureIndirectDesc | featureEventIdx }
func (d *device) NumQueues() int   { return len(d.loops) }
func (d *device) Config() []byte   { return d.config }

// StartQueue starts the loop of queue i.
func (d *device) StartQueue(i int, r vhostuser.Ring) error {
	log := d.guestLog.With(zap.Int("queue", i))
	l, err := virtqueue.Start(d.mem, ring(r), queue{d, i, r.Size}, virtqueue.Options{
		OnFault:    func(err error) { d.fail(err) },
		OnBroken:   func(err error) { log.Error("the guest's driver broke the queue, it stands still", zap.Error(err)) },
		OnBadChain: func(err error) { log.Warn("dropped a malformed request", zap.Error(err)) },
	})
	if err != nil {
		return err
	}
	d.loops[i] = l
	return nil
}

// UpdateQueue gives a running loop its new eventfds, addresses or log setting.
func (d *device) UpdateQueue(i int, r vhostuser.Ring) error { return d.loops[i].Update(ring(r)) }

// StopQueue stops the loop of queue i after its requests in flight and returns the
// next available index. The VMM stands still until then, so requests that wait for other
// requests, as for a lock, are interrupted at once, on all queues, as those are stopped
// next; those that the host keeps waiting for too long after stopPatience.
func (d *device) StopQueue(i int) uint16 {
	defer d.session.HurryWaits()()
	stopped := make(chan struct{})
	go func() {
		select {
		case <-stopped:
		case <-time.After(stopPatience):
			defer d.session.Hurry()()
			<-stopped
		}
	}()
	base := d.loops[i].Stop()
	close(stopped)
	d.loops[i] = nil
	return base
}

// Reset forgets the guest's session; its queues are stopped.
func (d *device) Reset() { d.session.Reset() }

func ring(r vhostuser.Ring) virtqueue.Ring {
	return virtqueue.Ring{
		Config: virtqueue.Config{
			Size: r.Size, Desc: r.Desc, Avail: r.Avail, Used: r.Used, Base: r.Base,
			EventIdx: r.Features&featureEventIdx != 0,
			LogUsed:  r.LogUsed, LogAddr: r.LogAddr,
		},
		Kick: r.Kick, Call: r.Call, Err: r.Err,
	}
}

// queue is the virtqueue.Handler of one queue.
type queue struct {
	d    *device
	i    int
	size uint16 // of the ring, in descriptors
}

// Handle carries out one request on its queue's loop, or hands it to a worker if it
// may block, so that one slow request never stands in front of others. One that waits
// for another one of the guest's is beside the workers, which may all be needed.
func (q queue) Handle(c *virtqueue.Chain) {
	r, ok := c.Data.(*fusecore.Request)
	if !ok {
		r = new(fusecore.Request)
		c.Data = r
	}
	r.In, r.Out = c.Readable, c.Writable
	n, again := q.d.session.Handle(r, true)
	switch {
	case !again:
		c.Done(n)
	case r.WaitsForOthers():
		q.wait(c, r)
	default:
		q.d.workers.submit(c)
	}
}

// wait carries out a request that waits for others, unless too many do.
func (q queue) wait(c *virtqueue.Chain, r *fusecore.Request) {
	w := newWaiting(q.i, c)
	if !q.d.waits.enter(w, q.size) {
		q.d.limitLog.Warn("The guest has too many requests that wait for a lock, further ones get ENOLCK")
		c.Done(q.d.session.Refuse(r, fuse.Status(unix.ENOLCK)))
		return
	}
	go func() {
		q.d.carryOut(c)
		q.d.waits.leave(w)
	}()
}

// carryOut is Handle's second half, on a goroutine that may block. If the VMM takes the memory away
// meanwhile, the request is dropped and the connection ends.
func (d *device) carryOut(c *virtqueue.Chain) {
	n := 0
	err := guestmem.Guard(func() { n, _ = d.session.Handle(c.Data.(*fusecore.Request), false) })
	if err != nil {
		d.fail(err)
		n = 0
	}
	c.Done(n)
}
