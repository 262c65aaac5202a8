// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"io"
	"testing"

	"github.com/virtiofsd-go/virtiofsd-go/internal/config"
)

// TestWantsLandlock: where it is used, and what becomes of file handles there. What the caller has is not changed.
func TestWantsLandlock(t *testing.T) {
	for _, tt := range []struct {
		sandbox config.Sandbox
		handles config.FileHandles
		abi     int
		want    bool
	}{
		{config.SandboxNamespace, config.FileHandlesPrefer, 7, false},
		{config.SandboxNamespace, config.FileHandlesNever, 7, false},
		{config.SandboxNone, config.FileHandlesPrefer, 7, true},
		{config.SandboxNone, config.FileHandlesNever, 2, true},
		{config.SandboxChroot, config.FileHandlesPrefer, 7, true},
		{config.SandboxNone, config.FileHandlesMandatory, 7, false},
		{config.SandboxNone, config.FileHandlesPrefer, 0, false},
	} {
		shares := []config.Share{{FileHandles: config.FileHandlesNever}, {FileHandles: tt.handles}}
		cfg := config.Config{Sandbox: tt.sandbox, Shares: shares}
		got := wantsLandlock(&cfg, tt.abi, newLogger(io.Discard, config.LogInfo))
		handles := tt.handles
		if tt.want {
			handles = config.FileHandlesNever
		}
		if got != tt.want || cfg.Shares[1].FileHandles != handles || shares[1].FileHandles != tt.handles {
			t.Errorf("%s, handles %s, version %d: %v and handles %s, want %v and %s", tt.sandbox, tt.handles, tt.abi, got, cfg.Shares[1].FileHandles, tt.want, handles)
		}
	}
}
