// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"go.uber.org/zap"

	virtiofs "github.com/virtiofsd-go/virtiofsd-go"
	"github.com/virtiofsd-go/virtiofsd-go/cache"
	"github.com/virtiofsd-go/virtiofsd-go/fusecore/hostfs/locks"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sandbox"
)

// openShares opens all shares of the process, or none. What they have in common is made here.
func (j job) openShares(in *sandbox.Inside, listeners []*net.UnixListener, pages *cache.Cache, log *zap.Logger) (shares []*share, err error) {
	cfg := j.Config
	inodes, err := maxInodes(len(cfg.Shares))
	if err != nil {
		return nil, err
	}
	all := common{budget: j.Budget, inodes: inodes, workers: workersOf(cfg.ThreadPoolSize), memory: memoryOf(len(cfg.Shares)),
		locks: locks.NewSpace(), pages: pages}
	setThreads((all.workers + 1 + virtiofs.MaxRequestQueues) * len(cfg.Shares))
	for i, c := range cfg.Shares {
		own := log
		if len(cfg.Shares) > 1 {
			own = log.With(zap.String("share", c.SharedDir))
		}
		s, err := openShare(c, in.Roots[i], all, own)
		if err != nil {
			for _, s := range shares {
				err = errors.Join(err, s.closeDir())
			}
			return nil, err
		}
		s.sock, s.ended = listeners[i], func() { in.Parent.Ended(i) }
		shares = append(shares, s)
	}
	return shares, nil
}

// serveAll serves each share until its VMM goes or ctx ends, and closes it. One that fails does
// not end the others; the error is that of all.
func serveAll(ctx context.Context, shares []*share) error {
	if len(shares) == 1 {
		return shares[0].run(ctx)
	}
	errs := make([]error, len(shares))
	var wg sync.WaitGroup
	for i, s := range shares {
		wg.Go(func() {
			if err := s.run(ctx); err != nil {
				s.log.Error("This share ends, the others go on", zap.Error(err))
				errs[i] = fmt.Errorf("%s: %w", s.fs, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
