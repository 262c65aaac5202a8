// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/virtiofsd-go/virtiofsd-go/internal/capabilities"
	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
	"golang.org/x/sys/unix"
)

// confine takes from the process what serving does not need. The sockets are open by then, and the
// directories are not, as what can be done with their files depends on it.
func confine(cfg config.Config, log *zap.Logger) error {
	return keepCapabilities(cfg, log)
}

func keepCapabilities(cfg config.Config, log *zap.Logger) error {
	want, asked, err := wantedCapabilities(cfg)
	if err != nil {
		return err
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

// wantedCapabilities returns what the process keeps, and what of it was asked for by name.
func wantedCapabilities(cfg config.Config) (want, asked capabilities.Set, err error) {
	want = capabilities.Serving
	if slices.ContainsFunc(cfg.Shares, func(s config.Share) bool { return s.FileHandles != config.FileHandlesNever }) {
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
