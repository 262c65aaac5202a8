// SPDX-License-Identifier: Apache-2.0

// Package virtiofs serves a file system to virtual machines by virtio-fs: it is the
// back-end of a vhost-user socket that a VMM (QEMU, user-mode Linux, cloud-hypervisor,
// crosvm, ...) connects to.
//
// Any file system written against go-fuse's fuse.RawFileSystem can be served, also
// those built on its fs package:
//
//	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "/tmp/vfs.sock", Net: "unix"})
//	...
//	err = virtiofs.Serve(ctx, l, fs.NewNodeFS(root, &fs.Options{}), virtiofs.Options{})
//
// The guest mounts it by its tag: mount -t virtiofs TAG /mnt.
package virtiofs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/virtiofsd-go/virtiofsd-go/fusecore"
	"github.com/virtiofsd-go/virtiofsd-go/vhostuser"
	"github.com/virtiofsd-go/virtiofsd-go/virtqueue/guestmem"
)

// MaxRequestQueues is the largest number of request queues that a VMM may set up for
// one device, whatever the configuration space says.
const MaxRequestQueues = 64

// Options say how a file system is offered. The zero value is usable.
type Options struct {
	// Tag is the name by which the guest mounts the device, 1 to 36 bytes. It is needed
	// by VMMs that ask the back-end for the configuration space (user-mode Linux,
	// crosvm, libkrun); QEMU takes the tag from its own command line. Empty: the
	// configuration space is not offered.
	Tag string

	// Queues is the number of request queues told in the configuration space, 1 to
	// MaxRequestQueues; 0 means 1. A VMM that has its own setting (QEMU's
	// num-request-queues) may set up any number up to MaxRequestQueues regardless.
	Queues int

	// Workers is how many requests that block (fsync, cold reads, ...) are carried out
	// at the same time for one VM; more wait. Those that wait for a lock (SETLKW) do not count.
	// 0 means 64.
	Workers int

	// Memory bounds what the VMM may have this process map. The zero value stands for
	// guestmem.DefaultLimits. Who serves several VMs in one process gives each its part.
	Memory guestmem.Limits

	// Fuse are the limits of the FUSE session.
	Fuse fusecore.Options

	// Logger gets what an operator should know. nil: nothing is logged.
	Logger *zap.Logger

	// VhostUser are the settings of the vhost-user connection; OnEnd is not looked at.
	VhostUser vhostuser.Options
}

// Serve accepts connections on l and serves fs to one VMM after another until ctx ends
// or l fails. A VMM that misbehaves loses its connection and nothing else. Serve closes
// l. It returns nil when ctx ended it.
func Serve(ctx context.Context, l *net.UnixListener, fs fuse.RawFileSystem, o Options) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	log := o.sampled(time.Second, guestLogLines)
	for {
		c, err := l.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("virtiofs: accept: %w", err)
		}
		if err := ServeConn(ctx, c, fs, o); err != nil {
			log.Warn("connection ended", zap.Error(err))
		}
	}
}

// ServeConn serves fs to the VMM at the other end of c until it disconnects (nil), ctx
// ends (nil), or the VMM breaks the protocol or takes the guest's memory away (an
// error). On return every request has been answered or dropped, the file system has
// been told to forget what the guest knew, and c is closed.
func ServeConn(ctx context.Context, c *net.UnixConn, fs fuse.RawFileSystem, o Options) error {
	defer c.Close()
	if err := o.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	mem := guestmem.NewWithin(o.memory())
	defer mem.Reset()
	d := newDevice(mem, fs, o, cancel)
	defer d.session.Reset()

	vo := o.VhostUser
	// What is blocked in the file system is woken, so that the queues can be drained.
	vo.OnEnd = func() { d.session.Hurry() }
	if vo.Logger == nil {
		vo.Logger = o.logger()
	}
	err := vhostuser.NewConn(c, mem, d, vo).Serve(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, guestmem.ErrFault) {
		return fmt.Errorf("virtiofs: the VMM took guest memory away: %w", cause)
	}
	return err
}

func (o *Options) check() error {
	if len(o.Tag) > tagSize {
		return fmt.Errorf("virtiofs: tag %q is %d bytes long, at most %d fit", o.Tag, len(o.Tag), tagSize)
	}
	if o.Queues < 0 || o.Queues > MaxRequestQueues {
		return fmt.Errorf("virtiofs: %d request queues, want 1 to %d", o.Queues, MaxRequestQueues)
	}
	return nil
}

func (o *Options) memory() guestmem.Limits {
	if o.Memory == (guestmem.Limits{}) {
		return guestmem.DefaultLimits
	}
	return o.Memory
}

func (o *Options) logger() *zap.Logger {
	if o.Logger == nil {
		return zap.NewNop()
	}
	return o.Logger
}

// sampled is a logger for what a guest or VMM can provoke: of equal lines it takes n in each tick.
func (o *Options) sampled(tick time.Duration, n int) *zap.Logger {
	return o.logger().WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, tick, n, 0)
	}))
}
