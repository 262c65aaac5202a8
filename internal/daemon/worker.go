// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sandbox"
)

// job is what the parent tells the worker. Its files are the listening sockets of the shares, in their
// order, and the connection to the system's log if there is one. It goes as gob, as paths and names are any
// bytes.
type job struct {
	Config config.Config
	Budget int // files that each share may keep open for its guest
	Parent int // the parent's process id
	Syslog bool
}

// Work serves one VMM for each share as its parent says. It returns nil when all of them have gone or a
// signal has stopped it cleanly, and after an error the process shall end. It is called on the main
// thread, which serves no request. It sets the process's umask to 0, as the guest's kernel has applied
// its own.
func Work(stderr io.Writer) error {
	zone, _ := time.Now().Zone() // reads the host's time zone, which is out of reach from now on
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stopSignals()...)
	defer signal.Stop(signals)
	// Go ends a process that writes to a standard error that nobody reads any more.
	signal.Ignore(unix.SIGPIPE)
	// There are no children, but those of a parent that has died would be ours in a PID namespace.
	signal.Ignore(unix.SIGCHLD)
	in, err := sandbox.Enter()
	if err != nil {
		return err
	}
	var j job
	if err := gob.NewDecoder(bytes.NewReader(in.Job)).Decode(&j); err != nil {
		return fmt.Errorf("the worker's job: %w", err)
	}
	listeners, log, err := takeFiles(in.Files, j, stderr)
	if err != nil {
		return err
	}
	log.Debug("The worker is in its sandbox", zap.String("kind", string(j.Config.Sandbox)), zap.String("zone", zone))
	err = j.serve(in, listeners, signals, log)
	if err != nil && j.Syslog {
		log.Error("The daemon ends", zap.Error(err)) // standard error, where it is told too, may not be looked at
	}
	return err
}

// takeFiles makes of the files that come with a job what they are.
func takeFiles(files []*os.File, j job, stderr io.Writer) (listeners []*net.UnixListener, log *zap.Logger, err error) {
	log = newLogger(stderr, j.Config.LogLevel)
	for i, f := range files {
		if j.Syslog && i == len(files)-1 {
			log, err = systemLogOn(f, j.Config.LogLevel, j.Parent)
		} else {
			var l *net.UnixListener
			l, err = listenerOf(f)
			listeners = append(listeners, l)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("the worker's files: %w", err)
		}
	}
	return listeners, log, nil
}

// serve serves all shares until the last VMM has gone.
func (j job) serve(in *sandbox.Inside, listeners []*net.UnixListener, signals <-chan os.Signal, log *zap.Logger) error {
	setProcs()
	if err := confine(&j.Config, in, log); err != nil {
		return err
	}
	pages, err := cache.New(cache.Options{Size: j.Config.PageCacheSize})
	if err != nil {
		return err
	}
	shares, err := j.openShares(in, listeners, pages, log)
	if err != nil {
		return errors.Join(err, pages.Close())
	}
	defer releaseOnSignal(shares)()
	unix.Umask(0)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(ctx, pages.Shutdown)()
	done := make(chan error, 1)
	in.Parent.Ready()
	go func() { done <- errors.Join(serveAll(ctx, shares), pages.Close()) }()
	return await(done, signals, func() { in.Parent.Stopping(); cancel() }, time.After, log)
}
