// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	virtiofs "github.com/virtiofsd-go/virtiofsd-go"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/xattrmap"
	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
	"github.com/virtiofsd-go/virtiofsd-go/internal/fault"
	"github.com/virtiofsd-go/virtiofsd-go/internal/idmap"
)

// share is the shared directory, ready to be served.
type share struct {
	fs     *hostfs.FS
	faults *fault.Injector // nil: none
	opts   virtiofs.Options
}

// openShare opens the shared directory. The caller closes the share when nothing serves it.
func openShare(c config.Share, log *zap.Logger) (*share, error) {
	budget, err := fdBudget()
	if err != nil {
		return nil, err
	}
	s := &share{opts: virtiofs.Options{Tag: c.Tag, Queues: c.NumRequestQueues, Logger: log}}
	conf := hostfs.Config{
		Root:     c.SharedDir,
		Cache:    hostfs.CacheMode(c.Cache), // the same words
		XAttr:    c.XAttr,
		ReadOnly: c.ReadOnly,

		KillPrivV2: c.KillPrivV2,
		Handles:    hostfs.HandleMode(c.FileHandles), // the same words

		// Half for files that the guest knows, half for those that it has open.
		FDBudget:   budget / 2,
		MaxHandles: budget - budget/2,
	}
	if err := readMaps(c, &conf); err != nil {
		return nil, err
	}
	if len(c.Faults) > 0 {
		s.faults = fault.New(c.Faults, log.Named("fault"))
		conf.Faults = s.faults
	}
	if s.fs, err = hostfs.New(conf); err != nil {
		return nil, fmt.Errorf("opening the shared directory: %w", err)
	}
	if c.FileHandles == config.FileHandlesPrefer && !s.fs.UsesHandles() {
		log.Debug("file handles cannot be used: files are known by name")
	}
	if log.Core().Enabled(traceLevel) {
		s.opts.VhostUser.Trace = traceWriter{log.Named("vhostuser")}
	}
	return s, nil
}

// readMaps reads the rules by which ids and attributes are mapped. config has read them before.
func readMaps(c config.Share, conf *hostfs.Config) (err error) {
	if c.XAttrMap != "" {
		if conf.XAttrMap, err = xattrmap.Parse(c.XAttrMap); err != nil {
			return fmt.Errorf("--xattrmap: %w", err)
		}
	}
	if conf.UIDs, err = idmap.Parse(c.TranslateUID); err != nil {
		return fmt.Errorf("--translate-uid: %w", err)
	}
	if conf.GIDs, err = idmap.Parse(c.TranslateGID); err != nil {
		return fmt.Errorf("--translate-gid: %w", err)
	}
	return nil
}

// serve gives the share to the VMM at the other end of c, which it closes.
func (s *share) serve(ctx context.Context, c *net.UnixConn) error {
	return virtiofs.ServeConn(ctx, c, s.fs, s.opts)
}

// Close closes the shared directory.
func (s *share) Close() error {
	if s.faults != nil {
		s.faults.Close()
	}
	return s.fs.Close()
}

// releaseOnSignal makes SIGUSR1 release the requests that hang by a fault rule, until stop is called.
func releaseOnSignal(f *fault.Injector) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range signals {
			f.Release()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-ended
	}
}
