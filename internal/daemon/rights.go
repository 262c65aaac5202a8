// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/virtiofsd-go/virtiofsd-go/internal/capabilities"
	"github.com/virtiofsd-go/virtiofsd-go/internal/creds"
)

// dropGroups leaves root in no supplementary group. Others cannot leave theirs.
func dropGroups(log *zap.Logger) error {
	if os.Geteuid() != 0 {
		return nil
	}
	stay, err := creds.LeaveGroups()
	if len(stay) > 0 {
		log.Warn("The supplementary groups of this process stay, as it may not give them up (CAP_SETGID)", zap.Ints("groups", stay))
	}
	return err
}

// giveUpRights leaves the parent without capabilities: all that it has to do yet is to remove the sockets. It keeps
// CAP_DAC_OVERRIDE for a socket in a directory that is another user's.
func giveUpRights(sockets []*socket) error {
	var want capabilities.Set
	if os.Geteuid() == 0 && slices.ContainsFunc(sockets, func(s *socket) bool { return s.path != "" && !ownDir(s.path) }) {
		want = capabilities.Of(unix.CAP_DAC_OVERRIDE)
	}
	if _, err := capabilities.Keep(want); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	return nil
}

// ownDir tells whether the directory of path is ours to write to by its owner and mode.
func ownDir(path string) bool {
	var st unix.Stat_t
	return unix.Stat(filepath.Dir(path), &st) == nil && int(st.Uid) == os.Geteuid() && st.Mode&0o300 == 0o300
}
