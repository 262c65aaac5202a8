// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
	"github.com/virtiofsd-go/virtiofsd-go/internal/landlock"
)

// wantsLandlock decides whether Landlock keeps the process in its shares: where nothing else does, so that
// what lies outside cannot be named. It excludes file handles, which are worth more where something else does;
// shares that would use them if they could do without.
func wantsLandlock(cfg *config.Config, abi int, log *zap.Logger) bool {
	if cfg.Sandbox == config.SandboxNamespace {
		return false
	}
	if abi == 0 {
		log.Info("The kernel has no Landlock, which would keep the daemon in its shares: it is not enabled, or older than Linux 5.19")
		return false
	}
	if slices.ContainsFunc(cfg.Shares, func(s config.Share) bool { return s.FileHandles == config.FileHandlesMandatory }) {
		log.Info("Landlock, which would keep the daemon in its shares, does not go with --inode-file-handles mandatory")
		return false
	}
	cfg.Shares = slices.Clone(cfg.Shares)
	for i := range cfg.Shares {
		cfg.Shares[i].FileHandles = config.FileHandlesNever
	}
	return true
}

// enterLandlock keeps all threads, from now on, to what lies below the fds roots.
func enterLandlock(roots []int, abi int, log *zap.Logger) error {
	if err := landlock.Restrict(roots...); err != nil {
		return fmt.Errorf("keeping to the shares by Landlock: %w", err)
	}
	log.Debug("Landlock keeps the daemon in its shares", zap.Int("version", abi), zap.String("for", landlock.Covers(abi)))
	return nil
}
