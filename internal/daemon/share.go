// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"net"

	"go.uber.org/zap"

	virtiofs "github.com/virtiofsd-go/virtiofsd-go"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs"
	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
)

// share is the shared directory, ready to be served.
type share struct {
	fs   *hostfs.FS
	opts virtiofs.Options
}

// openShare opens the shared directory. The caller closes the share when nothing serves it.
func openShare(cfg config.Config, log *zap.Logger) (*share, error) {
	budget, err := fdBudget()
	if err != nil {
		return nil, err
	}
	fs, err := hostfs.New(hostfs.Config{
		Root:     cfg.SharedDir,
		Cache:    hostfs.CacheMode(cfg.Cache), // the same words
		XAttr:    cfg.XAttr,
		ReadOnly: cfg.ReadOnly,
		// Half for files that the guest knows, half for those that it has open.
		FDBudget:   budget / 2,
		MaxHandles: budget - budget/2,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the shared directory: %w", err)
	}
	opts := virtiofs.Options{Tag: cfg.Tag, Queues: cfg.NumRequestQueues, Logger: log}
	if log.Core().Enabled(traceLevel) {
		opts.VhostUser.Trace = traceWriter{log.Named("vhostuser")}
	}
	return &share{fs: fs, opts: opts}, nil
}

// serve gives the share to the VMM at the other end of c, which it closes.
func (s *share) serve(ctx context.Context, c *net.UnixConn) error {
	return virtiofs.ServeConn(ctx, c, s.fs, s.opts)
}

// Close closes the shared directory.
func (s *share) Close() error { return s.fs.Close() }
