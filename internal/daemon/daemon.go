// SPDX-License-Identifier: Apache-2.0

// Package daemon is the two processes around the file system. The one that the user starts, the parent
// (Run), opens the sockets of the shares, starts the worker (Work) in its sandbox, passes signals on to it and
// removes the sockets when it is told to; it has no rights then. The worker serves one VMM on each socket
// and stops. There is one order of stopping:
//
//  1. No new requests are taken: the queues stop, the socket accepts nobody.
//  2. What is blocked in a request is woken.
//  3. Requests in flight are waited for, 10 s at most.
//  4. Guest memory is unmapped, the connection is closed.
//  5. The socket file is removed, the shared directory is closed.
//
// A VMM that goes starts it at 1 for its share, and the worker ends with the last one, and the parent with
// the worker. For all shares at once it is started by SIGTERM, SIGINT and SIGHUP. A second signal ends the
// worker at once, if it does not come along with the first one. SIGINT and SIGHUP do nothing if the daemon was
// started with them ignored. SIGUSR1 releases requests that hang by a fault rule, if there are such rules.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// sameTime is how long after a signal further ones count as the same: timeout(1) and supervisors
// send one to the process and one to its group.
const sameTime = 500 * time.Millisecond

// drainTime is how long requests in flight may take after the first signal to stop.
const drainTime = 10 * time.Second

// Errors of a stop that was not clean: requests were in flight when the process ended.
var (
	errSecondSignal = errors.New("a second signal came: not waiting for requests in flight")
	errDrain        = fmt.Errorf("requests are still in flight %v after the signal: not waiting longer", drainTime)
)

// stopSignals are the signals that stop the daemon: without those that it was started to ignore,
// by nohup or as a shell script's background process.
func stopSignals() []os.Signal {
	stop := []os.Signal{unix.SIGTERM}
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGHUP} {
		if !signal.Ignored(s) {
			stop = append(stop, s)
		}
	}
	return stop
}

// await waits until serving is done, and brings that about when a signal comes.
func await(done <-chan error, signals <-chan os.Signal, stop func(), after func(time.Duration) <-chan time.Time, log *zap.Logger) error {
	select {
	case err := <-done:
		return err
	case s := <-signals:
		log.Info("Stopping on a signal", zap.Stringer("signal", s))
	}
	stop()
	same, drained := after(sameTime), after(drainTime)
	var again <-chan os.Signal // nil until a signal is another one
	for {
		select {
		case err := <-done:
			return err
		case <-same:
			same, again = nil, discard(signals)
		case <-again:
			return errSecondSignal
		case <-drained:
			return errDrain
		}
	}
}

// discard returns signals without what has come so far.
func discard(signals <-chan os.Signal) <-chan os.Signal {
	for range len(signals) {
		<-signals
	}
	return signals
}

// serveOne accepts one VMM and serves it until it goes (nil), ctx ends (nil) or it fails.
func serveOne(ctx context.Context, l *net.UnixListener, serve func(context.Context, *net.UnixConn) error, log *zap.Logger) error {
	// A deadline in the past wakes Accept, and leaves it to the owner to close the socket.
	defer context.AfterFunc(ctx, func() { l.SetDeadline(time.Unix(1, 0)) })()
	log.Info("Waiting for vhost-user socket connection...")
	c, err := l.AcceptUnix()
	if ctx.Err() != nil {
		if err == nil {
			c.Close()
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("waiting for the VMM: %w", err)
	}
	log.Info("Client connected, servicing requests")
	defer turnAway(l, log)()
	if err := serve(ctx, c); err != nil {
		return fmt.Errorf("serving the VMM: %w", err)
	}
	log.Info("Client disconnected, shutting down")
	return nil
}

// turnAway closes further connections, which would hang in the socket's backlog, until stop is
// called. stop waits for its end.
func turnAway(l *net.UnixListener, log *zap.Logger) (stop func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for first := true; ; first = false {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			c.Close()
			if first { // and only then: the log shall not be filled by whoever connects
				log.Warn("A second connection is refused: this daemon serves one VMM, start another for another VM")
			}
		}
	}()
	return func() {
		l.SetDeadline(time.Unix(1, 0))
		<-ended
	}
}
