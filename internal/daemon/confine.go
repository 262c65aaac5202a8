// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"slices"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/capabilities"
	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
	"github.com/virtiofsd-go/virtiofsd-go/internal/landlock"
	"github.com/virtiofsd-go/virtiofsd-go/internal/sandbox"
	"github.com/virtiofsd-go/virtiofsd-go/internal/seccomp"
)

// confine takes from the process what serving does not need. It is in its sandbox by then; the shared
// directories are opened afterwards, as what can be done with their files depends on it; cfg says then how.
func confine(cfg *config.Config, in *sandbox.Inside, log *zap.Logger) error {
	abi := landlock.ABI()
	confined := wantsLandlock(cfg, abi, log)
	if err := keepCapabilities(*cfg, in.OneID, log); err != nil {
		return err
	}
	if confined {
		if err := enterLandlock(in.Roots, abi, log); err != nil {
			return err
		}
	}
	return filterCalls(*cfg)
}

// keepCapabilities gives up capabilities. With one user and group only, those to change ids go too: whatever a
// guest makes belongs to that user then.
func keepCapabilities(cfg config.Config, oneID bool, log *zap.Logger) error {
	want, asked, err := wantedCapabilities(cfg)
	if err != nil {
		return err
	}
	if oneID {
		want &^= capabilities.Of(unix.CAP_SETUID, unix.CAP_SETGID)
	}
	kept, err := capabilities.Keep(want)
	if err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	log.Debug("Capabilities", zap.String("kept", fmt.Sprintf("%#x", uint64(kept))))
	if missing := asked &^ kept; missing != 0 {
		log.Warn("--modcaps: the process was started without some of them", zap.String("missing", fmt.Sprintf("%#x", uint64(missing))))
	}
	return nil
}

// usesHandles tells whether files of a share may be opened by handle.
func usesHandles(cfg config.Config) bool {
	return slices.ContainsFunc(cfg.Shares, func(s config.Share) bool { return s.FileHandles != config.FileHandlesNever })
}

// wantedCapabilities returns what the process keeps, and what of it was asked for by name.
func wantedCapabilities(cfg config.Config) (want, asked capabilities.Set, err error) {
	want = capabilities.Serving
	if usesHandles(cfg) {
		want |= capabilities.Of(unix.CAP_DAC_READ_SEARCH) // open_by_handle_at(2)
	}
	if cfg.ModCaps == "" {
		return want, 0, nil
	}
	changes, err := config.ParseModCaps(cfg.ModCaps)
	if err != nil {
		return 0, 0, err
	}
	for _, c := range changes {
		one := capabilities.Of(c.Cap)
		want, asked = want&^one, asked&^one
		if c.Add {
			want, asked = want|one, asked|one
		}
	}
	return want, asked, nil
}

// actions are what the words of --seccomp mean.
var actions = map[config.Seccomp]seccomp.Action{
	config.SeccompKill: seccomp.Kill, config.SeccompTrap: seccomp.Trap, config.SeccompLog: seccomp.Log,
}

// filterCalls leaves the process the system calls that serving needs.
func filterCalls(cfg config.Config) error {
	if cfg.Seccomp == config.SeccompNone {
		return nil
	}
	if err := seccomp.Install(actions[cfg.Seccomp], seccomp.Options{FileHandles: usesHandles(cfg)}); err != nil {
		return fmt.Errorf("the filter of system calls cannot be set (--seccomp none goes without): %w", err)
	}
	return nil
}
